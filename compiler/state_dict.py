"""Names and shapes of PyTorch tensors as modules in a chain, without torch.

A :class:`Part` is one module that holds weights, under PyTorch's own tensor names.
:func:`recognize` cuts a state_dict into parts, :func:`arrange` puts them in the order of the
data, :func:`assemble` makes the model. Row order of the gates (r, z, n of a GRU; i, f, g, o
of an LSTM): documentation of ``torch.nn.GRU`` and ``torch.nn.LSTM``.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice, pairwise
from typing import Any

import numpy as np

from .errors import InputError
from .model import FloatArray, Layer, Linear, Model, Recurrent

__all__ = ["Part", "arrange", "assemble", "leave_out", "recognize", "unwrap"]

GATES = {"gru": "rzn", "lstm": "ifgo", "rnn": "n"}
VALUES_LIMIT = 1 << 28  # weights in one model; stops small files of views that pretend to be huge
PARTS_LIMIT = 64
SEARCH_LIMIT = 50_000  # starts of a chain that are looked at
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
HARD_SIGMOID_SLOPE = 1 / 6

_RECURRENT = re.compile(
    r"(?P<path>.*?[._/]|)(?P<name>(?:weight|bias)_(?:ih|hh|hr)(?:_l[0-9]{1,4})?(?:_reverse)?)"
)
_LINEAR = re.compile(r"(?P<path>.*\.|)(?P<name>weight|bias)")


@dataclass(frozen=True, eq=False)
class Part:
    """One module that holds weights.

    Parameters
    ----------
    path : str
        Its name in the file or in the parent module.
    kind : {'gru', 'lstm', 'rnn', 'linear'}
        Also the start of its layers' names.
    tensors : dict of str -> numpy.ndarray
        Weights by PyTorch's name; a cell's are named as a stack of one (``weight_ih_l0``).
    activation : str
        What follows a linear layer, or the nonlinearity of an RNN.
    """

    path: str
    kind: str
    tensors: dict[str, FloatArray]
    activation: str = "none"

    @property
    def linear(self) -> bool:
        """Whether it has no state."""
        return self.kind == "linear"

    @property
    def depth(self) -> int:
        """Number of layers."""
        return 1 if self.linear else sum(name.startswith("weight_hh") for name in self.tensors)

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.tensors["weight" if self.linear else "weight_ih_l0"].shape[1]

    @property
    def size(self) -> int:
        """Number of outputs, of a recurrent part the size of its state."""
        return self.tensors["weight"].shape[0] if self.linear else self.hidden

    @property
    def hidden(self) -> int:
        """Size of the state of a recurrent part."""
        return self.tensors["weight_hh_l0"].shape[1]

    @property
    def bias(self) -> bool:
        """Whether it has biases."""
        return any(name.startswith("bias") for name in self.tensors)

    def __str__(self) -> str:
        kind = self.kind if self.linear else self.kind.upper()
        return f"{self.path or 'unnamed'}: {kind} {self.input_size} -> {self.size}"

    def layers(self, reads: str, numbers: Counter[str]) -> Iterator[Layer]:
        """Yield the layers; ``reads`` names their input and ``numbers`` counts each kind."""
        for k in range(self.depth):
            name = f"{self.kind}{numbers[self.kind]}"
            numbers[self.kind] += 1
            if self.linear:
                weight, bias = self.tensors["weight"], self.tensors.get("bias")
                yield Linear(name, (reads,), weight, bias, self.activation, HARD_SIGMOID_SLOPE)
            else:
                yield Recurrent(
                    name,
                    self.kind,
                    (reads,),
                    size=self.hidden,
                    input_size=self.tensors[f"weight_ih_l{k}"].shape[1],
                    w=self._gates(f"weight_ih_l{k}"),
                    u=self._gates(f"weight_hh_l{k}"),
                    b=self._gates(f"bias_ih_l{k}"),
                    c=self._gates(f"bias_hh_l{k}"),
                    candidate=self.activation if self.kind == "rnn" else "tanh",
                )
            reads = name

    def _gates(self, name: str) -> dict[str, FloatArray]:
        """Cut the rows of a tensor into gates; a missing bias has none."""
        if name not in self.tensors:
            return {}
        gates = GATES[self.kind]
        return dict(zip(gates, np.split(self.tensors[name], len(gates)), strict=True))


def some(names: Sequence[str]) -> str:
    """List names for a message, not too many."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def understood(parts: Sequence[Part]) -> str:
    """Say which modules were recognized."""
    return f"understood: {some([str(part) for part in parts]) or 'nothing'}"


def unwrap(
    values: Mapping[str, Any], key: str | None, source: str
) -> tuple[Mapping[str, Any], list[str]]:
    """Find the state_dict inside a checkpoint, under ``key`` or a usual name."""
    notes: list[str] = []
    while True:
        held = [str(k) for k, v in values.items() if isinstance(v, Mapping)]
        nested = [k for k in held if k in NESTED]
        if key is not None and not notes:
            if key not in held:
                raise InputError(f"{source}: key={key!r} holds no state_dict; of {some(held)}")
            nested = [key]
        if len(nested) > 1:
            raise InputError(f"{source} holds several state_dicts, {nested}: choose one by key=")
        if not nested:
            return values, notes
        others = [str(k) for k in values if k != nested[0]]
        notes.append(f"read from {nested[0]!r}" + (f"; not used: {some(others)}" if others else ""))
        values = values[nested[0]]


def leave_out(
    values: Mapping[str, Any], ignore: Sequence[str], source: str
) -> tuple[dict[str, Any], list[str]]:
    """Drop the tensors that match a pattern; a pattern that matches none is a mistake."""
    kept = {str(name): value for name, value in values.items()}
    notes = []
    for pattern in ignore:
        dropped = [name for name in kept if fnmatchcase(name, pattern)]
        if not dropped:
            raise InputError(f"{source}: ignore={pattern!r} matches none of: {some(list(kept))}")
        notes.append(f"ignored, not part of the model: {some(dropped)}")
        kept = {name: value for name, value in kept.items() if name not in dropped}
    return kept, notes


def recognize(
    values: Mapping[str, Any], source: str = "state_dict", nonlinearity: str = "tanh"
) -> list[Part]:
    """Group tensors by module, in the order of their keys.

    Parameters
    ----------
    values : mapping of str -> array or torch.Tensor
        Recurrent: ``weight_ih_l{k}`` (GH, I), ``weight_hh_l{k}`` (GH, H) with G = 3 (GRU),
        4 (LSTM) or 1 (RNN), biases (GH,); cells without ``_l{k}``. Linear: ``weight`` (O, I).
    source : str
        For messages.
    nonlinearity : {'tanh', 'relu'}
        Of plain RNNs.

    Raises
    ------
    InputError
        A tensor that belongs to no supported module is refused by name.
    """
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    left: dict[str, Any] = {}
    for key, value in values.items():
        _refuse_without_values(key, value)
        recurrent = _RECURRENT.fullmatch(key)
        match = recurrent or _LINEAR.fullmatch(key)
        if match is None or _shape(value) is None:
            left[key] = value
        else:
            groups.setdefault((match["path"], recurrent is not None), {})[match["name"]] = value
    shapes = [_shape(value) or () for group in groups.values() for value in group.values()]
    if (count := sum(math.prod(shape) for shape in shapes)) > VALUES_LIMIT:
        raise InputError(f"{source} holds {count} weights; the limit is {VALUES_LIMIT}")
    parts = []
    for (prefix, is_recurrent), group in groups.items():
        if is_recurrent:
            parts.append(_recurrent(prefix, group, nonlinearity))
        elif len(_shape(group.get("weight")) or ()) == 2:
            arrays = {name: _array(prefix + name, value) for name, value in group.items()}
            parts.append(Part(prefix.rstrip("."), "linear", arrays))
        else:
            left |= {prefix + name: value for name, value in group.items()}
    if left:
        raise InputError(
            f"{source}: not understood: {some([_why(key, left[key]) for key in left])}; "
            f"{understood(parts)}. Supported are GRU, LSTM, RNN and linear layers in one chain; "
            "to import the rest of a model without these, name them in ignore="
        )
    if not parts:
        raise InputError(f"{source} holds no weights: save the state_dict of a model")
    if len(parts) > PARTS_LIMIT:
        raise InputError(f"{source} holds {len(parts)} modules; the limit is {PARTS_LIMIT}")
    return parts


def _loaded_torch() -> Any:
    """Give torch without importing it: a tensor can only come from a torch that is loaded."""
    return sys.modules.get("torch")


def _refuse_without_values(name: str, value: Any) -> None:
    torch = _loaded_torch()
    if torch is not None and isinstance(value, torch.Tensor):
        if torch.nn.parameter.is_lazy(value) or value.is_meta:
            raise InputError(f"{name} has no values yet: run the model once, then import it")


def _shape(value: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _why(key: str, value: Any) -> str:
    """Name a leftover and what it looks like."""
    shape = _shape(value)
    if shape is None:
        return f"{key} (no tensor: {type(value).__name__})"
    if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
        return f"{key} (batch normalization)"
    if len(shape) > 2:
        return f"{key} {shape} (convolution)"
    return f"{key} {shape}" + (" (normalization)" if key.endswith("weight") else "")


def _array(name: str, value: Any) -> FloatArray:
    """Convert one tensor of a floating-point type to float64."""
    torch = _loaded_torch()
    if torch is not None and isinstance(value, torch.Tensor):
        if value.is_quantized or not value.is_floating_point():
            raise InputError(f"{name} is of type {value.dtype}: weights must be floating point")
        array = value.detach().to_dense().to("cpu", torch.float64).numpy().copy()
    else:
        array = np.asarray(value)
        if array.dtype.kind != "f":
            raise InputError(f"{name} is of type {array.dtype}: weights must be floating point")
        array = array.astype(np.float64)
    if 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}: a size of zero is not supported")
    return array


def refuse_bidirectional(path: str) -> None:
    """Refuse by name what reads a sequence from its end."""
    raise InputError(
        f"{path or 'the model'} is bidirectional: it needs the end of a sequence before its start, "
        "which a stream does not have; train with bidirectional=False"
    )


def refuse_projection(path: str) -> None:
    """Refuse by name an LSTM whose state is not its output."""
    raise InputError(
        f"{path or 'the model'} projects its state (weight_hr): train with proj_size=0 and, "
        "if it must be small, a smaller hidden_size"
    )


def _recurrent(prefix: str, group: Mapping[str, Any], nonlinearity: str) -> Part:
    """Check names and shapes of one GRU, LSTM or RNN, or of a cell."""
    path = prefix.rstrip("._/")
    if any(name.endswith("_reverse") for name in group):
        refuse_bidirectional(path)
    if any(name.startswith("weight_hr") for name in group):
        refuse_projection(path)
    arrays = {
        name if "_l" in name else f"{name}_l0": _array(prefix + name, value)
        for name, value in group.items()
    }
    depth = 1 + max(int(name.rpartition("_l")[2]) for name in arrays)
    what = ("weight", "bias") if any(name.startswith("bias") for name in arrays) else ("weight",)
    expected = [f"{w}_{side}_l{k}" for k in range(depth) for w in what for side in ("ih", "hh")]
    if sorted(expected) != sorted(arrays) or len(arrays) != len(group):
        missing = [name for name in expected if name not in arrays]
        wrong = some(missing) or some(list(group))
        raise InputError(f"{path or 'recurrent layer'}: {wrong} is missing or there twice")
    rows, h = (*arrays["weight_hh_l0"].shape, 1, 1)[:2]
    kind = next((kind for kind, gates in GATES.items() if rows == len(gates) * h), None)
    if kind is None:
        raise InputError(
            f"{prefix}weight_hh_l0 has shape {arrays['weight_hh_l0'].shape}; known are (3H, H) of "
            "a GRU, (4H, H) of an LSTM and (H, H) of an RNN"
        )
    i = arrays["weight_ih_l0"].shape[-1]
    for name in expected:
        columns = () if name.startswith("bias") else (i,) if name == "weight_ih_l0" else (h,)
        if arrays[name].shape != (rows, *columns):
            raise InputError(
                f"{prefix}{name} has shape {arrays[name].shape}, expected {(rows, *columns)}"
            )
    return Part(path, kind, arrays, nonlinearity if kind == "rnn" else "none")


def _before(a: Part, b: Part) -> bool:
    """Whether numbered siblings (``cells.0``, ``cells.1``) put ``a`` before ``b``."""
    (parent_a, _, last_a), (parent_b, _, last_b) = (p.path.rpartition(".") for p in (a, b))
    numbered = last_a.isdecimal() and last_b.isdecimal() and parent_a == parent_b
    return numbered and (len(last_a), last_a) < (len(last_b), last_b)


def _chains(done: tuple[Part, ...], rest: list[Part]) -> Iterator[tuple[Part, ...]]:
    """Yield each order that chains and each start of one, so that a search can be bounded."""
    yield done
    for part in rest:
        fits = not done or done[-1].size == part.input_size
        if fits and not any(_before(other, part) for other in rest):
            yield from _chains((*done, part), [other for other in rest if other is not part])


def arrange(
    parts: list[Part], ordered: bool, order: Sequence[str] | None, source: str
) -> tuple[list[Part], list[str]]:
    """Put parts in the order of the data.

    Parameters
    ----------
    parts : list of Part
    ordered : bool
        Whether the given order means something; it is then taken if it chains.
    order : sequence of str, optional
        The order by path, from the user.
    source : str
        For messages.

    Returns
    -------
    (parts, notes)

    Raises
    ------
    InputError
        No order chains by its sizes, or several do and none is to be preferred.
    """
    if order is not None:
        named = {part.path: part for part in parts}
        if sorted(order) != sorted(part.path for part in parts):
            raise InputError(f"{source}: order={list(order)} must name each of {list(named)} once")
        return [named[path] for path in order], []
    search = islice(_chains((), parts), SEARCH_LIMIT)
    found = [list(chain) for chain in search if len(chain) == len(parts)]
    if ordered and all(a.size == b.input_size for a, b in pairwise(parts)):
        note = "order of the modules: as in the file; others would fit too (order=)"
        return parts, [note] if len(found) > 1 else []
    if not found:
        raise InputError(
            f"{source}: the modules make no chain by their sizes; {understood(parts)}. Name the "
            "tensors that are not part of the chain in ignore="
        )
    if len(found) > 1:
        raise InputError(
            f"{source}: the modules fit in more than one order; {understood(parts)}. "
            f"Give the right one, such as order={[part.path for part in found[0]]}"
        )
    return found[0], [] if found[0] == parts else ["order of the modules: by their sizes"]


def assemble(parts: Sequence[Part], source: str, notes: Sequence[str] = ()) -> Model:
    """Make the model, with a line of notes on each part."""
    numbers: Counter[str] = Counter()
    layers: list[Layer] = []
    lines = []
    for part in parts:
        made = list(part.layers(layers[-1].name if layers else "x", numbers))
        layers += made
        lines.append(_describe(part, [layer.name for layer in made]))
    return Model(parts[0].input_size, tuple(layers), source=source, notes=(*lines, *notes))


def _describe(part: Part, names: Sequence[str]) -> str:
    where = f" ({part.path})" if part.path else ""
    bias = "bias" if part.bias else "no bias"
    form = {
        "gru": ", PyTorch order r,z,n, reset after",
        "lstm": ", PyTorch order i,f,g,o",
        "rnn": f", {part.activation}",
        "linear": "" if part.activation == "none" else f", then {part.activation}",
    }[part.kind]
    depth = "" if part.linear else f"{part.depth} layer{'s' * (part.depth > 1)}, "
    return (
        f"{', '.join(names)}{where}: {part.kind}, {depth}{part.input_size} -> {part.size}, "
        f"{bias}{form}"
    )
