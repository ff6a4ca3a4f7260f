"""Bidirectional models, and small chains of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gatewright.compiler.config import Config
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.chain import Chain
from gatewright.compiler.quantizer.pipeline import quantize

from support.randoms import recurrent

LENGTHS = np.array([6, 1, 4])


def both_ways(
    cell: str = "gru", layers: int = 1, i: int = 3, h: int = 4, head: int = 0, seed: int = 0
) -> Model:
    """Return a stack of bidirectional layers, with a linear head where it has outputs."""
    rng = np.random.default_rng(seed)
    reads, made = ("x",), []
    for k in range(layers):
        size = i if k == 0 else 2 * h
        made.append(recurrent(rng, f"f{k}", cell, reads, size, h))
        made.append(replace(recurrent(rng, f"b{k}", cell, reads, size, h), reverse=True))
        reads = (f"f{k}", f"b{k}")
    if head:
        made.append(Linear("head", reads, rng.normal(0, 0.4, (head, 2 * h)), None))
        reads = ("head",)
    return Model(i, tuple(made), reads)


def data(n: int = 3, steps: int = 6, i: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, steps, i))


def small(**options: int) -> Chain:
    chain = quantize(both_ways(**options), data(), Config(lanes=4), lengths=LENGTHS)
    assert isinstance(chain, Chain)
    return chain
