"""The timeline of a job as inline SVG, which carries its own description in words.

Colours come from the stylesheet by class; there are no inline styles and no scripts.
"""

from __future__ import annotations

from typing import Final

from twisted.web.template import Tag

from lb.web.frame import state_name, svg, tone
from lb.web.timeline import BAND, LANE, LEFT, WIDTH, Layout

_ROW: Final = 18.0


def draw(picture: Layout, done_code: int) -> Tag:
    """The picture."""
    return svg(
        "svg",
        svg("title", "Timeline of the job", id="timeline-title"),
        svg("desc", picture.summary, id="timeline-desc"),
        *_lanes(picture),
        *_band(picture, done_code),
        *_dots(picture),
        *_axis(picture),
        viewBox=f"0 0 {WIDTH:.0f} {picture.height:.0f}",
        role="img",
        class_="timeline",
        aria_labelledby="timeline-title timeline-desc",
    )


def _lanes(picture: Layout) -> list[Tag]:
    drawn = []
    for number, name in enumerate(picture.lanes):
        y = picture.axis - LANE * (len(picture.lanes) - number) + LANE / 2
        drawn.append(svg("text", name, x=LEFT - 12, y=y + 4, text_anchor="end", class_="lane"))
        drawn.append(svg("line", x1=LEFT, x2=WIDTH, y1=y, y2=y, class_="lane"))
    return drawn


def _band(picture: Layout, done_code: int) -> list[Tag]:
    drawn = []
    for flag in picture.flags:
        y = picture.top - 10 - _ROW * flag.row
        drawn.append(svg("line", x1=flag.x, x2=flag.x, y1=y - 8, y2=picture.axis, class_="entry"))
        drawn.append(
            svg(
                "text",
                state_name(flag.state),
                x=flag.x + (-5.0 if flag.leftwards else 5.0),
                y=y,
                text_anchor="end" if flag.leftwards else "start",
                class_="flag",
            )
        )
    drawn += [
        svg(
            "rect",
            svg("title", segment.hint),
            x=segment.x,
            y=picture.top,
            width=segment.width,
            height=BAND,
            class_=f"state {tone(segment.state, done_code)}",
        )
        for segment in picture.segments
    ]
    return drawn


def _dots(picture: Layout) -> list[Tag]:
    drawn = []
    for dot in picture.dots:
        y = picture.axis - LANE * (len(picture.lanes) - dot.lane) + LANE / 2
        circle = svg("circle", cx=dot.x, cy=y, r=5.0 if dot.number == 1 else 8.5)
        parts = [svg("title", dot.hint), circle]
        if dot.number > 1:
            count, class_ = (str(dot.number), "some") if dot.number < 100 else ("99+", "many")
            parts.append(svg("text", count, x=dot.x, y=y + 3.5, text_anchor="middle", class_=class_))
        drawn.append(svg("g", *parts, class_="dot"))
    return drawn


def _axis(picture: Layout) -> list[Tag]:
    y = picture.axis + 2
    drawn = [svg("line", x1=LEFT, x2=WIDTH, y1=y, y2=y, class_="axis")]
    drawn += [svg("text", label.text, x=label.x, y=y + 32, class_="time") for label in picture.times]
    drawn += [
        svg("text", label.text, x=label.x, y=y + 14, text_anchor="middle", class_="gap") for label in picture.gaps
    ]
    return drawn
