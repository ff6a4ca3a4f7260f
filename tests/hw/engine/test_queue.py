"""The output queue against a list: every word once, in order, whatever both sides wait."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator
from gatewright.hw.engine.queue import Queue
from gatewright.hw.vendor import families

WIDTH, DEPTH, WORDS = 11, 6, 200
LIMIT = 40 * WORDS
"""Cycles after which the queue hangs."""


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("pace", [(1.0, 1.0), (1.0, 0.3), (0.3, 1.0), (0.5, 0.5)], ids=str)
def test_words_leave_in_order_vs_a_list(family: str, pace: tuple[float, float]) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    words = [rng.randrange(1 << WIDTH) for _ in range(WORDS)]
    dut = Queue(width=WIDTH, depth=DEPTH, family=families()[family])
    taken: list[int] = []

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        written = 0
        for _ in range(LIMIT):
            # Who writes keeps count: a word that leaves makes room in the next cycle.
            write = written < WORDS and written - len(taken) < DEPTH and rng.random() < pace[0]
            read = rng.random() < pace[1]
            ctx.set(dut.w_en, write)
            ctx.set(dut.w_data, words[written] if write else rng.randrange(1 << WIDTH))
            ready = ctx.get(dut.r_rdy)
            ctx.set(dut.r_en, ready and read)
            _, _, word = await ctx.tick().sample(dut.r_data)
            written += write
            if ready and read:
                taken.append(word)
            if len(taken) == WORDS:
                return
        raise TimeoutError(f"{len(taken)} of {WORDS} words")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert taken == words


def test_a_word_into_an_empty_queue_is_there_two_cycles_later() -> None:
    dut = Queue(width=WIDTH, depth=DEPTH)

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(dut.w_en, 1)
        ctx.set(dut.w_data, 77)
        await ctx.tick()
        ctx.set(dut.w_en, 0)
        cycles = 1
        while not ctx.get(dut.r_rdy):
            await ctx.tick()
            cycles += 1
            assert cycles < 9
        assert (cycles, ctx.get(dut.r_data)) == (2, 77)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
