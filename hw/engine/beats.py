"""The beat table: each part of a beat's word is there when the beat gets to where it is used."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...compiler.layout.images import MemoryImages, beats_file
from ...compiler.layout.latency import Timing
from ..blocks.arith import Delay
from ..blocks.memory import CHUNK, Table
from ..vendor.family import GENERIC, VendorFamily

__all__ = ["AHEAD", "Beats"]

AHEAD = Table.latency + 1
"""Cycles from a beat's reach of a part to the part's word."""


class Beats(wiring.Component):
    """Walk the beat table, around and around, once for each of its parts.

    A part is a table of its own, with a pointer of its own. Part 0 is fetched ahead, so that the next
    beat is there before it is asked for. The others follow the beats that were started.

    Parameters
    ----------
    images : MemoryImages
    loadable : bool
    files : bool
        Take the contents from hexadecimal files, :func:`~gatewright.compiler.layout.images.hex_files`.
    family : VendorFamily
        Where tables are far there is a register between a part's table and its use.

    Members
    -------
    valid : Out(1), last : Out(1)
        The next beat's part 0 is there, and whether it ends the table.
    follows : Out(1), following : Out(width of part 0)
        The beat after it: it becomes the next one where that is started, or where there is none.
    next : In(1)
        The beat is started.
    reach : In(parts - 1)
        Bit ``k - 1``: a beat is ``Timing.PARTS[k] - AHEAD`` cycles old.
    ending : Out(1)
        A cycle after the last bit of ``reach``: that beat is the last of the table.
    word, ahead : Out(images.beat_width)
        Each part as it is valid for the beat that is ``Timing.PARTS[k]`` cycles old; a cycle earlier, where there
        is that register.
    held : In(1)
        The state port has the memory; no beat is on its way. Afterwards the walk starts from the first beat.
    addr, w_en, w_data : In, see :class:`~.memory.Table`
        Used while ``held``; ``word`` then follows ``addr`` by ``AHEAD`` cycles at most.

    Timing: a beat a cycle; the first is there ``AHEAD`` cycles after a reset.
    """

    valid: Signal
    last: Signal
    follows: Signal
    following: Signal
    next: Signal
    reach: Signal
    ending: Signal
    word: Signal
    ahead: Signal
    held: Signal
    addr: Signal
    w_en: Signal
    w_data: Signal

    def __init__(
        self, *, images: MemoryImages, loadable: bool = False, files: bool = False,
        family: VendorFamily = GENERIC,
    ) -> None:  # fmt: skip
        self.bridged = family.far_tables
        self.images, self.number = images, len(images.beats)
        self.tables = {
            part: Table(
                words=images.beat_part(part), width=width, loadable=loadable, family=family,
                file=beats_file(part) if files else "",
            )
            for part, (_, width) in images.beat_parts.items()
        }  # fmt: skip
        super().__init__({
            "valid": Out(1), "last": Out(1), "next": In(1), "reach": In(len(Timing.PARTS) - 1),
            "ending": Out(1), "follows": Out(1), "following": Out(self.tables[0].width),
            "word": Out(images.beat_width), "ahead": Out(images.beat_width), "held": In(1),
            "addr": In(self.tables[0].addr.shape()), "w_en": In(-(-images.beat_width // CHUNK)), "w_data": In(CHUNK),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bridge = int(self.bridged)
        for part, table in self.tables.items():
            m.submodules[f"table_{part}" if part else "table"] = table
            offset, width = self.images.beat_parts[part]
            at = offset // CHUNK
            m.d.comb += [
                table.w_en.eq(self.w_en[at : at + table.chunks]), table.w_data.eq(self.w_data),
            ]  # fmt: skip
            if part:
                word = Delay(m, table.data).at(bridge)
                m.d.comb += [
                    table.en.eq(1), table.out_en.eq(1), self.word[offset : offset + width].eq(word),
                    self.ahead[offset : offset + width].eq(table.data),
                ]  # fmt: skip
        ending: Value = Const(0)
        for k, bit in enumerate(self.reach, 1):
            reach = Delay(m, bit, reset_less=False).at(1 - bridge)
            end, pointer = self._walk(m, reach)
            ending = reach & end
            if k in self.tables:
                m.d.comb += self.tables[k].addr.eq(Mux(self.held, self.addr, pointer))
        m.d.comb += self.ending.eq(Delay(m, ending, reset_less=False).at(bridge))
        # Part 0: the memory has read a word; it is at its output; it is in a register.
        table = self.tables[0]
        head = Signal.like(table.data, reset_less=True)
        read, read_last, out_last, move = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            move.eq(self.next | ~self.valid | self.held), self.word[: len(head)].eq(head),
            self.following.eq(table.data), table.out_en.eq(move | ~self.follows),
            table.en.eq(table.out_en | ~read),
        ]  # fmt: skip
        end, pointer = self._walk(m, table.en)
        m.d.comb += table.addr.eq(Mux(self.held, self.addr, pointer))
        with m.If(move):
            m.d.sync += [self.valid.eq(self.follows), self.last.eq(out_last), head.eq(table.data)]
        with m.If(table.out_en):
            m.d.sync += [self.follows.eq(read), out_last.eq(read_last)]
        with m.If(table.en):
            m.d.sync += [read.eq(1), read_last.eq(end)]
        with m.If(self.held):
            m.d.sync += [
                self.valid.eq(0), self.follows.eq(0), read.eq(0), pointer.eq(0),
                end.eq(self.number == 1),
            ]  # fmt: skip
        return m

    def _walk(self, m: Module, step: Value) -> tuple[Signal, Signal]:
        """Count through the table; return whether the count is at the last beat, and the count."""
        pointer, end = Signal(range(self.tables[0].depth)), Signal(init=self.number == 1)
        with m.If(step):
            m.d.sync += [
                pointer.eq(Mux(end, 0, pointer + 1)),
                end.eq((pointer == self.number - 2) if self.number > 1 else 1),
            ]
        return end, pointer
