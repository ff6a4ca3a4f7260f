"""Tensors under names (a state_dict): weights that hold no computation.

They are taken as they are where there is one reading, a recurrent module with at most one linear
module behind it. Else the user says the computation (:mod:`.forward`), or gives recorded outputs
that choose it (:mod:`.readings`). Plain arrays are read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..ir.model import Model
from .expected import Expected
from .forward import compute, steps_of
from .parts import GATES
from .pytorch_check import check_parts
from .readings import proven_reading, sole_reading, spelled
from .state_dict import leave_out, recognize, unwrap

__all__ = ["from_state_dict"]


def from_state_dict(
    values: Mapping[str, Any],
    *,
    check: bool = True,
    source: str = "state_dict",
    ordered: bool = True,
    key: str | None = None,
    ignore: Sequence[str] = (),
    forward: str | Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    nonlinearity: str | None = None,
    activations: Mapping[str, str] | None = None,
    expected: Expected | None = None,
) -> Model:
    """Recognize modules by the names and shapes of their tensors.

    Parameters
    ----------
    values : mapping of str -> array or torch.Tensor
        A state_dict, or a checkpoint that nests one. Any floating-point type.
    check : bool
        Compare every module with PyTorch's own, where torch is installed.
    source : str
        File name, for messages.
    ordered : bool
        Whether the order of the keys means something (it does not in a safetensors file).
    key : str, optional
        Which entry of a checkpoint holds the state_dict.
    ignore : sequence of str
        Patterns (``backbone.tcn.*``) of tensors to leave out.
    forward : str or sequence of str, optional
        The computation: modules and activations in the order of the data, see :mod:`.forward`.
    order : sequence of str, optional
        Names of the modules in the order of the data; with ``activations`` another way to say
        ``forward`` of a plain chain.
    nonlinearity : {'tanh', 'relu'}, optional
        Of plain RNNs; a state_dict does not hold it. Default tanh, and said to be assumed.
    activations : mapping of str -> str, optional
        Activation after a linear module, by the module's name.
    expected : Expected, optional
        Recorded outputs; without ``forward`` they choose among the computations that fit.

    Raises
    ------
    InputError
        What is left over, fits in no or several ways, or is not supported is refused by name.
    CheckError
        No computation that was tried gives the recorded outputs.
    """
    if nonlinearity not in (None, "tanh", "relu"):
        raise InputError(f"nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
    if forward is not None and (order is not None or activations):
        raise InputError(f"{source}: forward says the order and the activations: leave those out")
    values, nested = unwrap(values, key, source)
    patterns = (ignore,) if isinstance(ignore, str) else ignore
    values, ignored = leave_out(values, patterns, source)
    parts = recognize(values, source, nonlinearity or "tanh")
    stated = forward is not None or order is not None or bool(activations)
    if forward is None and (order is not None or activations):
        forward = spelled(parts, order, activations or {}, source, ordered)
    notes = [*nested, *ignored]
    orders = {p.kind: ", ".join(GATES[p.kind]) for p in parts if p.kind in ("gru", "lstm")}
    notes += [f"gates of a {kind} are in PyTorch's order {names}" for kind, names in orders.items()]
    if forward is None and expected is not None:
        model, text = proven_reading(parts, expected, source, nonlinearity is None)
        notes.append(f"forward, chosen by the recorded outputs: {text}")
    else:
        steps = sole_reading(parts, source, ordered) if forward is None else steps_of(forward)
        model = compute(steps, parts, source, nonlinearity or "tanh")
        text = ", ".join(step for step in steps if step != "none")
        notes.append(
            f"forward, {'as stated' if stated else 'the one that the sizes allow'}: {text}"
        )
    checked = check_parts(parts) if check else "not compared with PyTorch: the check is off"
    open_ = [_forward(text, stated)]
    open_ += [f"that the model is right without {note.partition(': ')[2]}" for note in ignored]
    if any(part.kind == "rnn" for part in parts) and nonlinearity is None:
        open_.append("that plain RNNs compute tanh (nonlinearity= says it)")
    return replace(model, notes=(*model.notes, *notes, checked), not_compared=tuple(open_))


def _forward(text: str, stated: bool) -> str:
    """Say what of the computation nobody has shown."""
    if stated:
        return f"that the model computes {text!r}, as stated"
    return f"that the model computes {text!r} and nothing more: tensors hold no computation"
