"""The files that describe the SOAP interface, as a site installed them (spec: wire-web.md §8.4).

They are found where the C server looks for its own. References between them lead back to this server.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lb.model.errors import LBError, missing

#: Modifier → file.
FILES: Final = {"wsdl": "LB.wsdl", "types": "LBTypes.wsdl", "agu": "lb4agu.wsdl"}
#: Names in a file that become addresses: the first of each.
_REFERENCES: Final = {"LBTypes.wsdl": "types", "lb4agu.wsdl": "agu"}
_DIRECTORY: Final = "interface"
_VARIABLES: Final = ("GLITE_LB_LOCATION", "GLITE_LOCATION")
_PREFIXES: Final = ("/opt/glite", "/usr")
#: Bytes of a file; the real ones have some 80 kB.
_LONGEST: Final = 4 << 20


def prefixes(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the files may be."""
    named = [environment[name] for name in _VARIABLES if environment.get(name)]
    return tuple(Path(prefix) for prefix in (*named, *_PREFIXES))


def read(modifier: str, where: Sequence[Path], base: str) -> bytes:
    """A file with its references; `base`: the server's address without a slash. ENOENT when there is none."""
    for prefix in where:
        try:
            with prefix.joinpath(_DIRECTORY, FILES[modifier]).open("rb") as file:
                content = file.read(_LONGEST + 1)
        except OSError:
            continue
        if len(content) > _LONGEST:
            raise LBError(errno.E2BIG, f"{FILES[modifier]} is too long")
        for name, other in _REFERENCES.items():
            content = content.replace(name.encode(), f"{base}/?{other}".encode(), 1)
        return content
    raise missing("WSDL File not found!")
