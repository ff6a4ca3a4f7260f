"""Latencies of the engine in cycles, which gateware and :mod:`.replay` share."""

from __future__ import annotations

__all__ = ["Timing"]


class Timing:
    """Latencies in cycles that gateware and :func:`replay` share (see ``docs/engine.md``)."""

    INPUT = 3  # the last element of an input word is transferred -> lanes may read the word
    MAC = 8  # a tile's last word is issued -> its first beat may start
    SHIFT = 2  # a beat is issued -> its rows' sums are shifted
    EARLY = 5  # a beat is issued -> it reads a kept reset gate, and its parts are summed
    CELL = 9  # a beat is issued -> it reads the new cell state as its pre-activation
    SOURCE = 12  # a beat is issued -> its pre-activation is chosen
    ACT = 13  # a beat is issued -> its activation begins
    LATE = 22  # a beat is issued -> it reads a kept gate and the old state
    KEEP = 24  # a beat is issued -> it writes a kept activation
    WRITE = 32  # a beat is issued -> it writes state, kept result and output
    VISIBLE = 34  # a beat is issued -> lanes may read the operand it made
    OUTPUT = 34  # a beat is issued -> its first element is on the output port
    ARGMAX = 1  # the last output element would be on the port -> the index is
    FREE = 3  # an output beat's last element is transferred -> its place is given to another
    FIFO = 40  # output beats in flight or waiting
    VERIFY = 46  # what a pass over the memories takes beside a cycle for each bit of their chunks
    PARTS = (0, 4, 22, 32)  # a beat is issued -> the parts of its word in the beat table are there
