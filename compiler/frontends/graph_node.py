"""Vectors of a :class:`~.graph.Graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import InputError
from ..ir.model import Recurrent

__all__ = ["Elements", "Node", "WrongAxis", "contents", "distinct", "first_axis", "times"]

T = TypeVar("T")


class WrongAxis(InputError):
    """A layer does not walk along the axis that was taken for time."""


class Elements:
    """A tensor that depends on the input, by its element numbers."""

    def __init__(self, numbers: IntArray) -> None:
        self.numbers = numbers


def first_axis(
    axes: Iterable[Any], read: Callable[[Any], T], done: Callable[[], int] = lambda: 0
) -> T:
    """Return what ``read`` makes with the first axis that it takes for time.

    Parameters
    ----------
    axes : iterable
    read : callable
    done : callable
        Tells how far the last reading came.

    Raises
    ------
    InputError
        No axis is time; the reason of the reading that came furthest, and of several of these one
        that has nothing to do with axes.
    """
    errors: list[tuple[tuple[int, bool], InputError]] = []
    for axis in axes:
        try:
            return read(axis)
        except InputError as error:
            errors.append(((done(), not isinstance(error, WrongAxis)), error))
    raise max(errors, key=lambda pair: pair[0])[1]


@dataclass(frozen=True, eq=False)
class Node:
    """One vector that has a value at every step.

    Parameters
    ----------
    kind : {'input', 'one_hot', 'recurrent', 'cell_state', 'linear', 'blend', 'activation', 'softmax'}
        A ``blend`` is an affine map that no layer of the user stands for, such as a scaling or a sum.
    size, first : int
        Number of features, and the number of the first one in the whole graph.
    reads : ndarray
        Numbers of the features that it reads.
    place : str
        Module and line of the source, for people.
    name : str
        Of the source's layer; '' where it has none, then the model's are numbered by their kind.
    weight, bias : ndarray, shapes (size, len(reads)) and (size,)
        Of a ``linear`` or a ``blend``; a blend that only scales has the factors alone, shape (size,).
    function : str
        Of an ``activation`` or a ``softmax``.
    slope : float
        Of a hard sigmoid.
    layer : Recurrent, optional
        Weights of a ``recurrent``; its own name, inputs and direction mean nothing.
    reverse : bool
        Whether a ``recurrent`` walks from the last step of the sequence to the first.
    start : tuple
        What tells the state that a ``recurrent`` starts from; () for zeros.
    """

    kind: str
    size: int
    first: int
    reads: IntArray
    place: str
    name: str = ""
    weight: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    bias: FloatArray = field(default_factory=lambda: np.empty(0))
    function: str = ""
    slope: float = 0.2
    layer: Recurrent | None = None
    reverse: bool = False
    start: tuple[Any, ...] = ()


def times(matrix: FloatArray, weight: FloatArray) -> FloatArray:
    """Multiply by the weight of a node."""
    return matrix @ weight if weight.ndim == 2 else matrix * weight


def contents(value: Any) -> Any:
    """Return what tells a parameter of a node from another."""
    if isinstance(value, Recurrent):
        arrays = (value.w, value.u, value.b, value.c)
        held = [(gate, a.tobytes()) for group in arrays for gate, a in group.items()]
        return (value.cell, value.gate, value.candidate, value.output, value.slope, *held)
    return value.tobytes() if isinstance(value, np.ndarray) else value


def distinct(rows: Any) -> tuple[Any, IntArray]:
    """Return the distinct rows in the order in which they appear, and each row's number."""
    unique, index, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(index)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    return unique[order], number[inverse.ravel()]
