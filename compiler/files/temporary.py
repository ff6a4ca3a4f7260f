"""Temporary folders for tools: made and removed here, under names that every tool takes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

__all__ = ["is_safe", "temporary_folder"]


def is_safe(path: str | Path) -> bool:
    """Say whether make, compilers and linkers take a path: it has no space and no other sign."""
    return re.fullmatch(r"[\w./+-]+", os.path.realpath(path), re.ASCII) is not None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for the block, and remove it with all it holds, whatever happens.

    It is in the system's temporary folder (``TMPDIR``), or, where make would stumble over that
    name, in another one.

    Raises
    ------
    InputError
        No temporary folder can be written, or all have names that make does not take.
    """
    places = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp") if is_safe(place)]  # noqa: S108
    for place in places:
        if os.access(place, os.W_OK | os.X_OK):
            break
    else:
        raise InputError(
            f"no temporary folder that make takes (tried {tempfile.gettempdir()!r}): set TMPDIR to "
            "a folder whose name has letters, digits and . _ - + only"
        )
    with tempfile.TemporaryDirectory(
        prefix="gatewright-", dir=place, ignore_cleanup_errors=True
    ) as name:
        yield Path(name).resolve()
