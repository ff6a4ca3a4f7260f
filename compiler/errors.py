"""The three ways a command can fail; the command line maps them to exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = ["CheckError", "GatewrightError", "InputError", "MissingToolError", "did_you_mean"]


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


class CheckError(GatewrightError):
    """A check failed: not bit-exact, timing missed, a build failed."""

    exit_code = 2


class MissingToolError(GatewrightError):
    """An external tool or optional package is missing; the message has the install command."""

    exit_code = 3
