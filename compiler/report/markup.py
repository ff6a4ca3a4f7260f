"""Elements of a page as text. What is not markup already is escaped, wherever it comes from."""

from __future__ import annotations

import math
from html import escape

__all__ = ["Markup", "el", "join", "number", "spaced"]

VOID = ("meta", "br")


class Markup(str):
    """Text that is markup already; only :func:`el` and :func:`join` make it."""

    __slots__ = ()


def el(name: str, /, *children: str | None, **attributes: object) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
    *children : str or None
        Text, which is escaped, or :class:`Markup`; None is left out.
    **attributes
        ``class_`` is ``class``, ``aria_label`` is ``aria-label``; None is left out.
    """
    made = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{made}>")
    return Markup(f"<{name}{made}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Put texts and elements behind each other; texts are escaped."""
    parts = (c if isinstance(c, Markup) else escape(c) for c in children if c is not None)
    return Markup("".join(parts))


def number(value: float, digits: int = 3) -> str:
    """Format a number for people: that many digits, thousands apart, a true minus sign."""
    if not math.isfinite(value):
        return "none"
    size = abs(value)
    if size >= 10**digits:
        text = f"{value:,.0f}"
    elif size and size < 1e-4:
        text = f"{value:.{digits}g}".replace("e-0", "e-")
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "\N{MINUS SIGN}")


def spaced(value: float) -> str:
    """Format a coordinate: short, and the same in every run."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
