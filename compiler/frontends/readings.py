"""Computations that a set of modules allows: one is taken, several are listed and refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product

import numpy as np

from ..errors import CheckError, InputError
from ..ir.model import Model
from .expected import Expected
from .forward import compute
from .parts import SEARCH_LIMIT, Part, chains, some, understood
from .suspects import embedding, recurrence

__all__ = ["proven_reading", "sole_reading", "spelled"]

TRIED_LIMIT = 1024
TRIED = ("none", "relu", "tanh", "sigmoid")  # activations after a linear module, or before one
SEQUENCES, STEPS = 8, 64  # of the recording, while readings are tried
CLOSE, NEAR = 8, 0.05
"""Readings that are compared in any case, and how far off (of the largest output) others may begin."""
SHOWN = 6
PT2 = 'torch.export.save(torch.export.export(net, (x,)), "net.pt2")'


def _ways(order: Sequence[Part]) -> str:
    """Say how the computation is stated: by a file that holds it, in words, or by outputs."""
    words = ", ".join(part.label for part in order)
    return (
        f"Give a file that holds the computation: .onnx, or {PT2}. Or say it, with the activations "
        f'that forward has: --forward "{words}" (Python: forward=). Or give x and the model\'s own '
        "y: --expect xy.npz"
    )


def _orders(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """Return the orders of all parts that chain by their sizes."""
    search = islice(chains((), list(parts)), SEARCH_LIMIT)
    return [chain for chain in search if len(chain) == len(parts)]


def sole_reading(parts: Sequence[Part], source: str, ordered: bool) -> list[str]:
    """Return the one computation that the parts allow: a recurrent module, then a linear one.

    Parameters
    ----------
    parts : sequence of Part
    source : str
        For messages.
    ordered : bool
        Whether the order of the parts means something.

    Raises
    ------
    InputError
        There are several readings, or names that say another; each is named.
    """
    strange = recurrence(parts) or embedding(parts, ordered)
    if strange:
        raise InputError(f"{source}: {strange}. {understood(parts)}. {_ways(parts)}")
    orders = _orders(parts)
    if not orders:
        raise InputError(
            f"{source}: the modules make no chain by their sizes; {understood(parts)}. Name the "
            f"tensors that are not part of the chain in ignore=. {_ways(parts)}"
        )
    recurrent = [part for part in parts if not part.linear]
    fit = some([f'"{", ".join(part.label for part in order)}"' for order in orders[:SHOWN]])
    if len(orders) > 1:
        raise InputError(
            f"{source}: the modules fit in more than one order: {fit}; {understood(parts)}. "
            f"{_ways(orders[0])}"
        )
    if len(recurrent) != 1 or len(parts) > 2 or orders[0][0].linear:
        raise InputError(
            f"{source}: tensors hold no computation, and these could be used in several ways: in "
            f"the order {fit}, with activations between them that no file names; "
            f"{understood(parts)}. {_ways(orders[0])}"
        )
    if recurrent[0].bidirectional and len(parts) == 2:
        rnn, head = (part.label for part in orders[0])
        raise InputError(
            f"{source}: {recurrent[0]} with {orders[0][1]} behind has two readings: {head} on each "
            f'step of the outputs, which is --forward "{rnn}, {head}" (with "{rnn}, last, {head}" '
            "for y[:, -1]), or on cat(h[-2], h[-1]), the last step of one direction beside the first "
            "of the other: no step of the core holds both, so train on the outputs instead. Or give "
            "x and the model's own y: --expect xy.npz"
        )
    return [part.label for part in orders[0]]


def spelled(
    parts: Sequence[Part],
    order: Sequence[str] | None,
    activations: Mapping[str, str],
    source: str,
    ordered: bool,
) -> list[str]:
    """Return the computation that ``order`` and ``activations`` say.

    Raises
    ------
    InputError
        They leave open what follows a linear module, or name what is none.
    """
    linear = [part.label for part in parts if part.linear]
    unused = set(activations) - set(linear)
    if unused:
        raise InputError(
            f"{source}: activations names {sorted(unused)}, not linear modules; {understood(parts)}"
        )
    if order is None:
        order = sole_reading(parts, source, ordered)
    if sorted(order) != sorted(part.label for part in parts):
        raise InputError(
            f"{source}: order={list(order)} must name each of {[p.label for p in parts]} once"
        )
    open_ = [path for path in order[:-1] if path in linear and path not in activations]
    if open_:
        raise InputError(
            f"{source}: order does not say what follows {some(open_)}: --head {open_[0]}=relu, or "
            "=none (Python: activations=)"
        )
    return [step for path in order for step in (path, activations.get(path, "none"))]


def _candidates(
    parts: Sequence[Part], sizes: tuple[int, int], relu: bool
) -> Iterator[tuple[list[str], list[Part]]]:
    """Yield steps and parts of each reading, of those whose inputs and outputs are the recorded ones."""
    forms = [list(parts)]
    if relu:
        rnn = [replace(p, activation="relu") if p.kind == "rnn" else p for p in parts]
        forms += [rnn] if rnn != forms[0] else []
    orders = _orders(parts)
    fit = [order for order in orders if (order[0].input_size, order[-1].size) == sizes]
    for order in fit or orders[:1]:  # where none fits, the first says so
        followers = (*order[1:], None)
        places = [
            part.label
            for part, follower in zip(order, followers, strict=True)
            if part.linear or (follower is not None and follower.linear)
        ]
        for choice in product(TRIED, repeat=len(places)):
            after = dict(zip(places, choice, strict=True))
            steps = [step for part in order for step in (part.label, after.get(part.label, "none"))]
            yield from (([s for s in steps if s != "none"], form) for form in forms)


def _beginning(expected: Expected, sequences: int, steps: int) -> Expected:
    """Return some sequences of a recording and their first steps; all steps where y is of the last."""
    x, y, lengths = expected.x[:sequences], expected.y[:sequences], expected.lengths
    lengths = None if lengths is None else lengths[:sequences]
    if y.ndim == 3:
        x, y = x[:, :steps], y[:, :steps]
        lengths = None if lengths is None else lengths.clip(max=steps)
    return replace(expected, x=x, y=y, lengths=lengths)


def proven_reading(
    parts: Sequence[Part], expected: Expected, source: str, relu: bool
) -> tuple[Model, str]:
    """Return the computation that gives the recorded outputs, and what it is.

    Parameters
    ----------
    relu : bool
        Whether plain RNNs may compute ReLU as well as what they are.

    Raises
    ------
    CheckError
        None of those tried gives them.
    InputError
        Several do.
    """
    sizes = (expected.x.shape[-1], expected.y.shape[-1])
    few, near = _beginning(expected, SEQUENCES, STEPS), _beginning(expected, 2, 8)
    readings: list[tuple[float, str, Model]] = []
    for steps, form in islice(_candidates(parts, sizes, relu), TRIED_LIMIT):
        kind = "" if form == list(parts) or not relu else " (relu inside)"
        model = compute(steps, form, source)
        readings.append((near.distance(model), ", ".join(steps) + kind, model))
    readings.sort(key=lambda reading: reading[0])
    scale = NEAR * float(np.abs(near.y).max(initial=0.0))
    fits: dict[str, Model] = {}
    closest = ""
    for k, (distance, text, model) in enumerate(readings):
        if k >= CLOSE and distance > scale:
            break
        found, _ = few.compare(model)
        closest = closest or f"{text!r} {found}"
        if found.fits and expected.compare(model)[0].fits:
            fits[text] = model
    if len(fits) > 1:
        raise InputError(
            f"{source}: {expected.name} does not tell these apart: {some(sorted(fits))}; record more "
            "and larger input, or say it by --forward"
        )
    if not fits:
        raise CheckError(
            f"{source}: none of {len(readings)} computations of {some([p.label for p in parts])} gives the "
            f"outputs in {expected.name}; closest: {closest or 'none fits by its sizes'}. The model "
            "computes more than these modules in a chain, or y belongs to other weights: say it by "
            f"--forward, or give a file that holds the computation: .onnx, or {PT2}"
        )
    ((text, model),) = fits.items()
    return model, text
