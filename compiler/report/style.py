"""Colours of the plots that Matplotlib makes, and the check that it is there."""

from __future__ import annotations

from ..errors import MissingToolError

__all__ = ["BLUE", "GREY", "ORANGE", "need_plots"]

BLUE, ORANGE, GREY = "#2563a8", "#d9772b", "#9aa4b2"


def need_plots() -> None:
    """Refuse early where no plot can be made.

    Raises
    ------
    MissingToolError
        Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingToolError("plots need Matplotlib: pip install 'gatewright[plot]'") from None
