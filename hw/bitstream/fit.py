"""Reasons why a program does not fit a board, and ways out."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping

from ...compiler.program.program import Program
from ...compiler.target.estimate import Estimate, estimate, fits, needs_loading
from ...compiler.target.memories import memories
from ..boards import BOARDS, Board

__all__ = ["expect", "fitting_boards", "shortage"]

NAMES = {
    "luts": "LUTs", "flip_flops": "flip-flops", "multipliers": "multipliers", "block_rams": "block RAMs",
    "spram": "single-port RAMs",
}  # fmt: skip


def expect(program: Program, board: Board, loadable: bool) -> tuple[Estimate, bool, str]:
    """Return the estimate of a program on a board, whether it must be loadable, and the shortage."""
    loadable = loadable or needs_loading(program, board.capacity)
    expected = estimate(program, board.capacity, loadable)
    return expected, loadable, shortage(program, board, expected.resources, loadable)


def fitting_boards(program: Program, loadable: bool = False) -> list[Board]:
    """Return the boards that a program is estimated to fit on, the cheapest first."""
    boards = [b for b in BOARDS.values() if fits(program, b.capacity, loadable)]
    return sorted(boards, key=lambda b: b.price[0])


def shortage(
    program: Program, board: Board, used: Mapping[str, int], loadable: bool = False
) -> str:
    """Return why a program does not fit a board and what would help; an empty string if it fits.

    Parameters
    ----------
    program : Program
    board : Board
    used : mapping of str -> int
        What is needed of each resource, estimated or of a netlist.
    loadable : bool
    """
    have = board.capacity.resources
    short = {name: n for name, n in used.items() if n > have.get(name, 0)}
    if not short:
        return ""
    needs = " and ".join(
        f"needs {n:,} {NAMES[name]}, the board has {have.get(name, 0):,}"
        for name, n in short.items()
    )
    return f"{needs}: try {_way_out(program, board, short, loadable)}"


def _way_out(program: Program, board: Board, short: Mapping[str, int], loadable: bool) -> str:
    """Name what would make a program fit: narrower weights, fewer lanes, another board."""
    ways = []
    have = board.capacity.resources
    bits = program.network.numbers.weight_bits
    if "block_rams" in short:
        family, weights = board.capacity.family, memories(program)["weights"]
        width, depth = weights.width, weights.depth
        rest = short["block_rams"] - family.block_rams(width, depth)
        for fewer in range(bits - 1, 1, -1):
            if rest + family.block_rams(width * fewer // bits, depth) <= have["block_rams"]:
                ways.append(f"--weight-bits {fewer}")
                break
    if program.geometry.lanes > 1 and (not ways or short.keys() != {"block_rams"}):
        # What fewer lanes save is estimated, also where what is used comes from a netlist. They
        # must leave the placer some room, or the next attempt fails as this one did.
        room = board.capacity.room
        now = estimate(program, board.capacity, loadable).resources

        def too_many(lanes: int) -> bool:
            then = estimate(program.with_lanes(lanes), board.capacity, loadable).resources
            return any(short[n] - now[n] + then[n] > room[n] for n in short)

        enough = bisect(range(1, program.geometry.lanes), False, key=too_many)
        if enough:
            ways.append(f"--lanes {enough}")
    others = [
        b.name
        for b in fitting_boards(program)
        # Estimates can be too hopeful: of a family, a board with no more is no way out.
        if b.family != board.family or all(b.capacity.resources[n] > have[n] for n in short)
    ]
    if others:
        ways.append(f"board {others[0]}")
    return " or ".join(ways) or "a smaller network"
