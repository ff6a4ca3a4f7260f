"""Base of the FPGA families: gateware that leaves every primitive to the synthesizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import io

from .pll import Pll, PllBlock

__all__ = ["FABRIC", "GENERIC", "Toolchain", "VendorFamily", "extend", "nextpnr_options"]


@dataclass(frozen=True)
class Toolchain:
    """Open tools of a family, and the names that they use.

    Parameters
    ----------
    synthesis : str
        Yosys command.
    placer, packer : str
        Programs of place and route, and of packing the bitstream.
    packages : mapping of str -> str
        Python package that brings each of the two.
    constraints, bitstream : str
        File of the pins, and file that is made.
    resources : mapping of str -> tuple of str
        Types of place and route that make up each resource. The capacity is that of the first.
    cells : mapping of str -> str
        Pattern of the cells of a synthesized netlist that make up each resource. LUTs are left to
        place and route, which packs them.
    place : callable
        Returns arguments of place and route for a platform and the name of a device.
    pack : callable
        Returns arguments of packing for the name of a device.
    variants : mapping of str -> str
        What follows the Yosys command for a device.
    halves : mapping of str -> str
        Multiplier of which two take the place of one that is counted.
    """

    synthesis: str
    placer: str
    packer: str
    packages: Mapping[str, str]
    constraints: str
    bitstream: str
    resources: Mapping[str, tuple[str, ...]]
    cells: Mapping[str, str]
    place: Callable[[Any, str], list[str]]
    pack: Callable[[str], list[str]]
    variants: Mapping[str, str] = field(default_factory=dict)
    halves: Mapping[str, str] = field(default_factory=dict)


def nextpnr_options(platform: Any) -> tuple[str, str]:
    """Return device and package of a platform as nextpnr takes them.

    Amaranth keeps these tables private; ``tests/hw/bitstream`` looks at what comes out.
    """
    packages = getattr(platform, "_nextpnr_package_options", {})
    package = packages.get(platform.package, platform.package)
    return platform._nextpnr_device_options[platform.device], package


class VendorFamily:
    """FPGA family as gateware sees it. The base uses no primitives.

    Attributes
    ----------
    name : str
        As ``family`` of a core takes it.
    multiplier_bits : int
        Widest signed operand of a multiplier block; an unsigned one of these bits is taken too. 0
        where no block is placed.
    pair_bits : int
        Widest signed operand where one block takes two products; 0: none does.
    multiplier_blocks : int or None
        Blocks that a core uses unless told otherwise; None: no limit.
    infers_multipliers : bool
        Products without a block are left to the synthesizer, else they are made of adders.
    multiplier_adds : bool
        A block adds a third number, which comes two cycles after the operands. The register that
        bridges the way to it lies before it, else the one that bridges the way from it, behind.
    far_tables : bool
        Block RAM may be far from what reads it, and there are flip-flops to spare: the beat table has
        a register more.
    far_weights : bool
        So have the weights.
    places_tables : bool
        Tables are placed by :meth:`place_table`.
    queue_attributes : mapping
        Attributes of the memory of a queue.
    window : int
        log2 of the bytes of a buffer of the link: one block RAM.
    large_rams, large_ram_depth : int
        Single-port RAMs of words of 16 bits that start empty, and the words of each.
    pll : PllBlock
    tools : Toolchain
        The base has neither.
    """

    name = "generic"
    multiplier_bits = 0
    pair_bits = 0
    multiplier_blocks: int | None = None
    infers_multipliers = True
    multiplier_adds = False
    far_tables = False
    far_weights = False
    places_tables = False
    queue_attributes: Mapping[str, Any] = {}
    window = 11
    large_rams = 0
    large_ram_depth = 1
    pll: PllBlock
    tools: Toolchain

    @property
    def has_tools(self) -> bool:
        """Whether bitstreams can be made."""
        return hasattr(self, "tools")

    def multiply(self, a: Value, b: Value, p: Signal, plus: Value | None = None) -> Any:
        """Return a multiplier block as a submodule: ``p`` follows by three cycles.

        ``plus`` is added where ``multiplier_adds``; it comes a cycle after ``a`` and ``b``.
        """
        raise NotImplementedError(f"{self.name} places no multipliers")

    def multiply_pair(self, pairs: Sequence[tuple[Value, Value]], outputs: list[Signal]) -> Any:
        """Return a multiplier block that takes up to two pairs, as :meth:`multiply`."""
        raise NotImplementedError(f"{self.name} places no pairs of products")

    def accumulate(self, m: Module, fresh: Value, acc: Value, term: Value, total: Signal) -> None:
        """Drive ``total`` with ``acc + term``, or where ``fresh`` with ``term`` alone."""
        m.d.comb += total.eq(Mux(fresh, 0, acc) + term)

    def place_table(self, m: Module, table: Any) -> None:
        """Place a :class:`~gatewright.hw.blocks.memory.Table` in block RAM."""
        raise NotImplementedError(f"{self.name} places no tables")

    def ram_attributes(self, width: int, depth: int) -> Mapping[str, Any] | None:
        """Return attributes of a RAM's memory; None where :meth:`place_ram` places it."""
        return {}

    def place_ram(
        self, m: Module, *, depth: int, w_en: Value, w_addr: Value, w_data: Value, r_addr: Value,
        r_data: Signal,
    ) -> None:  # fmt: skip
        """Place a RAM in block RAM; ``r_data`` follows ``r_addr`` by two cycles."""
        raise NotImplementedError(f"{self.name} places no RAM")

    def place_buffer(self, m: Module, buffer: Any) -> bool:
        """Place a :class:`~gatewright.hw.link.buffer.Buffer`; return whether it is placed."""
        return False

    def large_ram(self, addr: Value, data: Value, write: Value, output: Signal) -> Any:
        """Return a large RAM as a submodule; ``output`` follows ``addr`` by a cycle."""
        raise NotImplementedError(f"{self.name} has no large RAM")

    def connect_clock(
        self, m: Module, platform: Any, kind: str, pll: Pll | None, clock: Signal, locked: Signal
    ) -> None:
        """Drive ``clock`` and ``locked`` from the oscillator of a board.

        Parameters
        ----------
        m : Module
        platform : Platform
        kind : str
            Primitive of the PLL.
        pll : Pll or None
            None: the oscillator itself is the clock.
        clock, locked : Signal
        """
        port = platform.request(platform.default_clk, dir="-")
        m.submodules.pin = pin = io.Buffer(io.Direction.Input, port)
        self._connect_pll(m, kind, pll, pin.i, clock, locked)

    def _connect_pll(
        self, m: Module, kind: str, pll: Pll | None, source: Any, clock: Signal, locked: Signal
    ) -> None:
        if pll is None:
            m.d.comb += [clock.eq(source), locked.eq(1)]
        else:
            m.submodules.pll = self.pll.instance(kind, pll, source, clock, locked)


class _Fabric(VendorFamily):
    name = "fabric"
    infers_multipliers = False


GENERIC = VendorFamily()
"""No family: the synthesizer chooses."""

FABRIC = _Fabric()
"""Family of a multiplier that is made of adders, where the device has no more blocks."""


def extend(value: Value, bits: int) -> Value:
    """Sign- or zero-extend to ``bits``, as unsigned bits."""
    fill = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, fill.replicate(bits - len(value))) if bits > len(value) else Cat(value)
