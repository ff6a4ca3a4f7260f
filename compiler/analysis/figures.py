"""Figures of a program: formats, memories, cycles, error.

:func:`analyze` collects the figures as one JSON object; :mod:`..report.page` shows them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import IntArray, check_lengths, valid_steps
from ..errors import InputError
from ..ir.model import Model
from ..ir.network import BOUNDED
from ..numerics.fixed import Format
from ..program.chain import Chain
from ..program.program import Program
from ..program.runnable import Runnable
from ..quantizer.quality import clipped_inputs
from ..target.memories import memories
from .metric import check_classes, class_count, correct
from .noise import contributions, explain, noise_ratios
from .skipping import skipping

__all__ = ["analyze"]

TRACED = (64, 512)  # sequences and steps whose intermediate values are looked at


def analyze(
    program: Runnable,
    x: npt.ArrayLike | None = None,
    lengths: npt.ArrayLike | None = None,
    model: Model | None = None,
    labels: npt.ArrayLike | None = None,
) -> dict[str, Any]:
    """Collect the figures of a program.

    Parameters
    ----------
    program : Program or Chain
        Of a chain, the figures of all passes: those of a step add up, since every pass walks a
        sequence once.
    x : array_like, shape (N, T, I) or (T, I), optional
        Data: adds the largest value of every vector, saturations, and with ``model`` the error.
    lengths : array_like of int, shape (N,), optional
        True lengths of zero-padded sequences.
    model : Model, optional
        The float model that the program was made of.
    labels : array_like of int, shape (N,), optional
        Class of each sequence: adds the accuracy at the last step.

    Returns
    -------
    dict
        ``summary``, ``formats``, ``memories``, ``cycles``; with data ``data``, with labels
        ``accuracy``, and with a model ``error``. A program of one pass then has signal-to-noise
        ratios in ``formats``, and ``limits``: what its error comes from.

    Raises
    ------
    InputError
        A model without data, or another than the program's; labels that are not a class of each sequence.
    """
    if labels is not None and x is None:
        raise InputError("the accuracy needs data as well: x=, or --data X")
    if model is not None and x is None:
        raise InputError("the error against the float model needs data as well: x=, or --data X")
    chain = program if isinstance(program, Chain) else None
    where = [f"pass{k}." if chain else "" for k in range(len(program.passes))]
    formats = [_formats(each, at) for each, at in zip(program.passes, where, strict=True)]
    result: dict[str, Any] = {
        "summary": program.summary,
        "formats": [row for rows in formats for row in rows],
        "memories": [
            row for p, at in zip(program.passes, where, strict=True) for row in _memories(p, at)
        ],
        "cycles": _cycles(program),
    }
    if x is not None:
        codes = program.encode(x)
        values = np.asarray(x, dtype=np.float64).reshape(codes.shape)
        valid = valid_steps(check_lengths(lengths, *codes.shape[:2]), *codes.shape[:2])
        done = program.evaluate(codes, lengths=lengths)
        result["data"] = {
            "sequences": len(codes),
            "steps": int(valid.sum()),
            "saturations": {
                place: [clipped, done.narrowings[place]]
                for place, clipped in sorted(done.saturations.items())
            }
            | clipped_inputs(values, program.input_format, valid, program.exponents),
        }
        outputs = program.decode(done.outputs)
        if labels is not None:
            classes = check_classes(labels, len(outputs), class_count(program))
            result["accuracy"] = {"program": _accuracy(outputs, classes, lengths)}
        if chain is None and (delta := skipping(program.passes[0], done, valid)):
            result["data"]["delta"] = delta
        given = _inputs(chain, codes[: TRACED[0]], valid[: TRACED[0]]) if chain else [codes]
        traces = [
            _peaks(each, fed, valid, rows, at)
            for each, rows, fed, at in zip(program.passes, formats, given, where, strict=True)
        ]
        if model is not None:
            reference = _reference(program, model, x, lengths)
            result["error"] = _error(reference, outputs, valid)
            if labels is not None:
                result["accuracy"]["float"] = _accuracy(reference, classes, lengths)
            found = None
            if chain is None:
                _ratios(program.passes[0], model, values, valid, formats[0], traces[0])
                found = contributions(program.passes[0], model, values, lengths)
            result["limits"] = {
                "text": explain(result["data"]["saturations"], found), **(found or {}),
            }  # fmt: skip
    if chain:
        longest = int(valid.sum(axis=1).max(initial=0)) if x is not None else 1
        words, bits = chain.buffer(longest)
        result["memories"].append(
            {"memory": f"sequence of {longest:,} step{'s' * (longest != 1)}, outside the cores",
             "kind": "RAM", "words": words, "width": program.config.state_bits, "bits": bits}
        )  # fmt: skip
    return result


def _inputs(chain: Chain, codes: IntArray, valid: npt.NDArray[np.bool_]) -> list[IntArray]:
    """Return the input codes of every pass, in the order of its steps."""
    given: list[IntArray] = []

    def run(_: int, program: Program, fed: IntArray) -> IntArray:
        given.append(fed)
        return golden.run(program.network, fed).outputs

    chain.walk(codes, run, valid.sum(axis=1))
    return given


def _formats(program: Program, at: str = "") -> list[dict[str, Any]]:
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


def _peaks(
    program: Program, codes: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_],
    formats: list[dict[str, Any]], at: str = "",
) -> dict[str, IntArray]:  # fmt: skip
    """Add the largest magnitude seen on the data to the formats of vectors and gates.

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
    return trace


def _ratios(
    program: Program, model: Model, x: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_],
    formats: list[dict[str, Any]], trace: dict[str, IntArray],
) -> None:  # fmt: skip
    """Add the signal-to-noise ratio of every tensor to its format."""
    n, steps = TRACED
    found = noise_ratios(program, model, x[:n, :steps], valid[:n, :steps], trace)
    for row in formats:
        if found.get(row["tensor"]) is not None:
            row["snr"] = found[row["tensor"]]


def _accuracy(
    outputs: npt.NDArray[Any], labels: npt.NDArray[Any], lengths: npt.ArrayLike | None
) -> float:
    """Return the share of sequences whose answer at the last step is the label."""
    real = None if lengths is None else np.asarray(lengths)
    return float(correct(outputs, labels, real).mean())


def _memories(program: Program, at: str = "") -> list[dict[str, Any]]:
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


def _cycles(program: Runnable) -> dict[str, Any]:
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


def _reference(
    program: Runnable, model: Model, x: npt.ArrayLike, lengths: npt.ArrayLike | None
) -> npt.NDArray[np.float64]:
    """Return the outputs of the float model the program was made of, shape (N, T, outputs)."""
    layers = [layer for each in program.passes for layer in each.network.layers]
    described = [
        f"{size} inputs and the layers "
        + ", ".join(sorted(f"{x.name} ({getattr(x, 'cell', 'linear')}, {x.size})" for x in own))
        for size, own in ((model.input_size, model.layers), (program.input_size, layers))
    ]
    if described[0] != described[1]:
        raise InputError(
            f"{model.source or 'the model'} has {described[0]}, the program {described[1]}: name the "
            "model the program was made of"
        )
    reference = model.run(x, lengths=lengths)
    return reference[None] if reference.ndim == 2 else reference


def _error(
    reference: npt.NDArray[np.float64], outputs: npt.NDArray[np.float64],
    valid: npt.NDArray[np.bool_],
) -> dict[str, Any]:  # fmt: skip
    """Compare outputs with those of the float model: over all, and over time steps."""
    difference = np.where(valid[..., None], np.abs(outputs - reference), np.nan)
    real = difference[valid]
    some = valid.any(axis=0)
    return {
        "max": float(real.max(initial=0.0)),
        "mean": float(real.mean()) if real.size else 0.0,
        "rms": float(np.sqrt((real**2).mean())) if real.size else 0.0,
        "by_step": {
            "step": np.flatnonzero(some).tolist(),
            "max": np.nanmax(difference[:, some], axis=(0, 2)).tolist(),
            "mean": np.nanmean(difference[:, some], axis=(0, 2)).tolist(),
        },
    }
