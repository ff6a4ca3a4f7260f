"""PyTorch models: a state_dict or a module, each compared with PyTorch itself.

torch is imported only where a module is given or a result is checked; a state_dict of
plain arrays is read without it. What names and shapes mean is in :mod:`.state_dict`, the
chain of layers in :mod:`.parts`, the comparison in :mod:`.pytorch_check`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..ir.model import Model
from .parts import Part, assemble
from .pytorch_check import NotTheChain, check_module, check_parts
from .pytorch_export import advice, from_example, unwrap_module
from .state_dict import recognize, refuse_projection

if TYPE_CHECKING:
    import torch

__all__ = ["from_module"]

ACTIVATIONS = {
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "ReLU": "relu",
    "Hardtanh": "hard_tanh",
    "Hardsigmoid": "hard_sigmoid",
}
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
NOTHING = ("Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "AlphaDropout",
           "QuantStub", "DeQuantStub")  # fmt: skip
FORWARD_ONLY = ("Embedding", "BatchNorm1d")  # known where forward itself is read
SOFTMAX = ("Softmax", "LogSoftmax")


def from_module(module: torch.nn.Module, example: Any = None, *, check: bool = True) -> Model:
    """Read a module: what its forward computes for an example, or the chain of its children.

    Parameters
    ----------
    module : torch.nn.Module
        ``GRU``, ``LSTM``, ``RNN``, their cells, ``Linear``, or any container of these and of
        activations: a ``Sequential`` or a class of your own. It is not changed. Wrappers
        (``torch.compile``, ``DataParallel``) are taken off, weight norm, other parametrizations
        and pruning masks are multiplied out.
    example : torch.Tensor or array, optional
        An input, such as ``torch.zeros(1, 5, 3)``. With it ``forward`` is traced by
        ``torch.export``, so that sums, normalization, functional activations and states are
        seen. Without it the children are taken in the order of their registration.
    check : bool
        Compare with the module itself in float64 on random sequences: within 1e-6 with an example,
        1e-5 without. A class of your own can compute anything in ``forward``; without an example
        only this shows that it is the chain of its children.

    Raises
    ------
    InputError
        A child or an operator is not supported (named), or forward is not the chain.
    CheckError
        What was read of an example computes something else.
    """
    if example is not None:
        return from_example(module, example, check=check)
    inner, unwrapped = unwrap_module(module)
    source = type(inner).__name__
    found = _Found(check)
    try:
        found.add(inner, "")
        if not found.parts:
            raise InputError(f"{source} holds no GRU, LSTM, RNN or Linear module")
        for before, after in zip(found.parts, found.parts[1:], strict=False):
            if before.size != after.input_size:
                raise NotTheChain(
                    f"{source}: its modules make no chain in the order of their registration: "
                    f"{before}, then {after}"
                )
        model = assemble(found.parts, source)
        notes = [*unwrapped, *found.notes]
        if check:
            notes += [check_parts(found.parts), check_module(module, model, found.softmax)]
        else:
            notes.append("not compared with PyTorch: check is off")
    except NotTheChain as error:
        raise InputError(f"{error}; {advice(inner)}") from None
    return replace(model, notes=(*model.notes, *notes))


@dataclass
class _Found:
    """Finds of a walk over a module's children, in order.

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
        own_part = getattr(module, "gatewright_part", None)  # modules of .qat say what they are
        if own_part is not None or isinstance(module, (nn.RNNBase, nn.RNNCellBase, nn.Linear)):
            self._refuse_after_softmax(label)
            self.parts.append(own_part(path) if own_part else _part(module, path))
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
            if kind in FORWARD_ONLY:
                raise NotTheChain(f"{label} is not supported in a chain of modules")
            raise InputError(
                f"{label} is not supported; use GRU, LSTM, RNN, their cells, Linear, "
                f"{', '.join(ACTIVATIONS)}, Dropout, Identity and Sequential"
            )

    def _container(self, module: torch.nn.Module, path: str, label: str) -> None:
        own = [name for name, value in module._parameters.items() if value is not None]
        if own:
            raise NotTheChain(
                f"{label} holds parameters of its own, {', '.join(own)}; only those of GRU, LSTM, "
                "RNN and Linear are understood"
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
            raise NotTheChain(f"{label} comes before any layer")
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
    if getattr(module, "proj_size", 0):
        refuse_projection(path)
    prefix = f"{path}." if path else ""
    values = {prefix + name: value for name, value in module.state_dict().items()}
    nonlinearity = getattr(module, "nonlinearity", "tanh")
    (part,) = recognize(values, f"{path or 'the model'} ({type(module).__name__})", nonlinearity)
    return part
