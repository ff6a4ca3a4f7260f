"""iCE40 UltraPlus primitives: SB_MAC16 in two modes, SB_SPRAM256KA.

Ref: Lattice FPGA-TN-02007 (DSP function usage guide), iCE Technology Library 201608.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Signal, Value

__all__ = ["SPRAM_DEPTH", "SPRAM_WIDTH", "dual8", "mac16", "spram"]

SPRAM_DEPTH, SPRAM_WIDTH = 1 << 14, 16

_HOLDS = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "OHOLDTOP", "OHOLDBOT")
_OFF = (
    *_HOLDS, "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "OLOADTOP", "OLOADBOT", "ADDSUBTOP",
    "ADDSUBBOT", "CI", "ACCUMCI", "SIGNEXTIN",
)  # fmt: skip


def _extend(value: Value, bits: int) -> Value:
    """Sign- or zero-extend to ``bits``."""
    fill = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, fill.replicate(bits - len(value))) if bits > len(value) else Cat(value)


def _mac(a: Value, b: Value, output: Value, plus: Value, **parameters: Any) -> Instance:
    inputs = {f"i_{name}": Const(0, 1) for name in _OFF}
    return Instance(
        "SB_MAC16",
        i_CLK=ClockSignal(), i_CE=Const(1, 1), i_A=a, i_B=b, i_C=plus[16:], i_D=plus[:16],
        o_O=output,
        **inputs, **{f"p_{name}": Const(value, width) for name, (value, width) in parameters.items()},
    )  # fmt: skip


def mac16(a: Value, b: Value, p: Signal, plus: Value | None = None) -> Instance:
    """One product of up to 16 x 16 bits, three cycles: input, pipeline and output registers.

    ``plus``, of up to 32 bits and a cycle later than the operands, is added by the adder of the multiplier; its
    register is then the output register.
    """
    output = Signal(32)
    registers = {
        name: (1, 1)
        for name in (
            "A_REG",
            "B_REG",
            "TOP_8x8_MULT_REG",
            "BOT_8x8_MULT_REG",
            "PIPELINE_16x16_MULT_REG1",
        )
    }
    if plus is None:
        mode = {
            "PIPELINE_16x16_MULT_REG2": (1, 1), "TOPOUTPUT_SELECT": (3, 2),
            "BOTOUTPUT_SELECT": (3, 2),
        }  # fmt: skip
    else:
        mode = {
            "C_REG": (1, 1), "D_REG": (1, 1), "TOPOUTPUT_SELECT": (1, 2), "BOTOUTPUT_SELECT": (1, 2),
            "TOPADDSUB_LOWERINPUT": (2, 2), "TOPADDSUB_UPPERINPUT": (1, 1),
            "TOPADDSUB_CARRYSELECT": (2, 2), "BOTADDSUB_LOWERINPUT": (2, 2),
            "BOTADDSUB_UPPERINPUT": (1, 1),
        }  # fmt: skip
    instance = _mac(
        _extend(a, 16), _extend(b, 16), output, Const(0, 32) if plus is None else _extend(plus, 32),
        A_SIGNED=(int(a.shape().signed), 1), B_SIGNED=(int(b.shape().signed), 1), **registers, **mode,
    )  # fmt: skip
    return _take(instance, output, [(p, 0)])


def dual8(pairs: list[tuple[Value, Value]], outputs: list[Signal]) -> Instance:
    """Two signed products of up to 8 x 8 bits, three cycles.

    The output register is that of the adder behind each multiplier, which adds zero.
    """
    output = Signal(32)
    zero = Const(0, 8)
    a = Cat(*(_extend(x, 8) for x, _ in pairs), *([zero] * (2 - len(pairs))))
    b = Cat(*(_extend(y, 8) for _, y in pairs), *([zero] * (2 - len(pairs))))
    instance = _mac(
        a, b, output, Const(0, 32),
        A_REG=(1, 1), B_REG=(1, 1), TOP_8x8_MULT_REG=(1, 1), BOT_8x8_MULT_REG=(1, 1),
        MODE_8x8=(1, 1), A_SIGNED=(1, 1), B_SIGNED=(1, 1),
        TOPOUTPUT_SELECT=(1, 2), TOPADDSUB_LOWERINPUT=(1, 2), TOPADDSUB_UPPERINPUT=(1, 1),
        BOTOUTPUT_SELECT=(1, 2), BOTADDSUB_LOWERINPUT=(1, 2), BOTADDSUB_UPPERINPUT=(1, 1),
    )  # fmt: skip
    return _take(instance, output, [(p, 16 * i) for i, p in enumerate(outputs)])


def _take(instance: Instance, output: Signal, parts: list[tuple[Signal, int]]) -> Any:
    """Wrap an instance so that parts of its output drive signals."""
    from amaranth.hdl import Module

    m = Module()
    m.submodules.mac = instance
    m.d.comb += [p.eq(output[at : at + len(p)]) for p, at in parts]
    return m


def spram(addr: Value, data: Value, write: Value, output: Signal) -> Instance:
    """16,384 words of 16 bits, one port; reads follow by a cycle. Empty after power-up."""
    return Instance(
        "SB_SPRAM256KA",
        i_CLOCK=ClockSignal(), i_ADDRESS=_extend(addr, 14), i_DATAIN=data,
        i_MASKWREN=Const(15, 4), i_WREN=write, i_CHIPSELECT=Const(1, 1), i_STANDBY=Const(0, 1),
        i_SLEEP=Const(0, 1), i_POWEROFF=Const(1, 1), o_DATAOUT=output,
    )  # fmt: skip
