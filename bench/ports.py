"""Timing diagrams of the core's ports, drawn from a simulation of a GRU 2 -> 2.

``python bench/ports.py`` writes the drawings of ``docs/ports.md`` into ``docs/images``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

import gatewright as gw

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, HEIGHT, LEFT = 40, 34, 110
"""Size of a cycle and a row, and room for the names, in pixels."""

RESET = 2
"""Cycles in which reset is high."""

Record = dict[str, list[int]]
STYLE = """
    text { fill: #1f2328 } .name { text-anchor: end } .value { text-anchor: middle; font-size: 11px }
    .wave { stroke: #0969da; stroke-width: 1.5; fill: none } .box { stroke: #0969da; fill: #ddf4ff }
    .taken { fill: #1a7f37; opacity: 0.13 } .cycle { fill: #57606a; text-anchor: middle; font-size: 11px }
    .grid { stroke: #57606a; opacity: 0.25 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .wave { stroke: #58a6ff } .box { stroke: #58a6ff; fill: #0c2d6b }
      .cycle { fill: #9da7b1 } .taken { fill: #56d364; opacity: 0.2 }
    }
"""


def program() -> gw.Program:
    """Return the program of a small GRU with fixed weights."""
    rng = np.random.default_rng(0)
    w, u = ({gate: rng.uniform(-1, 1, (2, 2)) for gate in "rzn"} for _ in range(2))
    bias = {gate: np.zeros(2) for gate in "rzn"}
    layer = gw.Recurrent("gru", "gru", ("x",), 2, 2, w, u, bias, dict(bias))
    return gw.quantize(gw.Model(2, (layer,)), rng.normal(size=(4, 8, 2)), gw.Config(lanes=2))


def record(cycles: int = 260) -> Record:
    """Simulate two steps, a read of the state and a load; return every port in every cycle.

    The source pauses for a cycle after the first element. The sink is not ready in the first two
    cycles of an output. A command to read comes when both steps are out, then one to load.
    """
    core, rst = gw.Core(program()), Signal()
    rows: Record = {}
    inputs, commands, words = [(20, 1), (-7, 0), (35, 0), (11, 0)], [0, 1], [100, -100]
    pause, stalls, outputs, read = 0, 2, 0, 0

    async def bench(ctx: Any) -> None:
        nonlocal pause, stalls, outputs, read
        for cycle in range(cycles):
            offered = bool(inputs) and not pause and cycle > RESET
            ctx.set(core.i.valid, offered)
            if inputs:
                ctx.set(core.i.payload.data, inputs[0][0])
                ctx.set(core.i.payload.first, inputs[0][1])
            stalled = ctx.get(core.o.valid) and stalls
            ctx.set(core.o.ready, not stalled)
            asked = outputs == 4 and (len(commands) == 2 or (len(commands) == 1 and read == 2))
            ctx.set(core.c.valid, asked)
            if commands:
                ctx.set(core.c.payload, commands[0])
            ctx.set(core.s_o.ready, 1)
            ctx.set(core.s_i.valid, not commands and bool(words))
            if words:
                ctx.set(core.s_i.payload, words[0])
            ctx.set(rst, cycle < RESET)
            now = {"rst": ctx.get(rst)}
            for name in ("i", "o", "c", "s_i", "s_o"):
                port = getattr(core, name)
                now[f"{name}.valid"], now[f"{name}.ready"] = (
                    ctx.get(port.valid),
                    ctx.get(port.ready),
                )
                payload = ctx.get(port.payload)
                if name in ("i", "o"):
                    for field in ("data", "first", "last")[: 2 + (name == "o")]:
                        now[f"{name}.{field}"] = int(payload[field])
                else:
                    now[f"{name}.payload"] = int(payload)
            for name, value in now.items():
                rows.setdefault(name, []).append(value)
            taken = {
                n for n in ("i", "o", "c", "s_i", "s_o") if now[f"{n}.valid"] and now[f"{n}.ready"]
            }
            pause = int("i" in taken and len(inputs) == 4)
            for name, queue in (("i", inputs), ("c", commands), ("s_i", words)):
                if name in taken:
                    queue.pop(0)
            stalls -= bool(stalled)
            outputs += "o" in taken
            read += "s_o" in taken
            await ctx.tick()

    simulator = Simulator(ResetInserter(rst)(core))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return rows


def window(rows: Record, name: str, before: int, after: int) -> range:
    """Return the cycles around the first and the last transfer of a port."""
    pairs = zip(rows[f"{name}.valid"], rows[f"{name}.ready"], strict=True)
    taken = [cycle for cycle, (valid, ready) in enumerate(pairs) if valid and ready]
    return range(max(taken[0] - before, 0), taken[-1] + after + 1)


def _row(name: str, values: list[int], shown: list[bool], y: int) -> Iterator[str]:
    """Draw a bit as a line, a payload as boxes where it is valid."""
    yield f'<text class="name" x="{LEFT - 12}" y="{y + 18}">{name}</text>'
    top, low = y + 4, y + HEIGHT - 10
    if not name.endswith((".data", ".payload")):
        shown = shown if name.endswith((".first", ".last")) else [True] * len(values)
        level = [top if value and seen else low for value, seen in zip(values, shown, strict=True)]
        path = " ".join(f"V{at} h{WIDTH}" for at in level)
        yield f'<path class="wave" d="M{LEFT} {level[0]} {path}"/>'
        return
    for k, value in enumerate(values):
        x = LEFT + k * WIDTH
        if shown[k]:
            yield (
                f'<rect class="box" x="{x + 1}" y="{top}" width="{WIDTH - 2}" height="{low - top}"/>'
                f'<text class="value" x="{x + WIDTH // 2}" y="{y + 18}">{value}</text>'
            )
        else:
            middle = (top + low) // 2
            yield f'<path class="wave" d="M{x} {middle} h{WIDTH}"/>'


def draw(title: str, rows: Record, ports: tuple[str, ...], cycles: range) -> str:
    """Draw the ports in a range of cycles; cycles of a transfer are shaded."""
    names = [name for port in ports for name in rows if name.split(".")[0] == port]
    width, height = LEFT + WIDTH * len(cycles) + 10, 30 + HEIGHT * len(names)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            'font-family="system-ui, sans-serif" font-size="13">'
        ),
        f"<title>{title}</title><style>{STYLE}</style>",
    ]
    for k, cycle in enumerate(cycles):
        x = LEFT + k * WIDTH
        lines.append(f'<path class="grid" d="M{x} 20 V{height}"/>')
        lines.append(f'<text class="cycle" x="{x + WIDTH // 2}" y="14">{cycle}</text>')
    y = 24
    for port in ports:
        own = [name for name in names if name.split(".")[0] == port]
        if own == [port]:  # a wire, not a stream
            lines += _row(port, [rows[port][cycle] for cycle in cycles], [True] * len(cycles), y)
            y += HEIGHT
            continue
        for k, cycle in enumerate(cycles):
            if rows[f"{port}.valid"][cycle] and rows[f"{port}.ready"][cycle]:
                lines.append(
                    f'<rect class="taken" x="{LEFT + k * WIDTH}" y="{y}" width="{WIDTH}" '
                    f'height="{HEIGHT * len(own)}"/>'
                )
        shown = [bool(rows[f"{port}.valid"][cycle]) for cycle in cycles]
        for name in own:
            lines += _row(name, [rows[name][cycle] for cycle in cycles], shown, y)
            y += HEIGHT
    return "\n".join([*lines, "</svg>", ""])


def drawings() -> dict[str, str]:
    """Return every drawing by the name of its file."""
    rows = record()
    inputs, outputs = window(rows, "i", 3, 2), window(rows, "o", 4, 2)
    read, load = window(rows, "s_o", 6, 1), window(rows, "s_i", 4, 2)
    return {
        "ports-input.svg": draw("Two steps of two elements go in", rows, ("rst", "i"), inputs),
        "ports-output.svg": draw(
            "The outputs of a step", rows, ("o",), range(outputs[0], outputs[0] + 12)
        ),
        "ports-read.svg": draw("The state is read", rows, ("c", "s_o"), read),
        "ports-load.svg": draw("A state is loaded", rows, ("c", "s_i"), load),
    }


def main() -> None:
    """Write the drawings."""
    for name, text in drawings().items():
        (IMAGES / name).write_text(text)
        print(name)


if __name__ == "__main__":
    main()
