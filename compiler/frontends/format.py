"""A file format: its endings, what it holds, and the function that reads it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

from ..ir.model import Model

__all__ = ["Format"]


def _always(path: pathlib.Path) -> bool:
    return True


@dataclass(frozen=True)
class Format:
    """One kind of model file.

    Parameters
    ----------
    name : str
        What such a file holds, for people.
    endings : tuple of str
        Of file names, in lower case with the dot.
    package : str
        Package that is needed to read it; '' where none is.
    read : callable
        Takes the path, ``check`` and the format's own options; returns the model.
    matches : callable
        Whether a file of one of these endings is of this format; where several formats share
        an ending, the first that matches reads.
    """

    name: str
    endings: tuple[str, ...]
    package: str
    read: Callable[..., Model]
    matches: Callable[[pathlib.Path], bool] = _always
