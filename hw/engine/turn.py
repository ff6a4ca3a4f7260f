"""Whose turn it is: streams take steps one after the other, and a round is a step of each."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

__all__ = ["half_turn", "stream_turn"]


def stream_turn(m: Module, streams: int, step: Value, name: str) -> Value:
    """Count the streams at one place of the core.

    Parameters
    ----------
    m : Module
    streams : int
    step : Value
        The last of a step passes there: the next stream has its turn from the next cycle on.
    name : str
        Begins the name of the register.

    Returns
    -------
    Value
        The stream, from 0 up; a constant of no bits where there is one.
    """
    if streams == 1:
        return Const(0, 0)
    stream = Signal(range(streams), name=f"{name}_stream")
    with m.If(step):
        m.d.sync += stream.eq(Mux(stream == streams - 1, 0, stream + 1))
    return stream


def half_turn(m: Module, streams: int, step: Value, name: str) -> Value:
    """Count streams and rounds at one place of the core; parameters as of :func:`stream_turn`.

    Returns
    -------
    Value
        Parity of the round, and the stream above it: the half of operand memory that a step writes.
        The other half of the stream has what it made in the round before.
    """
    stream = stream_turn(m, streams, step, name)
    parity = Signal(name=f"{name}_parity")
    with m.If(step):
        m.d.sync += parity.eq(~parity if streams == 1 else parity ^ (stream == streams - 1))
    return Cat(parity, stream)
