"""Cycles a CPU second of the simulated core, and what building it costs.

    python bench/simulation.py [--steps 2400] [--base FOLDER]

CPU seconds of this process and its children, so that other work on the machine counts little. The
cache of simulators is empty at first. ``--base`` is a folder in which another version is installed
(``pip install --target FOLDER --no-deps``); each figure is then followed by how many times better it is here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = {"GRU 12->32+9, 24 lanes": (12, 32, 9, 24), "GRU 64->128, 24 lanes": (64, 128, 0, 24)}
SHORT = 48  # steps of a run that a person waits for


def program(inputs: int, size: int, outputs: int, lanes: int) -> Any:
    """Return a program of a GRU with random weights, and a head where it has outputs."""
    from gatewright.compiler import Config, Linear, Model, Recurrent, quantize

    rng = np.random.default_rng(1)
    scale = 1.5 / np.sqrt(inputs + size)

    def draw(*shape: int) -> dict[str, Any]:
        return {gate: rng.normal(0, scale, shape) for gate in "rzn"}

    layers: list[Any] = [
        Recurrent(
            "gru", "gru", ("x",), size, inputs, draw(size, inputs), draw(size, size), draw(size),
            draw(size),
        )
    ]  # fmt: skip
    if outputs:
        layers.append(Linear("head", ("gru",), rng.normal(size=(outputs, size))))
    return quantize(
        Model(inputs, tuple(layers)), rng.normal(size=(2, 32, inputs)), Config(lanes=lanes)
    )


def cost(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return a result, its CPU seconds with those of children, and its seconds."""

    def cpu() -> float:
        return sum(os.times()[:4])

    before, start = cpu(), time.perf_counter()
    result = work()
    return result, cpu() - before, time.perf_counter() - start


def measure(steps: int) -> dict[str, float]:
    """Return the figures of the version on the path."""
    from gatewright.sim import Bench, simulate

    benches: dict[str, Any] = {"cocotb": Bench}
    try:
        from gatewright.sim.compiled import CompiledBench

        benches["C++"] = CompiledBench
    except ImportError:
        pass  # a version before it
    figures = {}
    for shape, sizes in SHAPES.items():
        p = program(*sizes)
        x = np.random.default_rng(2).normal(size=(1, steps, sizes[0]))
        codes = p.encode(x)[0]
        for name, bench in benches.items():
            opened, figures[f"{shape}: {name}, build, CPU s"], _ = cost(lambda b=bench, p=p: b(p))
            first = np.arange(steps) == 0
            got, seconds, _ = cost(lambda: opened.record(codes, first))  # noqa: B023
            assert (got.ends == p.schedule.predict(steps)).all()  # noqa: S101
            figures[f"{shape}: {name}, cycles a CPU s"] = int(got.ends[-1]) / seconds
            opened.close()
            simulator = "verilator" if name == "cocotb" else "verilator-cpp"
            _, cpu, wall = cost(lambda: simulate(p, x[:, :SHORT], simulator=simulator))  # noqa: B023
            figures[f"{shape}: {name}, simulate {SHORT} steps again, CPU s"] = cpu
            figures[f"{shape}: {name}, simulate {SHORT} steps again, s"] = wall
    return figures


def run(steps: int, base: Path | None) -> dict[str, float]:
    """Return the figures of a version, measured in a process of its own with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        path = [str(base)] if base else []
        path += filter(None, [os.environ.get("PYTHONPATH")])
        variables = {"GATEWRIGHT_CACHE": cache, "PYTHONPATH": os.pathsep.join(path)}
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__, "--measure", "--steps", str(steps)],
            env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--base", type=Path, help="folder of another installed version")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.steps)))
        return
    here = run(args.steps, None)
    there = run(args.steps, args.base) if args.base else {}
    for name, figure in here.items():
        before = there.get(name)
        better = ""
        if before is not None:
            ratio = figure / before if "cycles" in name else before / figure
            better = f"   {before:12,.1f} before: {ratio:.1f} times better"
        print(f"{name:64} {figure:12,.1f}{better}")


if __name__ == "__main__":
    main()
