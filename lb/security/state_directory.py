"""Where an account keeps its state when nothing else is said: daemons their data, everybody the development PKI.

It only names the directory; whoever uses it makes it.
"""

from collections.abc import Mapping
from pathlib import Path


def state_directory(environ: Mapping[str, str], home: Path, uid: int) -> Path:
    """Return the directory that LB_STATE_DIR names, else the customary one of root or of the account at `home`."""
    if named := environ.get("LB_STATE_DIR"):
        return Path(named)
    return Path("/var/lib/lb") if uid == 0 else home / ".local/state/lb"
