"""The three ways a command can fail; the command line maps them to exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = [
    "CheckError",
    "GatewrightError",
    "InputError",
    "MissingToolError",
    "check_type",
    "did_you_mean",
]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'known'?`` for a word that is close to one, else nothing."""
    near = get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


class GatewrightError(Exception):
    """Base of every error that is shown to a user as one message without a traceback.

    Attributes
    ----------
    exit_code : int
        Exit code of the command line.
    result : dict, optional
        Figures known in spite of the failure, which ``--json`` prints.
    """

    exit_code = 1
    result: dict[str, Any] | None = None


class InputError(GatewrightError, ValueError):
    """The user's input is at fault: says what, the value, the limit and the way out."""

    exit_code = 1


def check_type(value: object, wanted: type | tuple[type, ...], what: str, way_out: str) -> None:
    """Refuse an argument of another type.

    Raises
    ------
    InputError
        Names what was given and what is wanted.
    """
    if not isinstance(value, wanted):
        names = [kind.__name__ for kind in (wanted if isinstance(wanted, tuple) else (wanted,))]
        raise InputError(
            f"{what} is a {type(value).__name__}, not a {' or '.join(names)}; {way_out}"
        )


class CheckError(GatewrightError):
    """A check failed: not bit-exact, timing missed, a build failed."""

    exit_code = 2


class MissingToolError(GatewrightError):
    """An external tool or optional package is missing; the message has the install command."""

    exit_code = 3
