"""The form of a ``program.json``, and of the arrays beside it, checked before either is used.

What is checked here bounds the work of everything after it: no size is believed that the arrays in
``weights.npz`` do not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..arrays import IntArray
from ..config import LANES_MAX
from ..files.budget import spend
from ..ir.cells import CELLS, LINEAR_GATE
from ..layout.geometry import BEATS, WIDEST

__all__ = ["check_arrays", "check_chain", "check_program"]

LAYERS_LIMIT = 256
WEIGHT_BYTES, ROW_BYTES = 64, 1024
"""Memory that a weight and a row take while a program is laid out; its time is in proportion."""
ENTRIES_LIMIT = 1 << 20
BIAS_LIMIT = 1 << 62

Check = Callable[[Any, str], object]


def _fail(where: str, value: Any, wanted: str) -> ValueError:
    return ValueError(f"{where} is {str(value)[:60]}, expected {wanted}")


def whole(low: int, high: int) -> Check:
    """Return a check for integers of a range."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _fail(where, value, f"a whole number from {low} to {high}")

    return check


def real(value: Any, where: str) -> None:
    """Check for a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _fail(where, value, "a finite number")


def text(value: Any, where: str) -> None:
    """Check for a name or another short text."""
    if not isinstance(value, str) or len(value) > 1024:
        raise _fail(where, value, "a text of up to 1024 characters")


def flag(value: Any, where: str) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise _fail(where, value, "true or false")


def table(value: Any, where: str) -> None:
    """Check for an object of any entries, by name."""
    if not isinstance(value, dict) or len(value) > ENTRIES_LIMIT:
        raise _fail(where, value, "an object")


def items(check: Check, low: int, high: int) -> Check:
    """Return a check for lists of a range of lengths."""

    def inner(value: Any, where: str) -> None:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise _fail(where, value, f"a list of {low} to {high} entries")
        for k, entry in enumerate(value):
            check(entry, f"{where}[{k}]")

    return inner


def named(check: Check) -> Check:
    """Return a check for objects whose entries are all of one form."""

    def inner(value: Any, where: str) -> None:
        table(value, where)
        for key, entry in value.items():
            check(entry, f"{where}.{key[:40]}")

    return inner


def entries(optional: tuple[str, ...] = (), /, **checks: Check) -> Check:
    """Return a check for objects with these entries; others are not looked at."""

    def inner(value: Any, where: str) -> None:
        table(value, where)
        for key, check in checks.items():
            if key in value:
                check(value[key], f"{where}.{key}" if where else key)
            elif key not in optional:
                raise ValueError(f"{where or 'the file'} has no {key}")

    return inner


SIZE = whole(1, 1 << 20)
FRAC = whole(-1024, 1024)
NAMES = items(text, 1, LAYERS_LIMIT)
PLACE = items(whole(0, 1 << 60), 2, 2)
QUALITY: dict[str, Check] = {
    "error": entries(max=real, mean=real), "saturations": named(PLACE), "calibration": text,
    "clipping": entries(moved=real, max=real, mean=real, max_without=real, mean_without=real),
}  # fmt: skip
"""What the quantizer measured: the one part of a summary that cannot be made anew."""


def summary(value: Any, where: str) -> None:
    """Check a summary: of the figures that were measured all or none are there."""
    table(value, where)
    if any(name in value for name in QUALITY):
        entries(("clipping",), **QUALITY)(value, where)
        if value["calibration"] not in ("data", "synthetic"):
            raise _fail(f"{where}.calibration", value["calibration"], "data or synthetic")


INPUT = entries(
    size=SIZE,
    format=entries(("signed",), bits=whole(1, 64), frac=FRAC, signed=flag),
    exponents=items(FRAC, 0, 1 << 20),
)
BASE: dict[str, Check] = {"config": table, "input": INPUT, "outputs": NAMES, "digest": text}
LAYER = entries(
    name=text, cell=text, size=SIZE, inputs=NAMES, frac=FRAC,
    activations=named(text), weight_bits=named(whole(0, 16)),
)  # fmt: skip
WIDTH = whole(1, 64)
NUMBERS = entries(
    ("threshold_input", "threshold"),
    weight_bits=WIDTH, activation_bits=WIDTH, state_bits=WIDTH, gate_bits=WIDTH,
    activation=text, slope=real, sum_shift=whole(-64, 64), hidden_shift=whole(-64, 64),
    hidden_bits=WIDTH, cell_bits=WIDTH, cell_frac=whole(-64, 64),
    threshold_input=whole(-1, 1 << 16), threshold=whole(-1, 1 << 16),
)  # fmt: skip
HARDWARE = entries(
    acc_bits=WIDTH, sum_bits=WIDTH, layout=named(items(whole(-(1 << 62), 1 << 62), 5, 5))
)
GEOMETRY = entries(lanes=whole(1, LANES_MAX), split=whole(1, WIDEST), beat=whole(1, BEATS[-1]))
PROGRAM = entries(
    ("summary", "hardware"), **BASE, summary=summary, hardware=HARDWARE, numbers=NUMBERS,
    geometry=GEOMETRY, layers=items(LAYER, 1, LAYERS_LIMIT),
)  # fmt: skip
STAGE = entries(digest=text, reads=NAMES, reverse=flag, hands_out=NAMES)
CHAIN = entries(("summary",), **BASE, summary=summary, passes=items(STAGE, 0, LAYERS_LIMIT))


def check_program(data: Mapping[str, Any]) -> None:
    """Check the ``program.json`` of a program; ValueError names the entry that is wrong."""
    PROGRAM(data, "")
    names = [layer["name"] for layer in data["layers"]]
    for k, layer in enumerate(data["layers"]):
        unknown = set(layer["inputs"]) - {"x", *names[:k]}
        if unknown or names[k] in ("x", *names[:k]):
            raise ValueError(f"layer {names[k]!r} reads {sorted(unknown)}, or is there twice")
    if set(data["outputs"]) - set(names):
        raise ValueError(f"outputs {data['outputs'][:8]} are of no layer")


def check_chain(data: Mapping[str, Any]) -> None:
    """Check the ``program.json`` of a chain; ValueError names the entry that is wrong."""
    CHAIN(data, "")


def check_arrays(data: Mapping[str, Any], arrays: Mapping[str, IntArray]) -> None:
    """Compare the arrays with the sizes that ``program.json`` states.

    Raises
    ------
    ValueError
        One is missing, is not of integers or of another shape, or a value is out of range.
    """
    sizes = {"x": data["input"]["size"]} | {x["name"]: x["size"] for x in data["layers"]}
    known: set[str] = set()
    weights = 0
    for layer in data["layers"]:
        cell, size = layer["cell"], layer["size"]
        if cell != "linear" and cell not in CELLS:
            return  # refused by name where it is built
        gates = (LINEAR_GATE,) if cell == "linear" else CELLS[cell].gates
        inputs = sum(sizes[name] for name in layer["inputs"])
        for gate in gates:
            shapes: dict[str, tuple[int, ...]] = {
                name: (size,)
                for name in (
                    "w_frac", "u_frac", "shift_input", "shift_recurrent", "bias_input",
                    "bias_recurrent",
                )
            }  # fmt: skip
            if gate.source == "acc":
                shapes |= {"w": (size, inputs)} if gate.input else {}
                shapes |= {"u": (size, size)} if gate.recurrent else {}
            for name, shape in shapes.items():
                key = f"{layer['name']}/{gate.name}/{name}"
                if key not in arrays:
                    raise ValueError(f"weights.npz has no {key}")
                _check_array(key, name, arrays[key], shape)
                known.add(key)
                weights += math.prod(shape) if name in "wu" else 0
    rows = sum(x["size"] * len(x["activations"]) for x in data["layers"])
    spend(WEIGHT_BYTES * weights + ROW_BYTES * rows, f"a program of {weights:,} weights")
    if set(arrays) - known:
        raise ValueError(f"weights.npz holds {sorted(set(arrays) - known)[0][:80]} besides")


def _check_array(key: str, name: str, array: IntArray, shape: tuple[int, ...]) -> None:
    if array.dtype.kind != "i" or array.shape != shape:
        raise ValueError(f"{key} is {array.dtype} of shape {array.shape}, expected {shape}")
    low, high = {
        "shift_input": (0, 62), "shift_recurrent": (0, 62), "w_frac": (-1024, 1024),
        "u_frac": (-1024, 1024),
    }.get(name, (-BIAS_LIMIT, BIAS_LIMIT))  # fmt: skip
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ValueError(f"{key} holds values from {array.min()} to {array.max()}")
