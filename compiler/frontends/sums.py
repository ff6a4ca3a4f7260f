"""Sums of vectors as linear layers: residuals and skips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..ir.model import Layer, Linear

__all__ = ["add_vectors"]


def add_vectors(
    layers: list[Layer],
    sizes: dict[str, int],
    first: tuple[str, ...],
    second: tuple[str, ...],
    name: str,
    *,
    fuse: bool = True,
) -> tuple[str, ...]:
    """Append the layer that adds two vectors, or let the linear layer before do it.

    Parameters
    ----------
    layers : list of Layer
        Changed in place.
    sizes : dict of str -> int
        Size of every vector.
    first, second : tuple of str
        Vectors that are joined to make each summand.
    name : str
        Of a new layer.
    fuse : bool
        Nothing else reads the last layer, so that it may become the sum: ``W v + b + s`` is one
        linear layer over ``v`` and ``s``.

    Returns
    -------
    tuple of str
        The vectors that hold the sum.
    """
    size = sum(sizes[n] for n in first)
    if size != sum(sizes[n] for n in second):
        raise InputError(
            f"{name}: {' + '.join(first)} has {size} values and {' + '.join(second)} "
            f"{sum(sizes[n] for n in second)}; a sum takes as many of each"
        )
    last = layers[-1] if layers else None
    for one, other in ((first, second), (second, first)):
        if fuse and isinstance(last, Linear) and last.activation == "none":
            if one == (last.name,) and last.name not in other:
                inputs, weight = _joined(last.inputs, last.w, other, sizes)
                layers[-1] = replace(last, inputs=inputs, weight=weight)
                return one
    inputs, weight = _joined(first, np.eye(size), second, sizes)
    layers.append(Linear(name, inputs, weight))
    return (name,)


def _joined(
    inputs: tuple[str, ...], weight: np.ndarray, more: tuple[str, ...], sizes: dict[str, int]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Add ``more`` to the outputs of a matrix; a vector that it reads already is not read twice."""
    row, weight = 0, weight.copy()
    for name in more:
        one = np.zeros((len(weight), sizes[name]))
        one[row : row + sizes[name]] = np.eye(sizes[name])
        row += sizes[name]
        if name in inputs:
            at = sum(sizes[n] for n in inputs[: inputs.index(name)])
            weight[:, at : at + sizes[name]] += one
        else:
            inputs, weight = (*inputs, name), np.concatenate([weight, one], axis=1)
    return inputs, weight
