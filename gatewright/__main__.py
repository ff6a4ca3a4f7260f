"""The command: signals and closed files are settled before anything else is imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

__all__ = ["Ended", "main"]


class Ended(KeyboardInterrupt):
    """Another process asks us to end: what is open is closed, as after Ctrl-C."""

    exit_code = 143


def _end(number: int, _frame: Any) -> None:
    """Turn the first signal into an exception; the next ones do not disturb the clearing up."""
    signal.signal(number, signal.SIG_IGN)
    Ended.exit_code = 128 + number
    raise Ended


def _open_standard_files() -> None:
    """Give files to numbers 0 to 2 that are closed, or the next file would be taken for them.

    What is written to a closed output fails, as it should.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest number that is free: this one
            if number:
                setattr(sys, name, os.fdopen(number, "w", closefd=False))


def main() -> int:
    """Run the command of the process; return its exit code."""
    # A command makes large graphs and lets few cycles go: looking for them took a third of the time
    # in which Amaranth makes Verilog.
    gc.set_threshold(50_000, 100, 100)
    for name in ("SIGTERM", "SIGHUP"):
        # Who starts us with SIGHUP ignored, as nohup does, wants it so.
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        _open_standard_files()
        from .cli.main import main as run

        code = run()
    except KeyboardInterrupt as error:
        os.write(2, b"error: interrupted\n")
        code = getattr(error, "exit_code", 130)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # Python would try again at its end, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not code:
            os.write(2, b"error: the output was closed before everything was written\n")
        code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
