"""The command line as a fixture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gatewright.cli.main import main
from support.command_line import Done


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process; arguments of any type."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return Done(code, *capsys.readouterr())

    return call
