"""Modules by what their ``forward`` computes: ``torch.export``, and wrappers taken off.

torch is imported only inside functions.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..ir.model import Model
from .aten import translate
from .export_check import check_file, check_forward
from .format import Format
from .pt2 import Exported, read_pt2
from .pytorch_check import copy_of, float64

if TYPE_CHECKING:
    import torch

__all__ = ["FORMAT", "advice", "from_example", "load_pt2", "unwrap_module"]

UNCHECKED = "warning: not compared: check is off"
WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module",
            "AveragedModel": "module"}  # fmt: skip


def load_pt2(path: Path, *, check: bool = True) -> Model:
    """Read a file of ``torch.export.save``.

    Parameters
    ----------
    path : Path
        Loading runs no code of the file and unpickles nothing; see :mod:`.pt2`.
    check : bool
        Compare with the file's operators, run one by one by PyTorch in float64, where it is installed.

    Raises
    ------
    InputError
        The file is damaged, or an operator is not supported, by name.
    CheckError
        The import computes something else.
    """
    exported = read_pt2(path, path.name)
    model, output, walk = translate(exported, path.name)
    length = f"its forward was exported for {walk.graph.steps} steps; the core takes any number"
    compared = check_file(exported, model, output, walk) if check else UNCHECKED
    return _noted(model, exported, [length], compared)


def from_example(module: torch.nn.Module, example: Any, *, check: bool = True) -> Model:
    """Read what ``forward`` computes for an example input.

    Parameters
    ----------
    module : torch.nn.Module
        It is not changed. Parametrizations, weight norm and pruning masks are multiplied out.
    example : torch.Tensor or array
        Any input of the right shape, at least two steps long: ``torch.zeros(1, 5, 3)``.
    check : bool
        Compare with the module itself in float64, also on longer sequences, within 1e-6.

    Raises
    ------
    InputError
        ``torch.export`` cannot trace forward, or an operator is not supported, by name.
    CheckError
        The import computes something else.
    """
    import torch

    source = type(module).__name__
    inner, notes = unwrap_module(module)
    given = example[0] if isinstance(example, (tuple, list)) and len(example) == 1 else example
    if isinstance(given, (tuple, list)):
        raise InputError(
            f"{source}: the example has {len(given)} inputs; one x is supported. Wrap the module in "
            "one whose forward takes x alone and starts from zero states"
        )
    try:
        x = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{source}: the example is no tensor: {error}") from None
    if x.is_floating_point():
        x = x.to("cpu", torch.float64)
    file = io.BytesIO()
    try:
        with float64(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = copy_of(inner).to(torch.float64)
            torch.export.save(torch.export.export(plain, (x,)), file)
    except Exception as error:  # forward is the user's code, and export has many errors
        line = next((t.strip() for t in str(error).splitlines() if t.strip()), type(error).__name__)
        raise InputError(
            f"{source}: torch.export cannot follow its forward with an example of shape "
            f"{tuple(x.shape)}: {line[:200]}"
        ) from None
    exported = read_pt2(file, source)
    model, output, walk = translate(exported, source)
    compared = check_forward(module, model, output, walk) if check else UNCHECKED
    return _noted(model, exported, notes, compared)


def _noted(model: Model, exported: Exported, notes: list[str], compared: str) -> Model:
    """Add notes on what was read and, last, what it was compared with."""
    more = len(exported.others)
    rest = (
        [f"the first result is read; {more} more tensors that it returns are not"] if more else []
    )
    return replace(model, notes=(*model.notes, *notes, *rest, compared))


def unwrap_module(module: torch.nn.Module) -> tuple[torch.nn.Module, list[str]]:
    """Take off wrappers and multiply parametrizations out, on a copy where anything changes.

    Returns
    -------
    (module, notes)

    Raises
    ------
    InputError
        TorchScript, or layers that PyTorch has quantized.
    """
    import torch
    from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    notes = []
    while (attribute := WRAPPERS.get(type(module).__name__)) and hasattr(module, attribute):
        notes.append(f"taken out of {type(module).__name__}")
        module = getattr(module, attribute)
    for name, one in module.named_modules():
        label = f"{name or 'the model'} ({type(one).__name__})"
        if isinstance(one, torch.jit.ScriptModule):
            raise InputError(f"{label} is TorchScript; give the Python module itself, or save its weights by "
                             "torch.save(net.state_dict(), 'net.pt')")  # fmt: skip
        if ".quantized" in type(one).__module__:
            raise InputError(f"{label} was quantized by PyTorch; give the float model from before")
    remove = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}
    hooks = (prune.BasePruningMethod, *remove)

    def hidden(one: torch.nn.Module) -> list[Any]:
        return [hook for hook in one._forward_pre_hooks.values() if isinstance(hook, hooks)]

    def changed(one: torch.nn.Module) -> bool:
        return (
            parametrize.is_parametrized(one) or bool(hidden(one)) or type(one).__name__ in WRAPPERS
        )

    if not any(changed(one) for one in module.modules()):
        return module, notes
    module = copy_of(module).to(torch.float64)
    for name, one in list(module.named_modules()):
        if type(one).__name__ in WRAPPERS:
            notes.append(f"{name}: taken out of {type(one).__name__}")
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, getattr(one, WRAPPERS[type(one).__name__]))
    for name, one in module.named_modules():
        if parametrize.is_parametrized(one):
            # Removal changes the class, which the copy shares with the user's module: give it its own.
            own = {k: v for k, v in vars(type(one)).items() if k not in ("__dict__", "__weakref__")}
            one.__class__ = type(type(one).__name__, type(one).__bases__, own)
            for tensor in list(one.parametrizations):  # type: ignore[union-attr, arg-type]
                notes.append(f"{name}.{tensor}: its parametrization is multiplied out")
                parametrize.remove_parametrizations(one, tensor)
        for hook in hidden(one):
            notes.append(f"{name}: {type(hook).__name__} is multiplied out")
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(one, hook._tensor_name)
            else:
                remove[type(hook)](one, hook.name)
    return module, notes


def advice(module: torch.nn.Module) -> str:
    """Say how to give an example input."""
    from torch import nn

    shape = "1, 5, I"
    for one in module.modules():
        if isinstance(one, nn.Embedding):
            shape = "1, 5, dtype=torch.long"
            break
        if isinstance(one, nn.RNNBase):
            shape = f"1, 5, {one.input_size}" if one.batch_first else f"5, 1, {one.input_size}"
            break
        if isinstance(one, (nn.Linear, nn.RNNCellBase)):
            shape = f"1, 5, {getattr(one, 'in_features', 0) or getattr(one, 'input_size', 'I')}"
            break
    return (
        f"give an example input, so that forward itself is read: gw.load(net, torch.zeros({shape}))"
    )


FORMAT = Format(
    "torch.export.save: the module's own forward; code in it is never run", (".pt2",), "", load_pt2
)
