"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import InputError
from .owned import PROGRAM, Kind, refuse_foreign

__all__ = ["atomic_folder", "atomic_write", "check_folder", "reason"]


def atomic_write(path: str | Path, writer: Callable[[IO[bytes]], object]) -> None:
    """Write a file through a temporary one beside it, so that it appears whole or not at all.

    Parameters
    ----------
    path : path
        Its folder must exist. An old file is replaced; a link is followed.
    writer : callable
        Gets a binary file to write to.

    Raises
    ------
    InputError
        The system refuses, e.g. ``No space left on device``; nothing has changed.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InputError(f"{path} exists and is not a file; give another name")
    temporary = _sibling(target)
    try:
        with temporary.open("xb") as file:
            writer(file)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}; nothing was written") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, kind: Kind = PROGRAM) -> Iterator[Path]:
    """Fill a temporary folder that takes its place when the block ends well.

    Parameters
    ----------
    path : path
        Folder to make; folders above it are made too. An old one is replaced only if it is empty,
        or if it and everything in it is ours.
    kind : Kind
        What gatewright writes there, and knows again.

    Yields
    ------
    pathlib.Path
        The temporary folder, beside the final one.

    Raises
    ------
    InputError
        The old folder is not ours, or the system refuses; the old folder is as it was.
    """
    target = Path(os.path.realpath(path))
    temporary, old = _sibling(target), _sibling(target)
    try:
        refuse_foreign(target, path, kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        refuse_foreign(target, path, kind)
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}; nothing was written") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def check_folder(path: str | Path, kind: Kind = PROGRAM) -> None:
    """Refuse a folder that :func:`atomic_folder` could not write, before the work for it begins.

    Raises
    ------
    InputError
    """
    target = Path(os.path.realpath(path))
    refuse_foreign(target, path, kind)
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir():
        raise InputError(f"cannot write {path}: {above} is not a folder; give another name")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: {above} may not be written; give another folder")


def _sibling(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def reason(error: OSError) -> str:
    """Say in the system's words what went wrong."""
    return error.strerror or str(error)
