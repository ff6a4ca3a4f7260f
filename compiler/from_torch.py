"""PyTorch models: a state_dict or a module, each compared with PyTorch itself.

torch is imported only where a module is given or a result is checked; a state_dict of
plain arrays is read without it. What names and shapes mean is in :mod:`.state_dict`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .model import FloatArray, Model
from .state_dict import (
    Part,
    arrange,
    assemble,
    leave_out,
    recognize,
    refuse_bidirectional,
    refuse_projection,
    understood,
    unwrap,
)

if TYPE_CHECKING:
    import torch

__all__ = ["from_module", "from_state_dict"]

TOLERANCE = 1e-5  # float64 against float64; relative to outputs larger than one
SEQUENCES, STEPS = 3, 20  # of a comparison; different, so that a mixed-up layout shows
ACTIVATIONS = {
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "ReLU": "relu",
    "Hardtanh": "hard_tanh",
    "Hardsigmoid": "hard_sigmoid",
}
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
NOTHING = ("Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "AlphaDropout")
SOFTMAX = ("Softmax", "LogSoftmax")


def from_state_dict(
    values: Mapping[str, Any],
    *,
    check: bool = True,
    source: str = "state_dict",
    ordered: bool = True,
    key: str | None = None,
    ignore: Sequence[str] = (),
    order: Sequence[str] | None = None,
    nonlinearity: str = "tanh",
    activations: Mapping[str, str] | None = None,
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
    order : sequence of str, optional
        Names of the modules in the order of the data, where sizes do not tell.
    nonlinearity : {'tanh', 'relu'}
        Of plain RNNs; a state_dict does not hold it.
    activations : mapping of str -> str, optional
        Activation after a linear module, by the module's name; default none.

    Raises
    ------
    InputError
        What is left over, makes no chain or is not supported is refused by name.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(f"nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
    values, nested = unwrap(values, key, source)
    patterns = (ignore,) if isinstance(ignore, str) else ignore
    values, ignored = leave_out(values, patterns, source)
    parts = recognize(values, source, nonlinearity)
    unused = set(activations or {}) - {part.path for part in parts if part.linear}
    if unused:
        raise InputError(
            f"{source}: activations names {sorted(unused)}, not linear modules; {understood(parts)}"
        )
    parts = [
        replace(part, activation=(activations or {}).get(part.path, part.activation))
        for part in parts
    ]
    parts, arranged = arrange(parts, ordered, order, source)
    assumed = []
    if any(part.kind == "rnn" for part in parts):
        assumed.append(f"rnn: {nonlinearity}; a state_dict does not say which (nonlinearity=)")
    if any(part.linear for part in parts):
        assumed.append("linear: a state_dict holds no activations; set them by activations=")
    model = assemble(parts, source)
    if check:
        assumed.append(_check_parts(parts))
    return replace(model, notes=(*model.notes, *nested, *ignored, *arranged, *assumed))


def from_module(module: torch.nn.Module, *, check: bool = True) -> Model:
    """Take a module apart by its children, in the order of their registration.

    Parameters
    ----------
    module : torch.nn.Module
        ``GRU``, ``LSTM``, ``RNN``, their cells, ``Linear``, or any container of these and of
        activations: a ``Sequential`` or a class of your own. It is not changed.
    check : bool
        Run a float64 copy on random sequences and compare within 1e-5. A class of your own can
        compute anything in ``forward``; only this shows that it is the chain of its children.

    Raises
    ------
    InputError
        A child is not supported (named), or the module computes something else.
    """
    source = type(module).__name__
    found = _Found(check)
    found.add(module, "")
    if not found.parts:
        raise InputError(f"{source} holds no GRU, LSTM, RNN or Linear module")
    for before, after in zip(found.parts, found.parts[1:], strict=False):
        if before.size != after.input_size:
            raise InputError(
                f"{source}: its modules make no chain in the order of their registration: "
                f"{before}, then {after}; register them in the order of the data"
            )
    model = assemble(found.parts, source)
    notes = [*found.notes]
    if check:
        notes += [_check_parts(found.parts), _check_module(module, model, found.softmax)]
    else:
        notes.append("not compared with PyTorch: check is off")
    return replace(model, notes=(*model.notes, *notes))


@dataclass
class _Found:
    """What a walk over a module's children has found, in order.

    Parameters
    ----------
    check : bool
        Whether modules that are not known may be taken to do nothing: the comparison will tell.
    """

    check: bool
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    softmax: str = ""

    def add(self, module: torch.nn.Module, path: str) -> None:
        """Add one module and its children."""
        from torch import nn

        kind = type(module).__name__
        ours = not type(module).__module__.startswith("torch.")
        label = f"{path or 'the model'} ({kind})"
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase, nn.Linear)):
            self._refuse_after_softmax(label)
            self.parts.append(_part(module, path))
        elif not ours and kind in ACTIVATIONS:
            self._refuse_after_softmax(label)
            self._activation(module, label)
        elif not ours and kind in SOFTMAX:
            self._refuse_after_softmax(label)
            self.softmax = kind
            self.notes.append(f"{label} dropped: the largest output stays the largest")
        elif not ours and kind in NOTHING:
            pass
        elif ours or kind in CONTAINERS:
            self._container(module, path, label)
        else:
            raise InputError(
                f"{label} is not supported; use GRU, LSTM, RNN, their cells, Linear, "
                f"{', '.join(ACTIVATIONS)}, Dropout, Identity and Sequential"
            )

    def _container(self, module: torch.nn.Module, path: str, label: str) -> None:
        own = [name for name, value in module._parameters.items() if value is not None]
        if own:
            raise InputError(
                f"{label} holds parameters of its own, {', '.join(own)}; only those of GRU, LSTM, "
                "RNN and Linear are understood: move it to the host, or make it one of these"
            )
        if not module._modules and path:
            if not self.check:
                raise InputError(f"{label} is not known; only check=True can tell what it does")
            self.notes.append(f"{label} taken to pass its input on")
        # not named_children(), which leaves out the second use of one module
        for name, child in module._modules.items():
            if child is not None:
                self.add(child, f"{path}.{name}" if path else name)

    def _refuse_after_softmax(self, label: str) -> None:
        if self.softmax:
            raise InputError(f"{self.softmax} before {label} is not supported, only at the end")

    def _activation(self, module: Any, label: str) -> None:
        name = ACTIVATIONS[type(module).__name__]
        if name == "hard_tanh" and (module.min_val, module.max_val) != (-1, 1):
            raise InputError(
                f"{label} clips to {module.min_val} to {module.max_val}; only -1 to 1 is supported"
            )
        if not self.parts:
            raise InputError(f"{label} comes before any layer: apply it to the input yourself")
        last = self.parts[-1]
        if last.linear and last.activation == "none":
            self.parts[-1] = replace(last, activation=name)
        else:
            one = {"weight": np.eye(last.size)}
            self.parts.append(Part(label, "linear", one, name))
            self.notes.append(
                f"{label} made a linear layer of ones: {last.size**2} more multiplications a step"
            )


def _part(module: Any, path: str) -> Part:
    """Read one recurrent or linear module."""
    if getattr(module, "bidirectional", False):
        refuse_bidirectional(path)
    if getattr(module, "proj_size", 0):
        refuse_projection(path)
    prefix = f"{path}." if path else ""
    values = {prefix + name: value for name, value in module.state_dict().items()}
    nonlinearity = getattr(module, "nonlinearity", "tanh")
    (part,) = recognize(values, f"{path or 'the model'} ({type(module).__name__})", nonlinearity)
    return part


@contextmanager
def _float64() -> Iterator[None]:
    """Let torch make float64 by default, and leave its random numbers as they were.

    Modules often make their initial state by ``torch.zeros`` of the default type.
    """
    import torch

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_default_dtype(default)


def _difference(got: FloatArray, want: FloatArray) -> float:
    """Largest difference, relative to outputs larger than one; infinite if not a number."""
    difference = float(np.max(np.abs(got - want)) / max(1.0, np.max(np.abs(want))))
    return difference if np.isfinite(difference) else np.inf


def _check_parts(parts: Sequence[Part]) -> str:
    """Compare each part with PyTorch's module of the same weights."""
    try:
        from torch import from_numpy, nn
    except ImportError:
        return "not compared with PyTorch: torch is not installed"
    largest = 0.0
    for part in parts:
        sizes = part.input_size, part.size
        with _float64():
            if part.linear:
                theirs: nn.Module = nn.Linear(*sizes, bias=part.bias)
            else:
                which = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[part.kind]
                form = {"nonlinearity": part.activation} if part.kind == "rnn" else {}
                theirs = which(*sizes, part.depth, bias=part.bias, batch_first=True, **form)
            theirs.load_state_dict({n: from_numpy(a) for n, a in part.tensors.items()})
            x = np.random.default_rng(0).standard_normal((SEQUENCES, STEPS, part.input_size))
            out = theirs(from_numpy(x))
        got = (out if part.linear else out[0]).numpy()
        plain = replace(part, activation="none") if part.linear else part
        layers = tuple(plain.layers("x", Counter()))
        difference = _difference(got, Model(part.input_size, layers).run(x))
        if difference > TOLERANCE:
            raise InputError(
                f"{part} differs from PyTorch by {difference:.3g}, the limit is {TOLERANCE}: "
                "are its weights far too large?"
            )
        largest = max(largest, difference)
    return f"each layer compared with PyTorch: largest difference {largest:.1e}"


def _softmax(kind: str, values: FloatArray) -> FloatArray:
    """Apply the dropped last module, to compare with what the module gives."""
    if not kind:
        return values
    values = values - values.max(axis=-1, keepdims=True)
    logarithm = values - np.log(np.exp(values).sum(axis=-1, keepdims=True))
    return np.exp(logarithm) if kind == "Softmax" else logarithm


def _check_module(module: torch.nn.Module, model: Model, softmax: str) -> str:
    """Compare the model with the module itself, whichever layout it takes and gives."""
    import torch

    x = np.random.default_rng(1).standard_normal((SEQUENCES, STEPS, model.input_size))
    want = _softmax(softmax, model.run(x))
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
            with _float64():
                theirs = copy.deepcopy(module).to("cpu", torch.float64).eval()
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
                difference = _difference(got.reshape(target.shape), target)
                if difference <= TOLERANCE:
                    return f"compared with the module, {note}: difference {difference:.1e}"
                closest = min(closest, difference)
            else:
                trouble = f"outputs of shape {got.shape} for inputs of shape {data.shape}"
    chain = f"the chain of its modules ({', '.join(layer.name for layer in model.layers)})"
    if closest < np.inf:
        raise InputError(
            f"{model.source}: forward is not {chain}: outputs differ by {closest:.3g}, the limit "
            f"is {TOLERANCE}. Register modules in the order of the data, with activations as "
            "modules, or import its parts one by one"
        )
    raise InputError(f"{model.source}: cannot be compared with {chain}: {trouble}")
