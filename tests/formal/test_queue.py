"""Queues by induction: every word once, in order, and as many as were written, for any pace of both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Fragment, Module, Mux, Signal
from gatewright.compiler.layout.latency import Timing
from gatewright.hw.engine.queue import Queue
from support.formal import Memories, Refuted, free_inputs, named, prove


def proof(
    depth: int, width: int, folder: Path, *, queue: type[Queue] = Queue, room: int = 0
) -> int:
    """Compare a queue with a list; whoever writes keeps count, of ``room`` words too many."""
    dut, memories = queue(width=width, depth=depth), Memories()
    inside = Fragment.get(dut, memories)
    m = Module()
    m.submodules.dut = inside
    (words,) = memories.words
    to, of, after, some = (named(inside, name) for name in ("to", "of", "after", "some"))
    # The list, oldest word first.
    number = Signal(range(depth + 2))
    listed = [Signal(width, name=f"listed_{k}") for k in range(depth + 1)]
    take, left = Signal(), Signal(range(depth + 2))
    m.d.comb += [
        take.eq(dut.r_en & dut.r_rdy), left.eq(number - take),
        Assume(~dut.w_en | (number < depth + room)), Assume(~dut.r_en | dut.r_rdy),
    ]  # fmt: skip
    m.d.sync += number.eq(left + dut.w_en)
    for k, word in enumerate(listed):
        kept = Mux(take, listed[k + 1] if k < depth else 0, word)
        m.d.sync += word.eq(Mux(dut.w_en & (left == k), dut.w_data, kept))
    # What is asked of it.
    m.d.comb += [
        Assert(~dut.r_rdy | (number > 0)), Assert(~dut.r_rdy | (dut.r_data == listed[0])),
    ]  # fmt: skip
    # What induction needs to know: the places, and the words that the memory holds.
    stored = Signal(range(depth + 2))
    m.d.comb += [
        stored.eq(number - dut.r_rdy),
        Assert(number <= depth), Assert(to < depth), Assert(of < depth),
        Assert(after == Mux(of == depth - 1, 0, of + 1)), Assert(some == (stored > 0)),
        Assert(to == Mux(of + stored >= depth, of + stored - depth, of + stored)),
    ]  # fmt: skip
    for start in range(depth):
        for k in range(depth):
            held = (of == start) & (stored > k)
            item = Mux(dut.r_rdy, listed[k + 1], listed[k])
            m.d.comb += Assert(~held | (words[(start + k) % depth] == item))
    return prove(m, free_inputs(dut), folder, depth=3, memories=memories)


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_order_and_count(depth: int, tmp_path: Path) -> None:
    assert proof(depth, 2, tmp_path) == 1


@pytest.mark.full
def test_order_and_count_at_the_depth_of_a_core(tmp_path: Path) -> None:
    assert proof(Timing.FIFO, 1, tmp_path) == 1


def test_one_word_too_many_is_refuted(tmp_path: Path) -> None:
    with pytest.raises(Refuted):
        proof(3, 1, tmp_path, room=1)
