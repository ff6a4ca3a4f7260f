"""Tools that end with us: each runs in a process group of its own, which is ended as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["in_group", "run_in_group"]

PATIENCE = 2.0  # seconds between asking a group to end and ending it


@contextmanager
def in_group(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a command; when the block is left, it and all that it started have ended.

    Parameters
    ----------
    command : sequence of str
    **options
        Of :class:`subprocess.Popen`; standard input is empty unless given.
    """
    options = {"stdin": subprocess.DEVNULL} | options
    process = subprocess.Popen(  # noqa: S603
        command, start_new_session=os.name == "posix", **options
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    """End a group: first make and compilers get the chance to remove their own files."""
    _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    # The leader is not reaped yet, so that the group keeps its number until the last signal.
    while time.monotonic() < deadline and not _ended(process):
        time.sleep(0.02)
    _signal(process, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    process.wait()


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        else:
            process.kill()


def _ended(process: subprocess.Popen[Any]) -> bool:
    """Say whether the leader has ended, and leave it to be waited for."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run_in_group(
    command: Sequence[str], *, timeout: float | None = None, stdin_bytes: bytes | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:  # fmt: skip
    """Run a command to its end, as :func:`subprocess.run` does, in a group of its own.

    ``stdin_bytes`` are what it reads.
    """
    if stdin_bytes is not None:
        options["stdin"] = subprocess.PIPE
    with in_group(command, **options) as process:
        out, err = process.communicate(stdin_bytes, timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
