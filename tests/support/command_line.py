"""The command line called from tests: in this process, or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


def process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gatewright.cli.main", *map(str, arguments)]
    return subprocess.run(command, text=True, timeout=120, check=False, **options)


def assert_refused(done: Done, code: int, *words: str) -> None:
    """One message on standard error, nothing on standard output."""
    assert done.code == code, done
    lines = [line for line in done.err.splitlines() if not line.startswith("warning:")]
    assert lines[0].startswith("error: "), done.err
    assert sum(line.startswith("error:") for line in lines) == 1
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    for word in words:
        assert word in done.err, (word, done.err)


def raising(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
