"""The multiply-accumulate lanes and the chain that drains them."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arith import Delay

__all__ = ["Lanes"]


class Lanes(wiring.Component):
    """``split * rows`` lanes: each multiplies its weight with one of ``split`` operands.

    A tile's walk may have two parts (input and recurrent). At the crossing every lane saves
    its accumulator; at the end both are handed to a drain chain, which moves ``beat`` rows
    at a time to the elementwise unit while the lanes work on the next tile.

    Parameters
    ----------
    rows, split, beat : int
        See :class:`~gatewright.compiler.schedule.Geometry`.
    weight_bits, operand_bits, acc_bits : int

    Members
    -------
    valid, tile_first, tile_last, part_first, reset : In(1)
        Describe the word that was issued two cycles before; ``part_first`` marks the first
        word of a tile's second part. ``reset`` travels with the tile.
    weight : In(split * rows * weight_bits)
        Lane ``s * rows + r`` from the lowest bits up.
    operand : In(signed(operand_bits)).array(split)
    first, second : Out(signed(acc_bits)).array(beat)
        The parts of the rows at the head of the chain, summed over the split.
    chain_valid, chain_reset : Out(1)
    shift, release : In(1)
        Move the chain by one beat; the beat was the last of its tile.

    Timing: ``Timing.MAC`` cycles from issue to accumulator (two of them before this block).
    Numerics: exact; ``acc_bits`` is proved to be enough by ``Network.bounds``.
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
    chain_valid: Signal
    chain_reset: Signal
    shift: Signal
    release: Signal

    def __init__(
        self,
        *,
        rows: int,
        split: int,
        beat: int,
        weight_bits: int,
        operand_bits: int,
        acc_bits: int,
    ) -> None:
        if rows % beat:
            raise ValueError(f"rows must be a multiple of beat, not {rows} of {beat}")
        self.rows, self.split, self.beat = rows, split, beat
        self.weight_bits, self.operand_bits, self.acc_bits = weight_bits, operand_bits, acc_bits
        super().__init__({
            "valid": In(1), "tile_first": In(1), "tile_last": In(1), "part_first": In(1),
            "reset": In(1),
            "weight": In(split * rows * weight_bits),
            "operand": In(signed(operand_bits)).array(split),
            "first": Out(signed(acc_bits)).array(beat),
            "second": Out(signed(acc_bits)).array(beat),
            "chain_valid": Out(1), "chain_reset": Out(1), "shift": In(1), "release": In(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        acc_shape = signed(self.acc_bits)
        valid = Delay(m, self.valid, reset_less=False)
        tile_first, part_first = Delay(m, self.tile_first), Delay(m, self.part_first)
        last = Delay(m, self.valid & self.tile_last, reset_less=False)
        # Asked for here: a register made inside a condition would be updated only under it.
        reset = Delay(m, self.reset).at(1)

        # A finished tile waits in the accumulators until the chain is free. The sequencer
        # starts no tile whose first product could arrive before that.
        done, done_reset = Signal(), Signal()
        handoff = Signal()
        m.d.comb += handoff.eq(done & (~self.chain_valid | self.release))
        with m.If(handoff):
            m.d.sync += done.eq(0)
        with m.If(last.at(1)):
            m.d.sync += [done.eq(1), done_reset.eq(reset)]
        with m.If(self.release):
            m.d.sync += self.chain_valid.eq(0)
        with m.If(handoff):
            m.d.sync += [self.chain_valid.eq(1), self.chain_reset.eq(done_reset)]

        heads: list[list[tuple[Signal, Signal]]] = []
        for s in range(self.split):
            chain = [
                (Signal(acc_shape, name=f"first_{s}_{r}", reset_less=True),
                 Signal(acc_shape, name=f"second_{s}_{r}", reset_less=True))
                for r in range(self.rows)
            ]  # fmt: skip
            for r in range(self.rows):
                lane = s * self.rows + r
                weight = self.weight[
                    lane * self.weight_bits : (lane + 1) * self.weight_bits
                ].as_signed()
                product = Signal(
                    signed(self.weight_bits + self.operand_bits),
                    name=f"product_{s}_{r}",
                    reset_less=True,
                )
                acc = Signal(acc_shape, name=f"acc_{s}_{r}", reset_less=True)
                save = Signal(acc_shape, name=f"save_{s}_{r}", reset_less=True)
                m.d.sync += product.eq(weight * self.operand[s])
                fresh = tile_first.at(1) | part_first.at(1)
                with m.If(valid.at(1)):
                    m.d.sync += acc.eq(Mux(fresh, 0, acc) + product)
                    with m.If(tile_first.at(1)):
                        m.d.sync += save.eq(0)
                    with m.Elif(part_first.at(1)):
                        m.d.sync += save.eq(acc)
                first, second = chain[r]
                with m.If(handoff):
                    m.d.sync += [first.eq(save), second.eq(acc)]
                with m.Elif(self.shift):
                    if r + self.beat < self.rows:
                        m.d.sync += [
                            first.eq(chain[r + self.beat][0]),
                            second.eq(chain[r + self.beat][1]),
                        ]
            heads.append(chain[: self.beat])
        for e in range(self.beat):
            m.d.comb += [
                self.first[e].eq(sum(head[e][0] for head in heads)),
                self.second[e].eq(sum(head[e][1] for head in heads)),
            ]
        return m
