"""Scalings and offsets behind a linear layer become part of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..arrays import IntArray
from .graph import Graph
from .graph_node import Node, times

__all__ = ["merged"]


def merged(graph: Graph, tensors: Sequence[IntArray]) -> Graph:
    """Return the graph with ``M (W v + b) + t`` as one linear layer, where nobody else reads W v + b.

    Parameters
    ----------
    graph : Graph
    tensors : sequence of ndarray
        Features of each output.
    """
    readers: Counter[int] = Counter()

    def read(features: IntArray) -> set[int]:
        return {graph.owner(int(f)).first for f in features}

    for features in tensors:
        readers.update(read(features))
    for node in reversed(graph.nodes):
        if readers[node.first]:
            readers.update(read(node.reads))
    nodes: dict[int, Node] = {}
    for node in graph.nodes:
        before = read(node.reads) if node.kind == "blend" else set()
        one = nodes[before.pop()] if len(before) == 1 else None
        if one and one.kind == "linear" and readers[one.first] == 1 and node.size <= one.size:
            rows = node.reads - one.first
            matrix = times(one.weight[rows].T, node.weight.T).T
            bias = times(one.bias[rows], node.weight.T) + node.bias
            node = replace(one, size=node.size, first=node.first, weight=matrix, bias=bias)
        nodes[node.first] = node
    return replace(graph, nodes=list(nodes.values()))
