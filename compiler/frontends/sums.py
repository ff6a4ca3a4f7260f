"""Sums and scales of vectors as linear layers: residuals, skips, normalization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..ir.model import Layer, Linear, Recurrent

__all__ = ["add_vectors", "fold_scales"]


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


def fold_scales(layers: list[Layer], outputs: tuple[str, ...]) -> list[Layer]:
    """Fold layers that scale and shift each feature alone into the layers that read them.

    A scale that is an output, or whose source its reader reads as well, stays a layer.
    """
    for scale in list(layers):
        if not isinstance(scale, Linear) or scale.activation != "none" or scale.name in outputs:
            continue
        factor, offset = np.diagonal(scale.w), np.asarray(scale.bias)
        readers = [layer for layer in layers if scale.name in layer.inputs]
        plain = scale.w.shape[0] == scale.w.shape[1] and not (scale.w - np.diag(factor)).any()
        if not plain or len(scale.inputs) != 1 or not readers:
            continue
        if any(
            layer.inputs.count(scale.name) > 1
            or layer.inputs.count("x") > 1
            or scale.inputs[0] in layer.inputs
            for layer in readers
        ):
            continue
        sizes = {layer.name: layer.size for layer in layers}
        layers = [
            _reads_before(layer, scale, factor, offset, sizes) if layer in readers else layer
            for layer in layers
            if layer is not scale
        ]
    return layers


def _reads_before(
    layer: Layer, scale: Linear, factor: np.ndarray, offset: np.ndarray, sizes: dict[str, int]
) -> Layer:
    """Let a layer read what a scale reads: ``W (s v + t) = (W s) v + W t``."""
    k = layer.inputs.index(scale.name)
    unknown = layer.input_size - sum(sizes.get(n, 0) for n in layer.inputs)  # x, where it is read
    at = sum(sizes.get(n, unknown) for n in layer.inputs[:k])
    part = slice(at, at + scale.size)
    inputs = (*layer.inputs[:k], *scale.inputs, *layer.inputs[k + 1 :])

    def scaled(weight: np.ndarray) -> np.ndarray:
        weight = weight.copy()
        weight[:, part] *= factor
        return weight

    if isinstance(layer, Recurrent):
        w = {gate: scaled(m) for gate, m in layer.w.items()}
        b = {
            g: v + (layer.w[g][:, part] @ offset if g in layer.w else 0) for g, v in layer.b.items()
        }
        return replace(layer, inputs=inputs, w=w, b=b)
    bias = np.asarray(layer.bias) + layer.w[:, part] @ offset
    return replace(layer, inputs=inputs, weight=scaled(layer.w), bias=bias)
