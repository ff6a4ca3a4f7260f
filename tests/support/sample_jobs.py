"""Jobs for tests of workers; workers of a cluster import them from here."""

from __future__ import annotations

import os
import time

from gatewright.compiler.errors import InputError
from gatewright.compiler.jobs import Shared


def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def use(shared: Shared[list[int]], index: int) -> tuple[int, int]:
    return shared.value[index], id(shared.value)


def fail(x: int) -> None:
    raise InputError(f"{x} is wrong")
