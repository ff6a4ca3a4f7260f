"""The parts of a program: formats of its tensors, memories, cycles of its layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import IntArray
from ..ir.model import Model
from ..ir.network import BOUNDED
from ..numerics.fixed import Format
from ..program.program import Program
from ..program.runnable import Runnable
from ..target.memories import memories
from .noise import noise_ratios
from .views import histogram

__all__ = ["add_peaks", "add_ratios", "list_cycles", "list_formats", "list_memories"]

TRACED = (64, 512)  # sequences and steps whose intermediate values are looked at


def list_formats(program: Program, at: str = "") -> list[dict[str, Any]]:
    """List every tensor with its format, the range of that, and what weights use of it."""
    net, n = program.network, program.network.numbers
    tables = n.tables

    def entry(name: str, kind: str, fmt: Format, **more: Any) -> dict[str, Any]:
        low, high = fmt.low * fmt.step, fmt.high * fmt.step
        return {"tensor": name, "kind": kind, "bits": fmt.bits, "frac": [fmt.frac, fmt.frac],
                "range": [low, high], **more}  # fmt: skip

    consumed = {name for layer in net.layers for name in layer.inputs}
    rows = [entry(f"{at}x", "input", net.input_format)]
    for layer in net.layers:
        for g in layer.gates:
            for part, weights, fracs in (("W", g.w, g.w_frac), ("U", g.u, g.u_frac)):
                if weights is None or not weights.size:
                    continue
                values = weights * 2.0 ** -fracs[:, None].astype(float)
                fmt = Format(g.bits, int(fracs.min()))
                rows.append(
                    entry(f"{layer.name}.{g.gate.name}.{part}", "weight", fmt)
                    | {
                        "frac": [int(fracs.min()), int(fracs.max())],
                        "peak": float(np.abs(values).max()),
                        "zeros": float((weights == 0).mean()),
                        "counts": histogram(weights, g.bits),
                    }
                )
            if layer.recurrent and g.act in BOUNDED:
                gate = Format(n.gate_bits, n.gate_frac)
                rows.append(entry(f"{layer.name}.{g.gate.name}", "gate", gate))
        kind = "state" if layer.recurrent else "vector"
        rows.append(entry(layer.name, kind, Format(n.state_bits, layer.frac)))
        if layer.has_cell_state:
            rows.append(entry(f"{layer.name}.c", "cell state", Format(n.cell_bits, n.cell_frac)))
        if layer.recurrent or layer.name in consumed:
            rows.append(entry(f"{layer.name} as operand", "operand", net.operand(layer.name)))
    rows.append(entry(f"{at}pre-activation", "sum", Format(tables.pre_bits, tables.pre_frac)))
    return rows


def add_peaks(
    program: Program, codes: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_],
    formats: list[dict[str, Any]], at: str = "",
) -> dict[str, IntArray]:  # fmt: skip
    """Add to the formats of vectors and gates the largest magnitude and a histogram of their values.

    Returns the trace of the golden model that they were taken from.
    """
    n, steps = TRACED
    some, real = codes[:n, :steps], valid[:n, :steps]
    trace = golden.run(program.network, some, trace=True).trace
    values = {f"{at}x": some, **trace}
    for row in formats:
        if row["tensor"] in values and real.any():
            peak = np.abs(values[row["tensor"]][real]).max(initial=0)
            row["peak"] = float(peak * 2.0 ** -row["frac"][0])
            row["counts"] = histogram(values[row["tensor"]][real], row["bits"])
    return trace


def add_ratios(
    program: Program, model: Model, x: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_],
    formats: list[dict[str, Any]], trace: dict[str, IntArray],
) -> None:  # fmt: skip
    """Add the signal-to-noise ratio of every tensor to its format."""
    n, steps = TRACED
    found = noise_ratios(program, model, x[:n, :steps], valid[:n, :steps], trace)
    for row in formats:
        if found.get(row["tensor"]) is not None:
            row["snr"] = found[row["tensor"]]


def list_memories(program: Program, at: str = "") -> list[dict[str, Any]]:
    """List the memories of the core as they are laid out: words, width and bits of each."""
    known = memories(program)
    beats = [memory for name, memory in known.items() if name.startswith("beats")]
    rows = [
        *(
            (name.replace(" plane", ", plane"), "ROM", memory.words, memory.width)
            for name, memory in known.items()
            if name.startswith("weights")
        ),
        ("control", "ROM", beats[0].words, sum(memory.width for memory in beats)),
        *(
            (label, "RAM", known[name].depth, known[name].banks * known[name].width)
            for label, name in (("input", "inputs"), ("operands", "operands"))
        ),
        ("states", "RAM", known["states"].words, known["states"].banks * known["states"].width),
    ]
    return [
        {
            "memory": f"{at}{name}",
            "kind": kind,
            "words": words,
            "width": width,
            "bits": words * width,
        }
        for name, kind, words, width in rows
        if words
    ]


def list_cycles(program: Runnable) -> dict[str, Any]:
    """Split the cycles of a step over the layers; what is left is waiting."""
    layers = [row for each in program.passes for row in _layer_cycles(each)]
    total = program.summary["cycles_per_step"]
    return {
        "layers": layers,
        "waiting": total - sum(layer["cycles"] for layer in layers),
        "per_step": total,
        "latency": program.summary["latency_cycles"],
        "utilization": program.summary["utilization"],
    }


def _layer_cycles(program: Program) -> list[dict[str, Any]]:
    """Return tiles, cycles and use of the lanes of every layer."""
    lanes = program.geometry.lanes
    layers: list[dict[str, Any]] = []
    for layer in program.network.layers:
        blocks = [b for b in program.schedule.blocks if b.layer == layer.name]
        macs = sum(m.size for g in layer.gates for m in (g.w, g.u) if m is not None)
        cycles = sum(b.tiles * b.columns for b in blocks)
        layers.append(
            {
                "layer": layer.name,
                "cell": layer.cell,
                "tiles": sum(b.tiles for b in blocks),
                "cycles": cycles,
                "macs": macs,
                "utilization": round(macs / (lanes * cycles), 4) if cycles else 0.0,
            }
        )
    return layers
