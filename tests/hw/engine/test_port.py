"""Weights and beat table through the state port: read back, exchanged, refused."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout.core_spec import differences
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.engine.core import Core
from gatewright.hw.engine.port import LOAD_BEATS, LOAD_WEIGHTS, READ_BEATS, READ_WEIGHTS, chunks
from gatewright.sim.collisions import simulator
from support.randoms import extreme_codes, recurrent


def model(seed: int, cell: str = "gru", size: int = 7) -> Model:
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "first", cell, ("x",), 3, size),
        recurrent(rng, "second", cell, ("first",), size, 4),
        Linear("head", ("second", "x"), rng.normal(0, 0.5, (3, 7)), rng.normal(0, 0.3, 3)),
    )
    return Model(3, layers, ("head", "first"))


def pair(cell: str, lanes: int = 5, **options: object) -> tuple[Program, Program]:
    """Return a program with head room, and another model's with the same hardware."""
    x = np.random.default_rng(9).normal(size=(4, 30, 3))
    a = quantize(model(1, cell), x, Config(lanes=lanes, spare=2, **options))  # type: ignore[arg-type]
    b = quantize(model(2, cell), x, like=a)
    return a, b


def play(program: Program, job: list[tuple[str, object]], *, stall: float = 0.0, seed: int = 0):
    """Run a job on a loadable core; return what came out of ``o`` and of ``s_o``."""
    core = Core(program, loadable=True)
    outputs: list[int] = []
    read: list[int] = []
    size = program.network.output_size
    expected = sum(len(v) * size for k, v in job if k == "steps")  # type: ignore[arg-type]

    async def pause(ctx, rng) -> None:
        while stall and rng.random() < stall:
            await ctx.tick()

    async def send(ctx, rng, stream, payload) -> None:
        await pause(ctx, rng)
        ctx.set(stream.payload, payload)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)

    async def receive(ctx, rng, stream):
        await pause(ctx, rng)
        ctx.set(stream.ready, 1)
        (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
        ctx.set(stream.ready, 0)
        return payload

    async def source(ctx) -> None:
        rng = random.Random(seed)
        for kind, value in job:
            if kind == "steps":
                for t, row in enumerate(value):
                    for k, code in enumerate(row):
                        await send(ctx, rng, core.i, {"data": code, "first": int(t == k == 0)})
            elif kind == "read":
                command, number = value
                await send(ctx, rng, core.c, command)
                read.extend([(await receive(ctx, rng, core.s_o)) & 0xFFFF for _ in range(number)])
            else:
                command, words = value
                await send(ctx, rng, core.c, command)
                for word in words:
                    await send(ctx, rng, core.s_i, word)

    async def sink(ctx) -> None:
        rng = random.Random(seed + 1)
        while len(outputs) < expected:
            outputs.append((await receive(ctx, rng, core.o)).data)

    async def watchdog(ctx) -> None:
        for _ in range(100_000):
            await ctx.tick()
        raise CheckError(f"the core hangs after {len(outputs)} outputs, seed {seed}")

    sim = simulator(core)
    sim.add_clock(1e-6)
    sim.add_testbench(watchdog, background=True)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    sim.run()
    out = np.array(outputs, np.int64).reshape(-1, size)
    ordered = np.zeros_like(out)
    ordered[:, program.schedule.output_order] = out
    return ordered, read


def memory(p: Program) -> tuple[list[int], list[int]]:
    """Return what the state port carries for the weights and the beat table."""
    i = p.images
    return chunks(i.weights, i.weight_width), chunks(i.beats, i.beat_width)


@pytest.mark.parametrize(
    ("cell", "lanes", "stall"),
    [("gru", 5, 0.0), ("gru", 12, 0.4), ("lstm", 3, 0.0), ("mgu", 1, 0.3)],
)
def test_programs_of_one_hardware_digest_are_exchanged(cell: str, lanes: int, stall: float) -> None:
    """Run A, read it back, load B in its place, run B, read B, load A again, run A."""
    a, b = pair(cell, lanes)
    assert a.digest != b.digest
    assert a.hardware_digest == b.hardware_digest
    x = extreme_codes(a, np.random.default_rng(3), 3, 4)
    (wa, ta), (wb, tb) = memory(a), memory(b)
    assert wa != wb and ta != tb and len(wa) == len(wb) and len(ta) == len(tb)
    job: list[tuple[str, object]] = [
        ("steps", x[0].tolist()),
        ("read", (READ_WEIGHTS, len(wa))), ("read", (READ_BEATS, len(ta))),
        ("load", (LOAD_WEIGHTS, wb)), ("load", (LOAD_BEATS, tb)),
        ("steps", x[1].tolist()),
        ("read", (READ_BEATS, len(tb))), ("read", (READ_WEIGHTS, len(wb))),
        ("load", (LOAD_BEATS, ta)), ("load", (LOAD_WEIGHTS, wa)),
        ("steps", x[2].tolist()),
    ]  # fmt: skip
    outputs, read = play(a, job, stall=stall, seed=4)
    expected = [golden.run(p.network, x[k : k + 1]).outputs[0] for k, p in enumerate((a, b, a))]
    assert (outputs == np.concatenate(expected).reshape(12, -1)).all()
    assert read == wa + ta + tb + wb


def test_unknown_commands_do_nothing() -> None:
    a, _ = pair("gru")
    x = extreme_codes(a, np.random.default_rng(3), 1, 2)
    job = [("load", (7, [])), ("steps", x[0].tolist())]
    outputs, _ = play(a, job)
    assert (outputs == golden.run(a.network, x).outputs[0]).all()


def test_a_program_taken_over_is_as_good() -> None:
    """Formats of another program cost little where the models are alike."""
    x = np.random.default_rng(9).normal(size=(4, 30, 3))
    own = quantize(model(2), x, Config(lanes=5))
    _, b = pair("gru")
    assert b.quality["error"]["mean"] < 3 * own.quality["error"]["mean"]


def test_like_survives_the_disk(tmp_path) -> None:
    a, b = pair("gru")
    b.save(tmp_path / "b")
    again = Program.load(tmp_path / "b")
    assert again.digest == b.digest
    assert again.hardware_digest == a.hardware_digest
    assert again.images.beats == b.images.beats


def test_what_does_not_fit_is_refused() -> None:
    x = np.random.default_rng(9).normal(size=(4, 30, 3))
    a = quantize(model(1), x, Config(lanes=5))
    with pytest.raises(InputError, match=r"(?s)another structure.*build a new bitstream"):
        quantize(model(1, size=8), x, like=a)
    loud = model(2)
    head = replace(loud.layers[-1], bias=np.array([900.0, 0, 0]))
    with pytest.raises(InputError, match="build a new bitstream"):
        quantize(Model(3, (*loud.layers[:-1], head), loud.outputs), x, like=a)


def test_differences_are_named() -> None:
    a, _ = pair("gru")
    b = quantize(model(1), None, Config(lanes=6, spare=2))
    assert any("lanes 5 against 6" in text for text in differences(a, b))
    assert differences(a, a) == []
    assert a.hardware_digest != b.hardware_digest
