"""Figures of a program: formats, memories, cycles, error.

:func:`analyze` collects the figures as one JSON object; :mod:`..report.page` shows them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import IntArray, check_lengths, valid_steps
from ..errors import InputError
from ..ir.model import Model
from ..program.chain import Chain, check_program
from ..program.program import Program
from ..program.runnable import Runnable
from ..quantizer.quality import clipped_inputs
from .inventory import (
    TRACED,
    add_peaks,
    add_ratios,
    list_cycles,
    list_formats,
    list_memories,
)
from .metric import answers, check_classes, class_count
from .noise import contributions, explain
from .skipping import skipping
from .views import confusion, piece

__all__ = ["analyze"]


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
        ``accuracy`` and ``classes``, and with a model ``error``, of an argmax that of the outputs
        before it, ``sequence``, a piece of one, and of an argmax ``agreement``, the share
        of sequences that are taken for the same class. A program of one pass then has signal-to-noise ratios in
        ``formats``, and ``limits``: what its error comes from.

    Raises
    ------
    InputError
        A model without data, or another than the program's; labels that are not a class of each sequence.
    """
    check_program(program)
    if labels is not None and x is None:
        raise InputError("the accuracy needs data as well: x=, or --data X")
    if model is not None and x is None:
        raise InputError("the error against the float model needs data as well: x=, or --data X")
    chain = program if isinstance(program, Chain) else None
    where = [f"pass{k}." if chain else "" for k in range(len(program.passes))]
    formats = [list_formats(each, at) for each, at in zip(program.passes, where, strict=True)]
    result: dict[str, Any] = {
        "summary": program.summary,
        "formats": [row for rows in formats for row in rows],
        "memories": [
            row for p, at in zip(program.passes, where, strict=True) for row in list_memories(p, at)
        ],
        "cycles": list_cycles(program),
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
        real = None if lengths is None else np.asarray(lengths)
        told = answers(outputs, real) if program.passes[-1].network.argmax else None
        if labels is not None:
            classes = check_classes(labels, len(outputs), class_count(program))
            result["classes"] = confusion(answers(outputs, real), classes, class_count(program))
            result["accuracy"] = {"program": float((answers(outputs, real) == classes).mean())}
        if chain is None and (delta := skipping(program.passes[0], done, valid)):
            result["data"]["delta"] = delta
        given = _inputs(chain, codes[: TRACED[0]], valid[: TRACED[0]]) if chain else [codes]
        traces = [
            add_peaks(each, fed, valid, rows, at)
            for each, rows, fed, at in zip(program.passes, formats, given, where, strict=True)
        ]
        if model is not None:
            reference = _reference(program, model, x, lengths)
            scores = _scores(program, codes, lengths)
            result["error"] = _error(reference, scores, valid)
            if valid.any():
                result["sequence"] = piece(reference, scores, valid)
            if told is not None:
                result["agreement"] = float((told == answers(reference, real)).mean())
            if labels is not None:
                result["accuracy"]["float"] = float((answers(reference, real) == classes).mean())
            found = None
            if chain is None:
                add_ratios(program.passes[0], model, values, valid, formats[0], traces[0])
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


def _scores(
    program: Runnable, codes: IntArray, lengths: npt.ArrayLike | None
) -> npt.NDArray[np.float64]:
    """Return the values of the outputs, also where the program emits their argmax only."""
    last = program.passes[-1]
    if last.network.argmax:
        plain = replace(last.config, argmax=False)
        last = Program(replace(last.network, argmax=False), plain, exponents=last.exponents)
        if isinstance(program, Chain):
            stages = (*program.stages[:-1], replace(program.stages[-1], program=last))
            program = Chain(
                program.input_format, program.input_size, stages, program.outputs, program.config,
                exponents=program.exponents,
            )  # fmt: skip
        else:
            program = last
    return program.decode(program.evaluate(codes, lengths=lengths).outputs)


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
        "peak": float(np.abs(reference[valid]).max(initial=0.0)),
        "by_step": {
            "step": np.flatnonzero(some).tolist(),
            "max": np.nanmax(difference[:, some], axis=(0, 2)).tolist(),
            "mean": np.nanmean(difference[:, some], axis=(0, 2)).tolist(),
        },
    }
