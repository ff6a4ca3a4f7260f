"""Names of tensors that say: this file needs another reading than its shapes allow.

Halves of a re-parametrization, masks, quantized weights, recurrences made of linear layers, and
embeddings are refused by name, each with its way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import InputError
from .parts import Part, some

__all__ = ["embedding", "recurrence", "refuse_rewritten", "why"]

_SAVE = "then save model.state_dict() again"
REWRITTEN = (
    (
        r"(?P<at>.*?)\.?(?P<w>weight\w*)_(g|v)",
        "weight normalization: call torch.nn.utils.remove_weight_norm(module, '{w}') on {at}, "
        + _SAVE,
    ),
    (
        r"(?P<at>.*?)\.?parametrizations\.(?P<w>\w+)\.(original\d*|\d+\..*)",
        "a parametrization: call torch.nn.utils.parametrize.remove_parametrizations(module, '{w}') "
        "on {at}, " + _SAVE,
    ),
    (
        r"(?P<at>.*?)\.?(?P<w>weight\w*|bias\w*)_mask",
        "pruning: call torch.nn.utils.prune.remove(module, '{w}') on {at}, " + _SAVE,
    ),
    (
        r"(?P<at>.*?)\.?(?P<w>weight\w*)_(u|v|orig)",
        "spectral normalization or pruning: call torch.nn.utils.remove_spectral_norm(module, '{w}') "
        "or torch.nn.utils.prune.remove(module, '{w}') on {at}, " + _SAVE,
    ),
    (
        r"(?P<at>.*?)\.?(_packed_params.*|_all_weight_values.*|(?P<w>zero_point))",
        "quantized by PyTorch: give the state_dict of the float model from before that",
    ),
    (
        r"(?P<at>.*?)\.?(?P<w>n_averaged)",
        "the counter of an averaged model: leave it out by ignore='n_averaged'",
    ),
)  # fmt: skip
RECURRENT = re.compile(
    r"(?i)(.*[._])?(i2h|h2h|h2o|i2o|x2h|in2hidden|hidden\w*|[uw](_?[hxiforzngc]{1,2})?|recurrent\w*)"
)
STATES = re.compile(r"(?i)(.*[._])?(h_?0|c_?0|(init|initial)_?\w*|hidden(_state)?)")


def refuse_rewritten(keys: Iterable[str], source: str) -> None:
    """Refuse tensors from which a framework computes the weights that it uses.

    Raises
    ------
    InputError
        With the tensors, their reason and the way out.
    """
    found: dict[str, list[str]] = {}
    for key in keys:
        for pattern, way_out in REWRITTEN:
            match = re.fullmatch(pattern, key)
            if match:
                text = way_out.format(w=match["w"], at=match["at"] or "the model")
                found.setdefault(text, []).append(key)
                break
    for text, names in found.items():
        raise InputError(f"{source}: {some(names)}: {text}")


def why(key: str, shape: tuple[int, ...] | None, kind: str) -> str:
    """Name a leftover and what it looks like."""
    if shape is None:
        return f"{key} (no tensor: {kind})"
    if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
        return f"{key} (batch normalization)"
    if STATES.fullmatch(key):
        return f"{key} {shape} (a learned state: load it at the start of each sequence)"
    if key.startswith(("criterion.", "loss")) or key.endswith("pos_weight"):
        return f"{key} {shape} (of a loss)"
    if len(shape) > 2:
        return f"{key} {shape} (convolution)"
    return f"{key} {shape}" + (" (normalization)" if key.endswith("weight") else "")


def recurrence(parts: Sequence[Part]) -> str:
    """Say which linear modules look like a recurrence written by hand, or nothing."""
    names = [part.label for part in parts if part.linear and RECURRENT.fullmatch(part.label)]
    squares = [p for p in parts if p.label in names and p.size == p.input_size]
    if not names or (any(not p.linear for p in parts) and not squares):
        return ""
    text = f"{some(names)} look like a recurrence that forward computes by hand"
    for state in squares:
        into = [p for p in parts if p.linear and p is not state and p.size == state.size]
        if into:
            rest = [p.label for p in parts if p not in (state, into[0])]
            steps = ", ".join([f"rnn({into[0].label}, {state.label})", *rest])
            return f'{text}; where it is h = tanh(a(x) + b(h)), say --forward "{steps}"'
    return f"{text}; give the module itself"


def embedding(parts: Sequence[Part], ordered: bool) -> str:
    """Say which matrix looks like the table of an embedding, or nothing."""
    for k, part in enumerate(parts):
        named = re.fullmatch(r"(?i)(.*[._])?(\w*emb\w*|encoder|wte|lookup)", part.label)
        first = (
            (not ordered or k == 0)
            and len(parts) > 1
            and any(p.bias for p in parts if p is not part)
        )
        reader = next((p for p in parts if not p.linear), None)
        fits = (
            reader is not None
            and part.linear
            and part.tensors["weight"].shape[1] == reader.input_size
        )
        if part.linear and not part.bias and (named or (first and fits)):
            rest = ", ".join(p.label for p in parts if p is not part)
            return (
                f"{part.label} {part.tensors['weight'].shape}, a matrix without bias, looks like the "
                "table of an embedding, of which a token chooses a row; where it is, say "
                f'--forward "embedding({part.label}), {rest}" and give one-hot input'
            )
    return ""
