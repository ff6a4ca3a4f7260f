"""Tracks for waveforms: the step, layer, gate and neuron that the elementwise unit writes, and its values.

Only a core that is built for a waveform has them; they drive nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import Array, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ...compiler.ir.network import BOUNDED
from ...compiler.layout.schedule import Schedule

__all__ = ["NUMBER", "TEXT", "Taps", "Trace", "Track", "tracks"]

TEXT, NUMBER = -2, -1
LETTERS = 12
"""Letters of a name that a track shows."""


class Taps:
    """Signals by which an elementwise unit shows its first row, as :class:`Trace` takes them."""

    def __init__(self, pre_bits: int, value_bits: int, result_bits: int) -> None:
        self.widths = {
            "pre_bits": pre_bits, "value_bits": value_bits, "result_bits": result_bits,
        }  # fmt: skip
        self.valid, self.pre = Signal(), Signal(signed(pre_bits))
        self.value, self.result = Signal(signed(value_bits)), Signal(signed(result_bits))


class Track(NamedTuple):
    """A signal of :class:`Trace`: its name, and its fraction bits, ``TEXT`` or ``NUMBER``."""

    name: str
    fraction: int


class _Owner(NamedTuple):
    """Layer, gate and first neuron of a beat, and fraction bits of its activation and result."""

    layer: str
    gate: str
    neuron: int
    value: int
    result: int


def _owners(schedule: Schedule) -> list[_Owner | None]:
    """Return the owner of each beat; None where a beat has no rows."""
    n = schedule.network.numbers
    layers = {
        id(gate): layer.name
        for layer in schedule.network.layers
        for block in layer.blocks
        for gate in block
    }
    owners: list[_Owner | None] = []
    for beat in schedule.beats:
        if not beat.lanes:
            owners.append(None)
            continue
        gate, neuron = beat.lanes[0]
        value = n.gate_frac if gate.act in BOUNDED else n.state_bits - 1
        result = n.cell_frac if gate.gate.to == "c" else n.state_bits - 1
        owners.append(_Owner(layers[id(gate)], gate.gate.name, neuron, value, result))
    return owners


def _watched(schedule: Schedule) -> dict[str, tuple[int, _Owner]]:
    """Return the beat of neuron 0 of each gate, by the name of its track."""
    found: dict[str, tuple[int, _Owner]] = {}
    for index, owner in enumerate(_owners(schedule)):
        if owner and owner.neuron == 0:
            found.setdefault(f"{owner.layer}_{owner.gate}_0", (index, owner))
    return found


def tracks(schedule: Schedule) -> list[Track]:
    """Return the tracks of a core in the order in which they are read."""
    fixed = [Track("step", NUMBER), Track("layer", TEXT), Track("gate", TEXT)]
    fixed += [
        Track("neuron", NUMBER),
        Track("pre_activation", schedule.network.numbers.tables.pre_frac),
    ]
    owners = [owner for owner in _owners(schedule) if owner]
    # A number in several formats is shown as an integer.
    for name, kinds in (
        ("activation", {owner.value for owner in owners}), ("result", {owner.result for owner in owners}),
    ):  # fmt: skip
        fixed.append(Track(name, kinds.pop() if len(kinds) == 1 else NUMBER))
    for name, (_, owner) in _watched(schedule).items():
        fixed += [Track(name, owner.value), Track(f"{name}_result", owner.result)]
    return fixed


class Trace(wiring.Component):
    """Registers that hold what was written last, under names for people.

    Parameters
    ----------
    schedule : Schedule
    pre_bits, value_bits, result_bits : int
        Widths of the values of a row.

    Members
    -------
    valid : In(1)
        A beat is written.
    pre, value, result : In(signed)
        Pre-activation, activation and result of its first row, in the same cycle.

    Timing: the tracks change a cycle after the beat is written, all at once.
    """

    valid: Signal
    pre: Signal
    value: Signal
    result: Signal

    def __init__(
        self, *, schedule: Schedule, pre_bits: int, value_bits: int, result_bits: int
    ) -> None:
        self.schedule = schedule
        super().__init__({
            "valid": In(1), "pre": In(signed(pre_bits)), "value": In(signed(value_bits)),
            "result": In(signed(result_bits)),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        owners = _owners(self.schedule)
        index = Signal(range(len(owners)))

        def track(name: str, shape: Any) -> Signal:
            return Signal(shape, name=name, reset_less=True, attrs={"keep": 1})

        def looked_up(values: list[int]) -> Any:
            width = max(1, max(values).bit_length())
            return Array(Const(value, width) for value in values)[index]

        texts = {
            "layer": looked_up([_ascii(o.layer) if o else 0 for o in owners]),
            "gate": looked_up([_ascii(o.gate) if o else 0 for o in owners]),
        }
        step = Signal(32, name="step", init=-1 & 0xFFFF_FFFF, attrs={"keep": 1})
        tracked = {name: track(name, 8 * LETTERS) for name in texts}
        neuron = track("neuron", 16)
        pre = track("pre_activation", self.pre.shape())
        value, result = (
            track("activation", self.value.shape()),
            track("result", self.result.shape()),
        )
        with m.If(self.valid):
            m.d.sync += [
                index.eq(0 if len(owners) == 1 else index + 1),
                *(tracked[name].eq(text) for name, text in texts.items()),
                neuron.eq(looked_up([o.neuron if o else 0 for o in owners])),
                pre.eq(self.pre), value.eq(self.value), result.eq(self.result),
            ]  # fmt: skip
            with m.If(index == 0):
                m.d.sync += step.eq(step + 1)
            with m.If(index == len(owners) - 1):
                m.d.sync += index.eq(0)
            for name, (beat, _) in _watched(self.schedule).items():
                own, end = (
                    track(name, self.value.shape()),
                    track(f"{name}_result", self.result.shape()),
                )
                with m.If(index == beat):
                    m.d.sync += [own.eq(self.value), end.eq(self.result)]
        return m


def _ascii(text: str) -> int:
    return int.from_bytes(text.encode("ascii", "replace")[:LETTERS], "big")
