"""Parameters of a core's gateware apart from the contents of its memories, and their digest.

Two programs of one hardware digest run on one bitstream: their weights and beat tables can be
exchanged. Widths of accumulators, sums and beat fields come from a program's own weights unless
they are taken over from another one (``quantize(..., like=...)``).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ..errors import InputError
from ..ir.network import QNetwork
from ..numerics.activation import ACTIVATIONS
from .beat_word import Field, Layout, check_layout, ranges
from .images import MemoryImages, build
from .planes import plan
from .schedule import Schedule
from .tables import POSTS

__all__ = ["GATEWARE", "CoreSpec", "LaidOut", "describe", "differences", "digest", "layout_json"]

GATEWARE = 5
"""Raised whenever the meaning of a memory word changes: older bitstreams must refuse it."""

LONGEST = 60
"""Characters of a value that a message shows."""


class LaidOut(Protocol):
    """A network laid out on an engine; :class:`~..program.program.Program` is one."""

    @property
    def network(self) -> QNetwork:
        """The integer network."""

    @property
    def schedule(self) -> Schedule:
        """Its layout."""

    @property
    def hardware(self) -> CoreSpec:
        """Widths of the datapath."""


@dataclass(frozen=True, eq=False)
class CoreSpec:
    """Widths that depend on the weights.

    Parameters
    ----------
    acc_bits, sum_bits : int
        Widths of an accumulator and of a row's sum, see :meth:`~.network.QNetwork.bounds`.
    layout : Layout
        Fields of a word of the beat table.
    """

    acc_bits: int
    sum_bits: int
    layout: Layout

    @classmethod
    def of(cls, network: QNetwork, schedule: Schedule, spare: int = 0) -> CoreSpec:
        """Return the fewest bits a network needs, and ``spare`` more for a later one."""
        acc_bits, sum_bits = network.bounds()
        return cls(acc_bits + spare, sum_bits + 2 * spare, ranges(schedule, spare))

    def images(self, network: QNetwork, schedule: Schedule) -> MemoryImages:
        """Pack the memories.

        Raises
        ------
        InputError
            A value does not fit in its field, or a sum in its width.
        """
        for name, need, have in zip(
            ("accumulators", "sums"), network.bounds(), (self.acc_bits, self.sum_bits), strict=True
        ):
            if need > have:
                raise InputError(
                    f"the network needs {name} of {need} bits, the hardware has {have}; build a new "
                    "bitstream, or quantize the first program with more spare= bits"
                )
        return build(schedule, self.layout)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads back."""
        layout = layout_json(self.layout)
        return {"acc_bits": self.acc_bits, "sum_bits": self.sum_bits, "layout": layout}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CoreSpec:
        """Read what :meth:`to_json` wrote."""
        layout = {
            str(name): Field(int(offset), int(width), int(base), bool(signed), int(part))
            for name, (offset, width, base, signed, part) in data["layout"].items()
        }
        made = cls(int(data["acc_bits"]), int(data["sum_bits"]), layout)
        if not (0 < made.acc_bits <= 64 and 0 < made.sum_bits <= 64):
            raise ValueError(f"accumulators of {made.acc_bits} and sums of {made.sum_bits} bits")
        check_layout(layout)
        return made


def layout_json(layout: Layout) -> dict[str, list[int]]:
    """Return the fields of a beat's word as a JSON object."""
    return {k: [f.offset, f.width, f.base, int(f.signed), f.part] for k, f in layout.items()}


def describe(program: LaidOut) -> dict[str, Any]:
    """Return all that the gateware of a program depends on, contents of its memories apart."""
    s, net = program.schedule, program.network
    active = [b for b in s.beats if b.lanes]
    return {
        "gateware": GATEWARE,
        "geometry": s.geometry._asdict(),
        "numbers": asdict(net.numbers),
        "input_size": net.input_size,
        "elements": net.elements,
        "argmax": net.argmax,
        "operand_bits": net.operand_bits,
        "blocks": [
            [b.tiles, [[x.is_input, *x[1:]] for x in b.segments]] for b in s.blocks
        ],
        "states": [[kind, base, size, s.bases[name]] for name, kind, base, size in s.states],
        "memories": [
            s.memory_words, s.state_words, s.kept_depth, s.produced, len(s.beats), s.words,
        ],
        "planes": [[p.start, p.end, p.runs] for p in plan(s)],
        "activations": sorted({ACTIVATIONS[b.act] for b in active}),
        "operations": [
            *sorted({POSTS[b.post] for b in active}), *["of a sigmoid"] * net.blends_sigmoid,
        ],
        "reset_product": any(b.reset for b in active),
        "hardware": program.hardware.to_json(),
        **({"streams": s.streams} if s.streams > 1 else {}),
    }  # fmt: skip


def digest(program: LaidOut) -> str:
    """Return the SHA-256 of :func:`describe`, in hex."""
    return hashlib.sha256(json.dumps(describe(program), sort_keys=True).encode()).hexdigest()


def differences(a: LaidOut, b: LaidOut) -> list[str]:
    """Name what keeps two programs from sharing a bitstream, with both values where they are short."""
    found = []
    x, y = describe(a), describe(b)
    for name in x:
        if isinstance(x[name], dict):
            found += [
                _unlike(k, x[name][k], y[name].get(k))
                for k in x[name] if x[name][k] != y[name].get(k)
            ]  # fmt: skip
        elif x[name] != y[name]:
            found.append(_unlike(name, x[name], y[name]))
    return found


def _unlike(name: str, x: Any, y: Any) -> str:
    """Name a difference."""
    long = max(len(str(x)), len(str(y))) > LONGEST
    return f"other {name.replace('_', ' ')}" if long else f"{name} {x} against {y}"
