"""One boundary for each kind of file: whatever a parser raises becomes an input error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import GatewrightError, InputError

__all__ = ["brief", "parsing"]


def brief(error: BaseException) -> str:
    """Return the first line of what an error says, or its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]


@contextmanager
def parsing(name: str, kind: str, way_out: str) -> Iterator[None]:
    """Turn whatever a parser inside raises on a damaged file into an input error.

    Parameters
    ----------
    name : str
        Name of the file.
    kind : str
        For the message: ``a .npz file``.
    way_out : str
        Last part of the message: ``save it again``.
    """
    try:
        yield
    except GatewrightError:
        raise
    except OSError as error:
        raise InputError(
            f"cannot read {name}: {error.strerror or brief(error)}; {way_out}"
        ) from error
    except Exception as error:  # parsers of others raise many types, some of them by mistake
        raise InputError(
            f"{name} is not {kind}, or is damaged ({brief(error)}); {way_out}"
        ) from error
