"""How many jobs are in each state: a bar as inline SVG, and below it the numbers, each a link to those jobs.

Colours come from the stylesheet by class; numbers and names stand beside them, so that none depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twisted.web.template import Flattenable, Tag, tags

from lb.web import address
from lb.web.frame import state_name, svg, tone

_WIDTH: Final = 1000.0
_HEIGHT: Final = 16.0
#: Width of the smallest part: one job of a million is still seen.
_LEAST: Final = 3.0


def histogram(counts: Mapping[int, int], query: str | None) -> Flattenable:
    """The picture of state → number of jobs; `query` finds these jobs, without it nothing is linked."""
    present = {state: count for state, count in sorted(counts.items()) if count}
    if not present:
        return ""
    return tags.div(_bar(present), _numbers(present, query), class_="histogram")


def _bar(counts: Mapping[int, int]) -> Tag:
    total = sum(counts.values())
    spare = _WIDTH - _LEAST * len(counts)
    drawn = []
    x = 0.0
    for state, count in counts.items():
        width = _LEAST + spare * count / total
        hint = svg("title", f"{state_name(state)}: {count:,}")
        drawn.append(svg("rect", hint, x=x, y=0.0, width=width, height=_HEIGHT, class_=f"state {tone(state)}"))
        x += width
    words = ", ".join(f"{count:,} {state_name(state)}" for state, count in counts.items())
    return svg(
        "svg",
        svg("title", "Jobs by state", id="histogram-title"),
        svg("desc", words, id="histogram-desc"),
        *drawn,
        viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
        preserveAspectRatio="none",
        role="img",
        class_="bar-chart",
        aria_labelledby="histogram-title histogram-desc",
    )


def _numbers(counts: Mapping[int, int], query: str | None) -> Tag:
    chips = []
    for state, count in counts.items():
        chip: Flattenable = tags.span(state_name(state), class_=f"badge {tone(state)}")
        if query is not None:
            groups = [group for group in query.split("&") if not group.startswith("status=")]
            wanted = "&".join([*groups, f"status={state_name(state).lower()}"])
            chip = tags.a(chip, href=address.write("/", query=wanted))
        chips.append(tags.li(chip, " ", tags.strong(f"{count:,}")))
    return tags.ul(chips, class_="chips", **{"aria-label": "Jobs by state"})
