"""Weight codes in the order in which the lanes consume them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import IntArray
from ..ir.network import QGate, QNetwork
from .geometry import Geometry
from .tables import Block

__all__ = ["weight_codes"]


def weight_codes(
    network: QNetwork,
    geometry: Geometry,
    blocks: Sequence[Block],
    rows_of_blocks: Sequence[Sequence[tuple[QGate, int] | None]],
) -> IntArray:
    """Return the weights of a step, shape (words, split * rows); lane = s * rows + row.

    Parameters
    ----------
    network : QNetwork
    geometry : Geometry
    blocks : sequence of Block
    rows_of_blocks : sequence of sequence of ((QGate, neuron) or None)
        Rows of each block's tiles, in order; the weights of None are zero.
    """
    rows, split = geometry.rows, geometry.split
    out = []
    for block, taken in zip(blocks, rows_of_blocks, strict=True):
        layer = network.layer(block.layer)
        tiles = []
        offset = 0
        for seg in block.segments:
            own = seg.vector in (layer.name, f"{layer.name}.rh") and seg.vector not in layer.inputs
            size = network.size(layer.name if own else seg.vector)
            m = np.zeros((len(taken), seg.words * split), np.int64)
            for i, row in enumerate(taken):
                if row is None:
                    continue
                g, neuron = row
                if own and g.u is not None:
                    m[i, :size] = g.u[neuron]
                elif not own and g.w is not None:
                    m[i, :size] = g.w[neuron, offset : offset + size]
            offset += 0 if own else size
            tiles.append(m.reshape(block.tiles, rows, seg.words, split).transpose(0, 2, 3, 1))
        walk = np.concatenate(tiles, axis=1)  # (tiles, columns, split, rows)
        out.append(walk.reshape(block.tiles * block.columns, split * rows))
    return np.concatenate(out)
