"""The memory that reading a file may take: every reader announces it before it takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import InputError

__all__ = ["FILE_LIMIT", "MEMORY", "BudgetError", "memory_limit", "one_import", "spend"]

FILE_LIMIT = 1 << 30
"""Bytes of a file, and of what a compressed one unpacks to."""

MEMORY = 2 << 30
"""Bytes that one import may take in all, unless :func:`memory_limit` says otherwise.

The work of an import is in proportion to it: what is not there in bytes is not walked.
"""

_limit: ContextVar[int] = ContextVar("limit", default=MEMORY)
_spent: ContextVar[list[int] | None] = ContextVar("spent", default=None)


class BudgetError(InputError):
    """A file asks for more memory or work than an import may take."""


@contextmanager
def memory_limit(nbytes: int | None) -> Iterator[None]:
    """Let imports in this block take other memory than :data:`MEMORY`; None changes nothing."""
    if nbytes is not None and not 0 < nbytes < 1 << 60:
        raise InputError(f"the memory of an import is a positive number of bytes, not {nbytes}")
    token = _limit.set(_limit.get() if nbytes is None else int(nbytes))
    try:
        yield
    finally:
        _limit.reset(token)


@contextmanager
def one_import() -> Iterator[None]:
    """Count all that is spent in this block together; a block inside another adds to it."""
    if _spent.get() is not None:
        yield
        return
    token = _spent.set([0])
    try:
        yield
    finally:
        _spent.reset(token)


def spend(nbytes: int, what: str) -> None:
    """Announce memory before it is taken.

    Parameters
    ----------
    nbytes : int
        Bytes, with the copies that are made of them.
    what : str
        For the message.

    Raises
    ------
    BudgetError
        It is more than is left.
    """
    spent = _spent.get() or [0]
    spent[0] += nbytes
    limit = _limit.get()
    if spent[0] > limit:
        more = f" ({spent[0]:,} with what was read before)" if spent[0] > nbytes else ""
        size = f"{nbytes:,}" if nbytes < 1 << 80 else "more than 2**80"
        raise BudgetError(
            f"{what} takes {size} bytes of memory{more}, the limit of an import is {limit:,}: if "
            "the file is to be trusted, raise it with --memory GIB (in Python: memory=BYTES)"
        )
