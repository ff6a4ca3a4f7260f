"""Gowin primitives: MULT9X9 and MULT18X18 with all their registers.

Ref: Gowin UG287 (DSP user guide).
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value

__all__ = ["mult"]


def mult(a: Value, b: Value, p: Signal) -> Any:
    """One product of up to 18 x 18 bits, three cycles; of up to 9 x 9 in half a multiplier."""
    m = Module()
    size = 9 if max(len(a), len(b)) <= 9 else 18
    output = Signal(2 * size)
    ports: dict[str, Any] = {}
    for name, value in (("A", a), ("B", b)):
        fill = value[-1] if value.shape().signed else Const(0, 1)
        ports |= {
            f"i_{name}": Cat(value, fill.replicate(size - len(value))),
            f"i_SI{name}": Const(0, size), f"i_{name}SEL": Const(0, 1),
            f"i_{name}SIGN": Const(int(value.shape().signed), 1), f"p_{name}REG": Const(1, 1),
        }  # fmt: skip
    m.submodules.mult = Instance(
        f"MULT{size}X{size}",
        p_OUT_REG=Const(1, 1), p_PIPE_REG=Const(1, 1), p_ASIGN_REG=Const(0, 1),
        p_BSIGN_REG=Const(0, 1), p_SOA_REG=Const(0, 1), p_MULT_RESET_MODE="SYNC",
        i_CLK=ClockSignal(), i_CE=Const(1, 1), i_RESET=Const(0, 1), o_DOUT=output, **ports,
    )  # fmt: skip
    m.d.comb += p.eq(output[: len(p)])
    return m
