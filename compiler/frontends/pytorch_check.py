"""Comparison of an imported model with PyTorch, in float64 on random sequences.

torch is imported only inside these functions.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CheckError, InputError
from ..ir.model import Model
from .graph_output import softmax
from .noise import FLOAT64, bounds, difference
from .parts import Part

if TYPE_CHECKING:
    import torch

__all__ = ["NotTheChain", "check_module", "check_parts", "copy_of", "float64"]

TOLERANCE = 1e-5  # float64 against float64; relative to outputs larger than one


class NotTheChain(InputError):
    """The module's forward is not the chain of its modules; an example input would show it."""


SCALES = (1.0, 10.0, 100.0)  # of the inputs of a comparison
SEQUENCES, STEPS = 3, 20  # of a comparison; different, so that a mixed-up layout shows


@contextmanager
def float64() -> Iterator[None]:
    """Let torch make float64 by default, run compiled modules eagerly, keep its random numbers.

    Modules often make their initial state by ``torch.zeros`` of the default type.
    """
    import torch

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            compiles = "torch._dynamo" in sys.modules
            with torch.compiler.set_stance("force_eager") if compiles else nullcontext():
                yield
    finally:
        torch.set_default_dtype(default)


def _difference(got: FloatArray, want: FloatArray) -> float:
    """Largest difference, relative to outputs larger than one; infinite if not a number."""
    difference = float(np.max(np.abs(got - want)) / max(1.0, np.max(np.abs(want))))
    return difference if np.isfinite(difference) else np.inf


def copy_of(module: torch.nn.Module) -> torch.nn.Module:
    """Return a deep copy on the CPU; tensors that torch computed, as of weight norm, are copied too."""
    import torch

    memo: dict[int, Any] = {
        id(value): value.detach().clone()
        for one in module.modules()
        for value in vars(one).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, memo).to("cpu").eval()


def check_parts(parts: Sequence[Part]) -> str:
    """Compare each part with PyTorch's module of the same weights."""
    try:
        from torch import from_numpy, nn
    except ImportError:
        return "not compared with PyTorch: torch is not installed"
    largest = 0.0
    for part in parts:
        if part.kind not in ("linear", "gru", "lstm", "rnn"):
            continue  # a cell that PyTorch lacks: the comparison of the whole module covers it
        with float64():
            if part.linear:
                theirs: nn.Module = nn.Linear(part.input_size, part.size, bias=part.bias)
            else:
                which = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[part.kind]
                form = {"nonlinearity": part.activation} if part.kind == "rnn" else {}
                theirs = which(
                    part.input_size, part.hidden, part.depth, bias=part.bias, batch_first=True,
                    bidirectional=part.bidirectional, **form,
                )  # fmt: skip
            theirs.load_state_dict({n: from_numpy(a) for n, a in part.tensors.items()})
            x = np.random.default_rng(0).standard_normal((SEQUENCES, STEPS, part.input_size))
            out = theirs(from_numpy(x))
        got = (out if part.linear else out[0]).numpy()
        plain = replace(part, activation="none") if part.linear else part
        layers, outputs = plain.layers(("x",), Counter())
        ours = Model(part.input_size, tuple(layers), outputs)
        found = difference(got, ours.run(x), bounds(ours, x, FLOAT64)[""])
        if not found.fits:
            raise CheckError(f"{part} {found}, compared with PyTorch in float64")
        largest = max(largest, found.largest)
    return f"equations of each module compared with PyTorch's: largest difference {largest:.1e}"


def check_module(module: torch.nn.Module, model: Model, last_module: str) -> str:
    """Compare the model with the module itself, whichever layout it takes and gives.

    Larger inputs too: a forward that clips them, or looks at their size, is more than its chain.
    """
    notes = [_check_scale(module, model, last_module, scale) for scale in SCALES]
    return notes[0]


def _check_scale(module: torch.nn.Module, model: Model, last_module: str, scale: float) -> str:
    """Compare on inputs of one size."""
    import torch

    x = scale * np.random.default_rng(1).standard_normal((SEQUENCES, STEPS, model.input_size))
    want = softmax(last_module, model.run(x))
    peak = max(1.0, float(np.abs(want).max()))
    limit = max(TOLERANCE, float(bounds(model, x, FLOAT64)[""].max()) / peak)
    last = ("only its last step is given out; the core gives every step", want[:, -1])
    layouts = [
        (x, [("batch first", want), last]),
        (x.swapaxes(0, 1), [("time first", want.swapaxes(0, 1)), last]),
        (x[:, 0], [("one step a call", want[:, 0])]),
    ]
    closest, trouble = np.inf, ""
    for data, targets in layouts:
        if data.ndim == 2 and closest < np.inf:
            break  # it takes sequences, so what it does with one step proves nothing
        try:
            with float64():
                theirs = copy_of(module).to(torch.float64)
                out: Any = theirs(torch.from_numpy(data.copy()))
        except Exception as error:  # forward is the user's code: anything can come
            trouble = trouble or f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            continue
        while isinstance(out, (tuple, list)) and out:
            out = out[0]
        if not isinstance(out, torch.Tensor):
            trouble = f"it returns {type(out).__name__}, not a tensor or a tuple of tensors"
            continue
        got = out.to(torch.float64).numpy()
        for note, target in targets:
            if got.size == target.size:
                away = _difference(got.reshape(target.shape), target)
                if away <= limit:
                    return f"compared with the module, {note}: difference {away:.1e}"
                closest = min(closest, away)
            else:
                trouble = f"outputs of shape {got.shape} for inputs of shape {data.shape}"
    chain = f"the chain of its modules ({', '.join(layer.name for layer in model.layers)})"
    if closest < np.inf:
        raise NotTheChain(
            f"{model.source}: forward is not {chain}: outputs differ by {closest:.3g}, the limit "
            f"is {limit:.1g}"
        )
    raise NotTheChain(f"{model.source}: cannot be compared with {chain}: {trouble}")
