"""The multiply-accumulate lanes and the chain that drains them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..blocks.arith import Delay, tree
from ..blocks.multiplier import LATENCY, products
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["Lanes"]


class Lanes(wiring.Component):
    """``split * rows`` lanes: each multiplies its weight with one of ``split`` operands.

    A tile's walk may have two parts (input and recurrent). At the crossing every lane saves
    its accumulator; at the end both are handed to a drain chain, which moves ``beat`` rows
    at a time to the elementwise unit while the lanes work on the next tile.

    Parameters
    ----------
    rows, split, beat : int
        See :class:`~gatewright.compiler.layout.schedule.Geometry`.
    weight_bits, operand_bits, acc_bits : int
    family : VendorFamily
    hard : int, optional
        Multipliers of the device that the lanes may use, see :func:`~.multiplier.products`.

    Members
    -------
    valid, tile_first, tile_last, part_first, reset : In(1)
        Describe the word whose weights and operands are there; ``part_first`` marks the first
        word of a tile's second part. ``reset`` travels with the tile.
    weight : In(split * rows * weight_bits)
        Lane ``s * rows + r`` from the lowest bits up.
    operand : In(signed(operand_bits)).array(split)
    chain_next, chain_reset : Out(1)
        A beat may be taken in the next cycle; ``reset`` of the tile of which it may be taken in this one.
    take, release : In(1)
        A beat is taken; it is the last of its tile.
    first, second : Out(signed(acc_bits)).array(beat)
        The parts of its rows, summed over the split, two cycles later.

    Timing: ``latency`` cycles from the operands to the accumulator, and as many to the first
    cycle in which the tile's rows may be taken.
    Numerics: exact; ``acc_bits`` is proved to be enough by ``QNetwork.bounds``.
    """

    valid: Signal
    tile_first: Signal
    tile_last: Signal
    part_first: Signal
    reset: Signal
    weight: Signal
    operand: Any
    first: Any
    second: Any
    chain_next: Signal
    chain_reset: Signal
    take: Signal
    release: Signal
    latency = LATENCY + 1

    def __init__(
        self,
        *,
        rows: int,
        split: int,
        beat: int,
        weight_bits: int,
        operand_bits: int,
        acc_bits: int,
        family: VendorFamily = GENERIC,
        hard: int | None = None,
    ) -> None:
        if rows % beat:
            raise ValueError(f"rows must be a multiple of beat, not {rows} of {beat}")
        self.rows, self.split, self.beat = rows, split, beat
        self.weight_bits, self.operand_bits, self.acc_bits = weight_bits, operand_bits, acc_bits
        self.family, self.hard = family, hard
        super().__init__({
            "valid": In(1), "tile_first": In(1), "tile_last": In(1), "part_first": In(1),
            "reset": In(1),
            "weight": In(split * rows * weight_bits),
            "operand": In(signed(operand_bits)).array(split),
            "first": Out(signed(acc_bits)).array(beat),
            "second": Out(signed(acc_bits)).array(beat),
            "chain_next": Out(1), "chain_reset": Out(1), "take": In(1), "release": In(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        acc_shape = signed(self.acc_bits)
        add = Delay(m, self.valid, reset_less=False).at(LATENCY)
        fresh = Delay(m, self.tile_first | self.part_first).at(LATENCY)
        # The saved part is that of the tile's first words; of a tile of one part it is zero.
        save_zero = Delay(m, self.valid & self.tile_first, reset_less=False).at(LATENCY)
        save_now = Delay(m, self.valid & self.part_first & ~self.tile_first, reset_less=False).at(
            LATENCY
        )
        last = Delay(m, self.valid & self.tile_last, reset_less=False).at(LATENCY)
        # Asked for here: a register made inside a condition would be updated only under it.
        reset = Delay(m, self.reset).at(LATENCY)

        # A finished tile waits in the accumulators until the chain is free. The sequencer
        # starts no tile whose first product could arrive before that. All is decided a cycle
        # ahead, since the handoff goes to every register of the chain.
        waiting, waiting_reset, valid = Signal(), Signal(), Signal()
        handoff, handoff_next, shift = Signal(), Signal(), Signal()
        m.d.comb += [
            handoff_next.eq((last | waiting) & (~valid | self.release)),
            self.chain_next.eq(last | waiting | (valid & ~self.release)),
        ]
        m.d.sync += [
            handoff.eq(handoff_next), shift.eq(self.take), valid.eq(self.chain_next),
        ]  # fmt: skip
        m.d.sync += waiting.eq((last | waiting) & valid & ~self.release)
        with m.If(last):
            m.d.sync += waiting_reset.eq(reset)
        with m.If(handoff_next):
            m.d.sync += self.chain_reset.eq(Mux(waiting, waiting_reset, reset))

        factors = []
        for lane in range(self.split * self.rows):
            weight = self.weight[lane * self.weight_bits : (lane + 1) * self.weight_bits]
            factors.append((weight.as_signed(), self.operand[lane // self.rows]))
        product = products(m, factors, family=self.family, hard=self.hard)

        heads: list[list[tuple[Signal, Signal]]] = []
        for s in range(self.split):
            chain = [
                (Signal(acc_shape, name=f"first_{s}_{r}", reset_less=True),
                 Signal(acc_shape, name=f"second_{s}_{r}", reset_less=True))
                for r in range(self.rows)
            ]  # fmt: skip
            for r in range(self.rows):
                acc = Signal(acc_shape, name=f"acc_{s}_{r}", reset_less=True)
                save = Signal(acc_shape, name=f"save_{s}_{r}", reset_less=True)
                total = Signal.like(acc, name=f"total_{s}_{r}")
                term = product[s * self.rows + r]
                self.family.accumulate(m, fresh, acc, term, total)
                with m.If(add):
                    m.d.sync += acc.eq(total)
                with m.If(save_zero):
                    m.d.sync += save.eq(0)
                with m.Elif(save_now):
                    m.d.sync += save.eq(acc)
                first, second = chain[r]
                with m.If(handoff):
                    m.d.sync += [first.eq(save), second.eq(acc)]
                with m.Elif(shift):
                    if r + self.beat < self.rows:
                        m.d.sync += [
                            first.eq(chain[r + self.beat][0]),
                            second.eq(chain[r + self.beat][1]),
                        ]
            heads.append(chain[: self.beat])
        for e in range(self.beat):
            m.d.sync += [
                self.first[e].eq(tree([head[e][0] for head in heads])),
                self.second[e].eq(tree([head[e][1] for head in heads])),
            ]
        return m
