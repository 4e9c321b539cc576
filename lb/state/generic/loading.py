"""Reading descriptions of job families: TOML files into `Family` values, or everything that is wrong with them.

A description that could be misunderstood is refused; nothing is repaired. Errors name the file and the place in it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from lb.state.generic.checking import Checked, Document, check, misshapen
from lb.state.generic.description import Family

#: Largest description that is read, bytes; shipped ones have some 10,000.
MAX_FILE: Final = 1_000_000
SUFFIX: Final = ".toml"

_SHIPPED: Final = "lb.families"


class DescriptionError(Exception):
    """A description that cannot be used: the file, and what is wrong, a line each."""

    def __init__(self, file: str, problems: Iterable[str]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{file}: {problem}" for problem in self.problems))


def parse(text: str, file: str) -> Family:
    """The family that a text describes; `file` names it in errors. Raises `DescriptionError`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(file, [str(error)]) from None
    except RecursionError:
        raise DescriptionError(file, ["values are nested too deeply"]) from None
    problems = misshapen(raw)
    if problems:
        raise DescriptionError(file, problems)
    document = msgspec.convert(raw, Document)
    checked = Checked(document)
    problems = check(checked)
    if problems:
        raise DescriptionError(file, problems)
    return Family(
        name=document.name,
        title=document.title or document.name,
        initial=document.initial,
        by_code=document.order == "code",
        states=checked.states,
        attributes=checked.attributes,
        events=checked.events,
        transitions=tuple(checked.transitions),
        digest=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest(),
        prefix=f"{document.name}.",
    )


def load(path: Path) -> Family:
    """The family that a file describes; raises `DescriptionError`, also for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise DescriptionError(str(path), [error.strerror or str(error)]) from None
    if len(data) > MAX_FILE:
        raise DescriptionError(str(path), [f"more than {MAX_FILE} bytes"])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DescriptionError(str(path), [f"byte {error.start} is no UTF-8"]) from None
    return parse(text, str(path))


def load_directory(directory: Path) -> dict[str, Family]:
    """The families of all ``*.toml`` files in a directory, by name, the shipped ones among them unless redefined.

    Raises `DescriptionError` for the first file, by name, that cannot be used, and for a family described twice.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except OSError as error:
        raise DescriptionError(str(directory), [error.strerror or str(error)]) from None
    found: dict[str, tuple[Family, Path]] = {}
    for path in paths:
        family = load(path)
        if family.name in found:
            raise DescriptionError(str(path), [f"name: family {family.name} is described in {found[family.name][1]}"])
        found[family.name] = family, path
    return {**shipped(), **{name: family for name, (family, _) in found.items()}}


@cache
def shipped() -> dict[str, Family]:
    """The families that come with lb, by name."""
    files = sorted(resources.files(_SHIPPED).iterdir(), key=lambda file: file.name)
    families = [parse(file.read_text("utf-8"), file.name) for file in files if file.name.endswith(SUFFIX)]
    return {family.name: family for family in families}
