"""Every memory of a core."""

from __future__ import annotations

from ..layout.images import parts
from ..layout.latency import Timing
from ..layout.planes import plan
from ..numerics.activation import ACTIVATIONS
from ..program.program import Program

__all__ = ["memories"]


def memories(program: Program) -> dict[str, tuple[int, int, int]]:
    """Return width, depth and copies of each memory of a core.

    A memory that is read twice at a time has two copies.
    """
    s, n = program.schedule, program.network.numbers
    geometry = program.geometry
    split, beat = geometry.split, geometry.beat
    has_cell = any(kind == "c" for _, kind, _, _ in s.states)
    state_bits = max(n.state_bits, n.cell_bits if has_cell else 0)
    depth = 1 << (max(1, s.input_words) - 1).bit_length()
    words = 1 << (max(1, s.memory_words) - 1).bit_length()
    found = {
        **{
            f"weights{f' plane {k}' if k else ''}": (plane.width, max(2, plane.depth), 1)
            for k, plane in enumerate(plan(s))
        },
        **{
            f"beats{f' part {k}' if k else ''}": (width, max(2, len(s.beats)), 1)
            for k, (_, width) in parts(program.hardware.layout).items()
        },
        "inputs": (n.activation_bits, 2 * depth, split),
        "operands": (n.activation_bits, 2 * words, split),
        "kept gates": (s.keep_bits, max(2, s.kept_depth), (1 + s.has_reset) * beat),
        "states": (state_bits, max(2, s.state_words), (1 + has_cell) * beat),
        "outputs": (n.state_bits * beat + program.hardware.layout["count"].width, Timing.FIFO, 1),
    }
    if {ACTIVATIONS[b.act] for b in s.beats if b.lanes} & {"tanh", "sigmoid"}:
        base, slope = (t.tolist() for t in n.tables.table)
        width = max(base).bit_length()
        if n.tables.kind != "direct":
            width += max(max(slope).bit_length(), 1)
        found["activation"] = (width, len(base), beat)
    return found
