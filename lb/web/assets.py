"""The stylesheet, the icon and the script: all that pages load, from this server alone.

Their addresses carry a digest of their content, so that browsers keep them for good and never show an old one.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final, NamedTuple


class Asset(NamedTuple):
    """A file that never changes under its address."""

    path: str
    content_type: str
    content: bytes


def _asset(name: str, content_type: str) -> Asset:
    content = resources.files("lb.web").joinpath("static", name).read_bytes()
    stem, _, suffix = name.partition(".")
    return Asset(f"/static/{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{suffix}", content_type, content)


STYLE: Final = _asset("lb.css", "text/css; charset=utf-8")
ICON: Final = _asset("icon.svg", "image/svg+xml")
#: Keeps pages up to date; they are whole without it.
LIVE: Final = _asset("live.js", "text/javascript; charset=utf-8")
ASSETS: Final[dict[str, Asset]] = {asset.path: asset for asset in (STYLE, ICON, LIVE)}
