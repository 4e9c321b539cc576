"""The documents as a site: ``make docs``. Pages of the manual are made anew at each build, from the option tables.

Nothing is loaded from elsewhere: theme, scripts and pictures are all in what is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lb import __version__
from lb.manual.__main__ import keep, site

project = "lb"
release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
# Blocks without a language are commands, lines of logs and drawings.
highlight_language = "none"
# Two hyphens begin an option; they are no dash.
smartquotes = False
html_theme = "alabaster"
html_theme_options = {
    "description": "Logging and Bookkeeping: job events in, job states out",
    "fixed_sidebar": True,
    "show_powered_by": False,
    "page_width": "1100px",
    "sidebar_width": "240px",
}
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False


def setup(app: Any) -> None:
    """Called by Sphinx before it looks for documents."""
    pages, directory = dict(site()), Path(app.srcdir, "manual")
    for stale in {path.name for path in directory.glob("*.md")} - set(pages):
        (directory / stale).unlink()
    keep(directory, pages.items())
