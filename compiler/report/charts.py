"""Charts: shapes as SVG that stretches, every text as HTML around it, colours from the style sheet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Markup, el, number, spaced

__all__ = ["Axis", "bar_rows", "columns", "curve", "figure", "frame", "legend", "strip"]

SIZE = 1000.0
"""Width and height of a frame's coordinates."""


@dataclass(frozen=True)
class Axis:
    """Range of an axis, and the values that are written beside it.

    Parameters
    ----------
    low, high : float
    label : str
    log : bool
        Both ends are positive.
    whole : bool
        Values are whole numbers.
    """

    low: float
    high: float
    label: str = ""
    log: bool = False
    whole: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 to 1 between the ends."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = (math.log10(max(v, 1e-300)) for v in (low, high, value))
        return (value - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[float]:
        """Return three to six round values inside the range."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            every = (1,) if len(powers) > 3 else (1, 2, 5)
            made = [10.0**k * n for k in powers for n in every]
            made = [value for value in made if self.low <= value <= self.high]
            return made[:: max(1, len(made) // 4)] or [self.low, self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        unit = 10.0 ** math.floor(math.log10(span / 4))
        step = next(unit * k for k in (1, 2, 5, 10) if span / (unit * k) <= 5)
        step = max(1.0, step) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def figure(body: Markup, caption: str = "") -> Markup:
    """Return a chart with its caption."""
    return el("figure", body, el("figcaption", caption) if caption else None)


def legend(entries: Sequence[tuple[str, str]]) -> Markup:
    """Return names with the class of their colour."""
    chips = (el("span", el("i", class_=kind), name) for name, kind in entries)
    return el("p", *chips, class_="legend")


def frame(shapes: Sequence[Markup], x: Axis, y: Axis | None, about: str, kind: str = "") -> Markup:
    """Return shapes of :func:`curve` or :func:`columns` with their axes.

    ``about`` says in words what is seen, for those who do not see it.
    """
    grid, beside = [], []
    for value in y.ticks() if y else []:
        at = 1 - y.place(value) if y else 0.0
        grid.append(f"M0 {spaced(SIZE * at)}H{SIZE:.0f}")
        beside.append(el("span", number(value), style=f"top:{spaced(100 * at)}%"))
    below = [
        el("span", number(value), style=f"left:{spaced(100 * x.place(value))}%")
        for value in x.ticks()
    ]
    svg = el(
        "svg", el("path", d="".join(grid), class_="grid") if grid else None, *shapes,
        viewBox=f"0 0 {SIZE:.0f} {SIZE:.0f}", preserveAspectRatio="none", role="img",
        aria_label=about,
    )  # fmt: skip
    return el(
        "div", el("div", y.label if y else "", class_="ylabel") if y and y.label else None,
        el("div", *beside, class_="y") if y else None, el("div", svg, class_="area"),
        el("div", *below, class_="x"), el("div", x.label, class_="xlabel") if x.label else None,
        class_=f"frame {kind}".strip() + ("" if y else " bare"),
    )  # fmt: skip


def curve(xs: Sequence[float], ys: Sequence[float], x: Axis, y: Axis, kind: str) -> Markup:
    """Return a line through points; a single point is a short stroke."""
    points = [
        (SIZE * x.place(a), SIZE * (1 - min(1.0, max(0.0, y.place(b)))))
        for a, b in zip(xs, ys, strict=True)
    ]
    if len(points) == 1:
        points = [(points[0][0] - 12, points[0][1]), (points[0][0] + 12, points[0][1])]
    text = "L".join(f"{spaced(a)} {spaced(b)}" for a, b in points)
    return el("path", d=f"M{text}" if text else "", class_=f"curve {kind}")


def columns(counts: Sequence[float], kind: str, top: float = 0.0) -> Markup:
    """Return columns side by side over the whole width, the highest at ``top`` or as high as it is."""
    top = top or max(counts, default=0.0) or 1.0
    width = SIZE / max(1, len(counts))
    heights = [SIZE * (1 - min(1.0, n / top)) for n in counts]
    d = f"M0 {SIZE:.0f}" + "".join(
        f"V{spaced(h)}H{spaced(width * (k + 1))}" for k, h in enumerate(heights)
    )
    return el("path", d=f"{d}V{SIZE:.0f}Z", class_=f"columns {kind}")


def strip(
    spans: Sequence[tuple[float, float, str, str]],
    length: float,
    about: str,
    kind: str = "",
    marks: Sequence[float] = (),
) -> Markup:
    """Return a line of time: what happens from when on for how long.

    Parameters
    ----------
    spans : sequence of (start, length, class, text)
        Spans of one class and text become one shape.
    length : float
        Of the whole line, in the unit of the spans.
    marks : sequence of float
        Places where something ends and another begins.
    """
    shapes = []
    key = lambda span: (span[2], span[3])  # noqa: E731
    for (colour, text), group in itertools.groupby(
        sorted(spans, key=lambda s: (key(s), s[0])), key
    ):
        d = "".join(f"M{spaced(a)} 0h{spaced(n)}v10h-{spaced(n)}z" for a, n, _, _ in group)
        shapes.append(el("path", el("title", text), d=d, class_=colour))
    if marks:
        d = "".join(f"M{spaced(at)} 0v10" for at in sorted(marks))
        shapes.append(el("path", d=d, class_="mark"))
    return el(
        "svg", *shapes, viewBox=f"0 0 {spaced(length)} 10", preserveAspectRatio="none", role="img",
        aria_label=about, class_=f"strip {kind}".strip(),
    )  # fmt: skip


def bar_rows(rows: Sequence[tuple[str, float, str, str]]) -> Markup:
    """Return bars that lie below each other: name, share 0 to 1, text at its end, class."""
    made = []
    for name, share, text, kind in rows:
        width = spaced(100 * min(1.0, max(0.0, share)))
        bar = el("div", el("i", style=f"width:{width}%", class_=kind), class_="track")
        made.append(el("div", el("span", name), bar, el("b", text), class_="bar"))
    return el("div", *made, class_="bars")
