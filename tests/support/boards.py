"""Boards that several files use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gatewright.compiler import Config, quantize
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.hw.link.system import System
from gatewright.sim.verilated import VerilatedBoard, build_board

from support.randoms import recurrent

CLOCK, BAUD = 4.3e6, 1e6


def gru_program(seed: int = 1, like: Program | None = None) -> Program:
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "gru", "gru", ("x",), 3, 5),
        Linear("head", ("gru",), rng.normal(size=(2, 5)), rng.normal(size=2)),
    )
    config = None if like else Config(lanes=4, activation_bits=10, state_bits=14, spare=4)
    return quantize(Model(3, layers), rng.normal(size=(2, 20, 3)), config, like=like)


def lstm_program() -> Program:
    """An LSTM with a wide cell state, 8-bit codes at both ends, and an argmax; slow."""
    rng = np.random.default_rng(2)
    layers = (
        recurrent(rng, "lstm", "lstm", ("x",), 2, 24),
        Linear("head", ("lstm",), rng.normal(size=(5, 24)), rng.normal(size=5)),
    )
    config = Config(lanes=1, activation_bits=8, state_bits=8, argmax=True)
    return quantize(Model(2, layers), rng.normal(size=(2, 20, 2)), config)


@dataclass
class Bench:
    program: Program
    start: Callable[..., VerilatedBoard]


def bench(program: Program, folder: Path, **options: object) -> Iterator[Bench]:
    boards: list[VerilatedBoard] = []
    system = System(program, clock_hz=CLOCK, baud=BAUD, **options)  # type: ignore[arg-type]
    built = build_board(system, folder)

    def start(**line: float) -> VerilatedBoard:
        boards.append(VerilatedBoard(built, clock_hz=CLOCK, baud=BAUD, **line))  # type: ignore[arg-type]
        return boards[-1]

    yield Bench(program, start)
    for board in boards:
        board.close()
