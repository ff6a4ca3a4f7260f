"""The golden model run on a recording."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..arrays import FloatArray, valid_steps
from ..files.recording import Recording
from ..golden import State
from ..program.chain import Chain
from ..program.program import Program
from ..program.runnable import Runnable
from ..quantizer.quality import clipped_inputs
from .metric import answers, check_class_names, check_classes, class_count, correct
from .skipping import skipping
from .views import confusion

__all__ = ["accuracy", "emulate_recording"]


def accuracy(outputs: FloatArray, data: Recording) -> float | None:
    """Return the share of sequences whose largest output at the last valid step is the label.

    Parameters
    ----------
    outputs : ndarray, shape (N, T, outputs)
    data : Recording
        With labels, shape (N,), or this is None.
    """
    if data.labels is None or outputs.ndim != 3 or np.shape(data.labels) != (len(outputs),):
        return None
    return float(correct(outputs, data.labels, data.lengths).mean())


def emulate_recording(
    program: Runnable, data: Recording, state: State | None = None
) -> tuple[FloatArray, dict[str, Any]]:
    """Run the golden model.

    Returns
    -------
    (outputs, figures)
        Values shaped like the input, zero in the padding; and what ``emulate --json`` prints.
    """
    classes = class_count(program)
    check_class_names(data.classes, classes)
    if data.labels is not None and classes > 1:
        check_classes(data.labels, len(data.labels), classes)
    codes = program.encode(data.x)
    start = time.monotonic()
    done = program.evaluate(codes, state, data.lengths)
    seconds = time.monotonic() - start
    outputs = program.decode(done.outputs)
    valid = valid_steps(data.lengths, *codes.shape[:2])
    outputs = np.where(valid[..., None], outputs, 0.0)
    values = np.asarray(data.x, dtype=np.float64).reshape(codes.shape)
    places = {p: [c, done.narrowings[p]] for p, c in sorted(done.saturations.items())}
    places |= clipped_inputs(values, program.input_format, valid, program.exponents)
    delta = skipping(program, done, valid) if isinstance(program, Program) else None
    right = accuracy(outputs, data) if classes > 1 else None
    told: dict[str, Any] = {}
    if right is not None and data.labels is not None:
        names = list(data.classes) or [str(k) for k in range(classes)]
        told = confusion(answers(outputs, data.lengths), data.labels, classes) | {"names": names}
    return outputs, {
        "steps": int(valid.sum()),
        "sequences": len(outputs),
        "seconds": round(seconds, 3),
        "saturations": {
            "total": sum(clipped for clipped, _ in places.values()),
            "places": {p: {"clipped": c, "of": of} for p, (c, of) in places.items()},
        },
        "accuracy": right,
        **({"classes": told} if told else {}),
        **({"buffer": _buffer(program, data)} if isinstance(program, Chain) else {}),
        **({"delta": delta} if delta else {}),
    }


def _buffer(chain: Chain, data: Recording) -> dict[str, int]:
    """Return what the longest sequence takes outside the cores."""
    longest = data.x.shape[-2] if data.lengths is None else int(max(data.lengths, default=0))
    words, bits = chain.buffer(longest)
    return {"steps": longest, "words": words, "bits": bits}
