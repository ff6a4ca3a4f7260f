"""Comparison of an exported forward with what it computes, in float64 on random sequences.

The reference is the user's own module, or for a file the file's operators run one by one by
PyTorch: neither has passed through the reader's folds. torch is imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arrays import FloatArray
from ..errors import CheckError, InputError
from ..ir.model import Model
from .aten import OPERATORS
from .aten_layout import LAYOUT
from .aten_walk import Walk
from .graph_output import Output
from .pt2 import Exported, Name
from .pytorch_check import copy_of, float64

if TYPE_CHECKING:
    import torch

__all__ = ["check_file", "check_forward"]

TOLERANCE = 1e-6  # relative to the largest output
SMALLEST = 1e-9  # outputs that are all below it are compared as if they were so large
LONGER = 3  # steps more than the example, in a second comparison
FLOATS, INTEGERS = (6, 7, 8, 13), (1, 2, 3, 4, 5)


def check_forward(module: torch.nn.Module, model: Model, output: Output, walk: Walk) -> str:
    """Compare with the module's own forward, on sequences of the example's length and of more steps."""
    import torch

    def forward(x: npt.NDArray[Any]) -> FloatArray:
        with float64():
            out: Any = copy_of(module).to(torch.float64)(torch.from_numpy(x))
        while not isinstance(out, torch.Tensor):
            out = next(iter(out.values() if isinstance(out, Mapping) else out))
        return np.asarray(out.to(torch.float64).numpy())

    steps = walk.graph.steps
    x = _random(walk, model, steps)
    note = _compare(model, output, walk, x, steps, forward(x), "the module's own forward")
    x = _random(walk, model, steps + LONGER)
    elements = output.at_length(walk.graph.sequences, steps, steps + LONGER)
    try:
        got = forward(x)
    except Exception:  # forward is the user's code, and may be made for one length
        got = None
    if got is None or elements is None:
        return f"{note}; made for sequences of {steps} steps, the example's"
    try:
        return _compare(
            model, Output(output.features, output.softmax, output.steps, elements), walk, x,
            steps + LONGER, got, "the module's own forward",
        )  # fmt: skip
    except CheckError as error:
        raise CheckError(f"{error}, with {LONGER} steps more than the example: forward depends on the "
                         "length; let it loop over x.shape[1] steps") from None  # fmt: skip


def check_file(exported: Exported, model: Model, output: Output, walk: Walk) -> str:
    """Compare with the file's operators, run by PyTorch; its pickled example stays unread."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return "warning: not compared with PyTorch: torch is not installed"
    x = _random(walk, model, walk.graph.steps)
    return _compare(
        model, output, walk, x, walk.graph.steps, _interpret(exported, x),
        "the file's operators, run one by one by PyTorch",
    )  # fmt: skip


def _random(walk: Walk, model: Model, steps: int) -> npt.NDArray[Any]:
    """Draw an input in the layout of the example."""
    shape = [steps if k == walk.time else n for k, n in enumerate(walk.exported.shape)]
    rng = np.random.default_rng(1)
    return rng.integers(0, model.input_size, shape) if walk.hot else rng.standard_normal(shape)


def _compare(
    model: Model, output: Output, walk: Walk, x: npt.NDArray[Any], steps: int, want: FloatArray, who: str
) -> str:  # fmt: skip
    """Return a note, or raise a CheckError that says where the difference begins."""
    data = walk.sequences(x, model.input_size)
    got = output.expected(model.run(data))
    if got.shape != want.shape:
        raise CheckError(f"{model.source}: outputs of shape {got.shape}, of {who} {want.shape}")
    largest = max(float(np.abs(want).max()), SMALLEST)
    difference = np.abs(got - want) / largest
    step = output.elements % steps
    # Rounding that grows from step to step is the network's own: seen by a last bit of x.
    moved = output.expected(model.run(data * (1 + 2.0**-52)))
    noise = np.zeros(steps)
    np.maximum.at(noise, step.ravel(), (np.abs(moved - got) / largest).ravel())
    bound = np.maximum(TOLERANCE, 100 * np.maximum.accumulate(noise))
    wrong = ~(difference <= bound[step])
    if wrong.any():
        first = int(step[wrong].min())
        raise CheckError(
            f"{model.source}: the import differs from {who} by {np.nanmax(difference):.3g} of the largest "
            f"output, the limit is {TOLERANCE:g}; the difference begins at step {first}; please report it"
        )
    worst = float(difference.max())
    text = f"compared with {who} in float64, {steps} steps: difference {worst:.1e}"
    return text + (
        f", which is the network's own growth of rounding errors ({noise.max():.1e})"
        if worst > TOLERANCE
        else ""
    )


def _interpret(exported: Exported, x: npt.NDArray[Any]) -> FloatArray:
    """Run the operators in float64; only operators that the reader knows."""
    import torch

    values: dict[str, Any] = {n: torch.from_numpy(np.array(t)) for n, t in exported.tensors.items()}
    values[exported.input] = torch.from_numpy(x)

    def value(argument: Any) -> Any:
        if isinstance(argument, Name):
            return values[argument]
        return [value(a) for a in argument] if isinstance(argument, list) else argument

    def convert(code: int) -> Any:
        return torch.float64 if code in FLOATS else torch.int64 if code in INTEGERS else torch.bool

    with float64():
        for operator in exported.operators:
            base, _, overload = operator.name.partition(".")
            if not {operator.name, operator.name.replace("_.", ".", 1)} & {*LAYOUT, *OPERATORS}:
                raise CheckError(f"{operator.name} is not an operator that is run")
            arguments = {
                key: convert(a) if key == "dtype" and a is not None else value(a)
                for key, a in operator.arguments.items()
                if key not in ("device", "layout", "memory_format", "pin_memory")
            }
            if base == "_assert_tensor_metadata":
                continue
            try:
                result = getattr(getattr(torch.ops.aten, base), overload)(**arguments)
            except (AttributeError, RuntimeError, TypeError, ValueError, IndexError) as error:
                line = str(error).partition("\n")[0]
                raise InputError(
                    f"{operator.place}: PyTorch refuses {operator.name}: {line}"
                ) from None
            results = result if isinstance(result, (list, tuple)) else [result]
            values.update(zip(operator.outputs, results, strict=False))
    return np.asarray(values[exported.output].to(torch.float64).numpy())
