"""Two pictures of a program: a step on the engine, and the network with its formats."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..layout.timeline import UNIT, Timeline, timeline
from ..numerics.fixed import Format
from ..program.chain import Chain
from ..program.program import Program
from ..program.runnable import Runnable
from .charts import Axis, legend, strip
from .markup import Markup, el, join, spaced

__all__ = ["network", "step"]

COLOURS = 6
MARKED = 90
"""Tiles that are told apart in a picture at most."""
NODE, GAP = 4.3, 2.6
"""Height of a layer, and of the room below it, in rem."""


def colours(program: Runnable) -> dict[str, str]:
    """Return the class of the colour of every layer."""
    names = [layer.name for each in program.passes for layer in each.network.layers]
    return {name: f"c{k % COLOURS}" for k, name in enumerate(names)}


# -- a step -----------------------------------------------------------------------


def step(program: Program, hues: dict[str, str], longest: int = 0) -> Markup:
    """Draw a step of the steady state, in :func:`colours`; on lines of ``longest`` cycles if that is more."""
    done = timeline(program.schedule)
    length = max(done.cycles, longest)
    first = {block.layer: block.segments[0].vector for block in program.schedule.blocks}
    words = [
        (w.start, w.cycles, hues[w.layer] + " light" * (w.vector != first[w.layer]),
         f"{w.layer} over {w.vector}")
        for w in done.words
    ]  # fmt: skip
    waits = [
        (w.start, w.cycles, "wait", f"waiting for {_cause(program, w.cause)}") for w in done.waits
    ]
    marks = [w.start for before, w in pairwise(done.words) if w.tile != before.tile]
    marks = marks if len(marks) < MARKED else []
    about = f"{done.cycles} cycles, of which the lanes wait {sum(w.cycles for w in done.waits)}"
    rows = [
        el("span", "lanes"), strip([*words, *waits], length, about, "tall", marks),
    ]  # fmt: skip
    started = {b.gate for b in done.beats}
    gates = (g.gate.name for layer in program.network.layers for g in layer.gates)
    for gate in dict.fromkeys(name for name in gates if name in started):
        spans = [
            (b.start, b.cycles, hues[b.layer], f"{b.layer}.{gate}")
            for b in done.beats if b.gate == gate
        ]  # fmt: skip
        total = sum(span[1] for span in spans)
        rows += [el("span", gate), strip(spans, length, f"gate {gate}: {total} beats")]
    axis = Axis(0, length, whole=True)
    ticks = (
        el("span", f"{tick:,.0f}", style=f"left:{spaced(100 * axis.place(tick))}%")
        for tick in axis.ticks()
    )
    rows += [el("span"), el("div", *ticks, class_="x")]
    return join(el("div", *rows, class_="step"), _key(done, hues), el("p", _words(program, done)))


def _key(done: Timeline, hues: dict[str, str]) -> Markup:
    """Return the legend of a step."""
    layers = dict.fromkeys(w.layer for w in done.words)
    entries = [(layer, hues[layer]) for layer in layers]
    if done.waits:
        entries.append(("waiting", "wait"))
    return legend(entries)


def _words(program: Program, done: Timeline) -> str:
    """Say what the picture shows."""
    total = sum(w.cycles for w in done.words)
    text = f"{program.geometry.lanes} lanes take operands in {total:,} of {done.cycles:,} cycles"
    if program.streams > 1:
        text += f" of a round, a step of each of {program.streams} streams"
    causes: dict[str, int] = {}
    for wait in done.waits:
        causes[wait.cause] = causes.get(wait.cause, 0) + wait.cycles
    listed = sorted(causes.items(), key=lambda pair: -pair[1])
    if listed:
        text += ". They wait " + ", ".join(f"{n:,} for {_cause(program, c)}" for c, n in listed)
    return f"{text}."


def _cause(program: Program, cause: str) -> str:
    """Say what is waited for."""
    if cause == UNIT:
        return "the elementwise unit to take the sums of a tile"
    if cause == "x":
        return "elements of the input, which come one a cycle"
    if cause.endswith(".rh"):
        return f"the products of reset gate and state of {cause[:-3]}"
    recurrent = program.network.layer(cause).recurrent
    return f"{'the state' if recurrent else 'the outputs'} of {cause}"


# -- the network ------------------------------------------------------------------


def _format(fmt: Format) -> str:
    return f"Q{fmt.bits}.{fmt.frac}"


def _edges(program: Runnable) -> Iterator[tuple[str, str, str]]:
    """Yield source, target and format of every vector that a layer reads."""
    for k, each in enumerate(program.passes):
        reads = program.stages[k].reads if isinstance(program, Chain) else ("x",)
        for layer in each.network.layers:
            for name in layer.inputs:
                sources = reads if name == "x" else (name,)
                yield from ((s, layer.name, _format(each.network.operand(name))) for s in sources)


def network(program: Runnable) -> Markup:
    """Draw the layers below each other, with the format of every vector on its way."""
    edges = list(_edges(program))
    depth = {"x": 0}
    texts = {"x": ("input", f"{program.input_size} features", "")}
    hues = {"x": "idle", **colours(program)}
    for k, each in enumerate(program.passes):
        backwards = isinstance(program, Chain) and program.stages[k].reverse
        for layer in each.network.layers:
            depth[layer.name] = 1 + max(depth[s] for s, t, _ in edges if t == layer.name)
            bits = sorted({g.bits for g in layer.gates if g.bits})
            widths = "/".join(str(b) for b in bits)
            kept = (
                f", state {_format(each.network.state_formats(layer)[0])}"
                if layer.recurrent
                else ""
            )
            way = ", end first" if backwards else ""
            texts[layer.name] = (
                layer.name,
                f"{layer.cell.replace('_', ' ')}, {layer.size}{way}",
                f"{widths} bit weights{kept}",
            )
    rows: list[list[str]] = [[] for _ in range(1 + max(depth.values()))]
    for name, at in depth.items():
        rows[at].append(name)
    skipping = any(depth[t] - depth[s] > 1 for s, t, _ in edges)
    across = 88.0 if skipping else 100.0
    place = {
        name: (across * (k + 0.5) / len(row), at * (NODE + GAP))
        for at, row in enumerate(rows) for k, name in enumerate(row)
    }  # fmt: skip
    height = len(rows) * (NODE + GAP)
    skips = 0
    paths = []
    for source, target, _ in edges:
        (x0, y0), (x1, y1) = place[source], place[target]
        y0 += NODE
        if depth[target] - depth[source] > 1:
            skips += 1
            side = 98.5 - 2.2 * ((skips - 1) % 5)
            y_out, y_in = y0 + GAP / 2, y1 - GAP / 2
            d = (
                f"M{spaced(x0)} {spaced(y0)}C{spaced(x0)} {spaced(y_out)} {side} {spaced(y0)} {side} "
                f"{spaced(y_out)}V{spaced(y_in)}C{side} {spaced(y1)} {spaced(x1)} {spaced(y_in)} "
                f"{spaced(x1)} {spaced(y1)}"
            )
        else:
            middle = spaced((y0 + y1) / 2)
            d = f"M{spaced(x0)} {spaced(y0)}C{spaced(x0)} {middle} {spaced(x1)} {middle} {spaced(x1)} {spaced(y1)}"
        paths.append(el("path", d=d))
    formats: dict[str, list[str]] = {}
    for source, _, fmt in edges:
        formats.setdefault(source, []).append(fmt)
    for name in (
        program.outputs if isinstance(program, Chain) else program.passes[0].network.outputs
    ):
        own = next(
            p.network for p in program.passes if any(x.name == name for x in p.network.layers)
        )
        fmt = (
            "class" if own.argmax else _format(Format(own.numbers.state_bits, own.layer(name).frac))
        )
        formats.setdefault(name, []).append(f"output {fmt}")
    items = [
        el("svg", *paths, viewBox=f"0 0 100 {spaced(height)}", preserveAspectRatio="none",
           aria_hidden="true"),
    ]  # fmt: skip
    for name, (x, y) in place.items():
        width = min(60.0, 0.94 * across / len(rows[depth[name]]))
        head, *lines = texts[name]
        items.append(
            el(
                "div", el("b", head, class_=hues[name]), *(el("span", line) for line in lines), class_="node",
                style=f"left:{spaced(x - width / 2)}%;width:{spaced(width)}%;top:{spaced(y)}rem",
            )
        )  # fmt: skip
        if name in formats:
            items.append(
                el(
                    "span", ", ".join(dict.fromkeys(formats[name])), class_="port",
                    style=f"left:{spaced(x)}%;top:{spaced(y + NODE + GAP / 2)}rem",
                )
            )  # fmt: skip
    return el("div", *items, class_="network", style=f"height:{spaced(height)}rem")
