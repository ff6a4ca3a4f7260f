"""The engine beside others, on the same work: ``python bench/peers.py`` prints the table.

Our cycles are exact, from the schedule. Our times take the clock of the demo's whole top on the board
that is named, in ``docs/boards.md``: these networks were not routed. Kinds of a peer's figure:

- *run here*: the peer's own tools on our machine;
- *published*: as its authors give it, for the device that they chose;
- *estimated*: by the peer's own estimate, run here.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from cells import program
from gatewright.compiler.layout.choice import choose_geometry
from gatewright.compiler.layout.schedule import Schedule
from gatewright.compiler.target.devices import DEVICES
from gatewright.compiler.target.estimate import choose_lanes, estimate
from utilization import layer

BOARDS = Path(__file__).resolve().parents[1] / "docs" / "boards.md"
DEMO_OPERATIONS = 2 * (3 * 32 * (12 + 32) + 9 * 32)  # GRU 12 -> 32, Linear 9; two a product


class Top(NamedTuple):
    """The demo's whole top on a board, as ``docs/boards.md`` has it."""

    mhz: float
    steps: int  # a second
    luts: int
    multipliers: int


class Row(NamedTuple):
    """A line of the table; ``ratio`` is above 1 where we are ahead."""

    work: str
    peer: str
    theirs: str
    kind: str
    ours: str
    ratio: float


def top(board: str) -> Top:
    """Return the demo's row of a board."""
    [row] = re.findall(rf"^\| demo \| `{board}`.*$", BOARDS.read_text(), re.M)
    cells = [cell.strip() for cell in row.split("|")]
    whole = [int(re.split(r" of ", cells[k])[0].replace(",", "")) for k in (6, 7, 8)]
    return Top(float(cells[4].split()[0]), *whole)


def cycles(cell: str, i: int, h: int, lanes: int, steps: int = 0) -> int:
    """Return the cycles of a step among others, or of a sequence from its first input to its end."""
    network = layer(cell, i, h)
    schedule = Schedule(network, choose_geometry(network, lanes))
    return int(schedule.predict(steps)[-1]) + 1 if steps else schedule.cycles()[0]


def steps_of(work: str, peer: str, theirs: int, kind: str, shape: tuple[str, int, int, int]) -> Row:
    """Compare cycles of a step."""
    took = cycles(*shape)
    return Row(
        work, peer, f"{theirs:,} cycles", kind, f"{took:,} cycles, {shape[3]} lanes", theirs / took
    )


def sequences(
    peer: str, micros: float, dsps: str, shape: tuple[str, int, int, int], steps: int, board: str
) -> Row:
    """Compare the time of a sequence."""
    cell, i, h, lanes = shape
    on = top(board)
    took = cycles(cell, i, h, lanes, steps) / on.mhz
    return Row(
        f"{cell.upper()} {i} -> {h}, {steps} steps", peer, f"{micros:g} us{dsps}", "published",
        f"{took:.1f} us, {lanes} lanes, {on.mhz:g} MHz (`{board}`)", micros / took,
    )  # fmt: skip


def rows() -> list[Row]:
    """Return the table."""
    hls4ml = "hls4ml (arXiv 2207.00559)"
    made = [
        steps_of("LSTM 1 -> 20, a step", "ElasticAI.creator 0.68", 890, "run here", ("lstm", 1, 20, 4)),
        steps_of("GRU 8 -> 16, a step", "NNgen 1.3.4, from its operators", 3481, "run here",
                 ("gru", 8, 16, 4)),
        steps_of("GRU 64 -> 64, a step", "LFADS by hls4ml (arXiv 2402.04274), 640 DSPs", 404,
                 "published", ("gru", 64, 64, 96)),
        sequences(hls4ml, 4.28, ", 198 DSPs", ("gru", 6, 20, 24), 20, "orangecrab-25f"),
        sequences("RTL by hand (its paper is not on record here)", 1.29, ", 1,129 DSPs",
                  ("gru", 6, 20, 96), 20, "orangecrab-85f"),
        sequences(hls4ml, 3.25, "", ("gru", 6, 120, 96), 15, "orangecrab-85f"),
        sequences(hls4ml, 21.5, ", 4,041 DSPs", ("gru", 3, 128, 96), 100, "orangecrab-85f"),
    ]  # fmt: skip
    on = top("ulx3s-25f")
    rate = on.mhz * 1e6 / (6 * cycles("lstm", 1, 20, 24))
    made.append(Row(
        "LSTM 1 -> 20, 6 steps", "Qian et al. (doi 10.1007/978-3-031-42785-5_1), XC7S15",
        "32,873 a second", "published",
        f"{rate:,.0f} a second, 24 lanes, {on.mhz:g} MHz (`ulx3s-25f`)", rate / 32873,
    ))  # fmt: skip
    on = top("ulx3s-85f")
    speed = 2 * 3 * 256 * 512 / cycles("gru", 256, 256, 96) * on.mhz / 1e3
    peer = "EdgeDRNN (arXiv 2012.13600), skips unchanged columns"
    ours = f"{speed:.1f} GOP/s, dense, 96 lanes, {on.mhz:g} MHz (`ulx3s-85f`)"
    made.append(Row("large GRU", peer, "20.2 GOP/s, effective", "published", ours, speed / 20.2))
    each = speed / on.multipliers
    made.append(Row(
        "the same, a multiplier", peer, "2.2 GOP/s, effective", "published",
        f"{each:.2f} GOP/s, dense", each / 2.2,
    ))  # fmt: skip
    on = top("orangecrab-25f")
    dense = DEMO_OPERATIONS * on.steps / on.luts / 1e6
    for peer, theirs in (
        ("AERO (doi 10.3390/electronics10111249)", 1.28),
        ("Kim et al. (doi 10.1109/ASP-DAC52403.2022.9712510)", 1.89),
    ):
        made.append(Row(
            "operations a LUT", peer, f"{theirs} MOP/s", "published",
            f"{dense:.2f} MOP/s, demo on `orangecrab-25f`", dense / theirs,
        ))  # fmt: skip
    device = DEVICES["LFE5U-25F"]
    for h, steps, theirs in ((8, 4, 10266), (20, 6, 63802)):
        ours_program = program("gru", h, h, 1)
        lanes = choose_lanes(ours_program, device, 166e6)
        luts = estimate(ours_program.with_lanes(lanes), device).luts
        made.append(Row(
            f"GRU of {h}, {steps} steps: area", "HGQ2 0.2 + alkaid 0.8, unrolled, a sequence at once",
            f"{theirs:,} LUTs", "estimated",
            f"{luts:,} LUTs and {lanes} lanes, estimated, a step at a time, I = {h}, link included",
            theirs / luts,
        ))  # fmt: skip
    return made


def main() -> None:
    """Print a line for each peer and work."""
    print("| work | peer | theirs | kind | ours | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows():
        print("| " + " | ".join(row[:5]) + f" | {row.ratio:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
