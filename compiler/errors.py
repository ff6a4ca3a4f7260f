"""The three ways a command can fail; the command line maps them to exit codes."""

from __future__ import annotations

__all__ = ["CheckError", "GatewrightError", "InputError", "MissingToolError"]


class GatewrightError(Exception):
    """Base of every error that is shown to a user as one message without a traceback."""

    exit_code = 1


class InputError(GatewrightError, ValueError):
    """The user's input is at fault: says what, the value, the limit and the way out."""

    exit_code = 1


class CheckError(GatewrightError):
    """A check failed: not bit-exact, timing missed, a build failed."""

    exit_code = 2


class MissingToolError(GatewrightError):
    """An external tool or optional package is missing; the message has the install command."""

    exit_code = 3
