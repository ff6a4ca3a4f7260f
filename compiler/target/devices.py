"""What an FPGA has: the counts that decide how much of an engine fits."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import ceil_div

__all__ = [
    "DEVICES", "FAMILIES", "SPRAM_BITS", "Device", "Family", "bank_blocks", "banks", "block_rams", "column_shape",
    "lut_rams", "memory_kind", "ram_column",
]  # fmt: skip


SPRAM_BITS = 16384 * 16
"""Bits of one single-port RAM of an UP5K."""


@dataclass(frozen=True)
class Family:
    """What the devices of one family have in common.

    Parameters
    ----------
    name : str
        As the core knows it: ``ice40up``, ``ice40hx``, ``ecp5`` or ``gowin``.
    half_bits : int
        Widest factors of which one multiplier block takes two products; 0: none.
    block_bits : int
        Widest factor of a multiplier block; 0: none.
    blocks_used : int or None
        Multiplier blocks that a core uses at most, the rest is made of LUTs; None: no limit.
    modes : tuple of (int, int)
        Width and depth of a block RAM in the modes that synthesis uses, widest first.
    block_cost : int
        What Yosys counts for a block RAM, where a bit of RAM in flip-flops is 1 and of ROM 1/16.
    lut_ram : int
        What it counts for LUT RAM of 16 words of 4 bits; 0 where LUTs are not used as memory.
    fill : float
        Share of LUTs and flip-flops above which placing takes minutes more and the clock suffers.
    half_clock : int
        Lanes that halve the clock, since operands, weights and sums go ever further: a rough fit to the
        demo with 24 to 96 lanes (``docs/decisions.md``), for the choice of lanes.
    """

    name: str
    half_bits: int
    block_bits: int
    blocks_used: int | None
    modes: tuple[tuple[int, int], ...]
    block_cost: int
    lut_ram: int
    fill: float
    half_clock: int


FAMILIES = {
    f.name: f
    for f in (
        Family("ice40up", 8, 16, 8, ((16, 256), (8, 512), (4, 1024), (2, 2048)), 64, 0, 0.93, 200),
        Family("ice40hx", 0, 0, 0, ((16, 256), (8, 512), (4, 1024), (2, 2048)), 64, 0, 0.93, 200),
        Family("ecp5", 0, 18, None, ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), 128, 4, 0.96, 200),
        Family("gowin", 9, 18, None, ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), 128, 0, 0.75, 60),
    )
}  # fmt: skip


def column_shape(depth: int) -> tuple[int, int]:
    """Return width and depth of a column of ECP5 block RAM: a port of up to 18 bits."""
    return next((w, d) for w, d in ((18, 512), *FAMILIES["ecp5"].modes[1:]) if depth <= d)


def ram_column(depth: int) -> int:
    """Return the bits of a column of ECP5 block RAM that one port writes and the other reads.

    0 where no block is as deep.
    """
    return next((w for w, d in FAMILIES["ecp5"].modes[1:] if depth <= d), 0)


def block_rams(family: Family, width: int, depth: int, rom: bool = True) -> int:
    """Return the block RAMs that hold ``depth`` words of ``width`` bits: the fewest, or on ECP5 a RAM's columns."""
    bits = 0 if rom or family.name != "ecp5" else ram_column(depth)
    if bits:
        return ceil_div(width, bits)
    return min(ceil_div(width, w) * ceil_div(depth, d) for w, d in family.modes)


def lut_rams(width: int, depth: int) -> int:
    """Return the cells of LUT RAM, 16 words of 4 bits each, that hold ``depth`` words."""
    return ceil_div(width, 4) * ceil_div(depth, 16)


def memory_kind(family: Family, width: int, depth: int, rom: bool) -> tuple[str, int]:
    """Return what a memory is made of, the cheapest as Yosys counts.

    Returns
    -------
    kind : str
        ``block``, ``lut`` or ``logic``.
    count : int
        Block RAMs, cells of 16 words of 4 bits, or bits.
    """
    blocks = block_rams(family, width, depth, rom)
    costs = {"block": (family.block_cost * blocks, blocks)}
    costs["logic"] = (round(width * depth / 16) if rom else width * depth, width * depth)
    if family.lut_ram and not rom:
        cells = lut_rams(width, depth)
        muxes = width * (ceil_div(depth, 16) - 1)  # choose among the words of 16
        costs["lut"] = (family.lut_ram * cells + muxes, cells)
    kind = min(costs, key=lambda k: costs[k][0])
    return kind, costs[kind][1]


def bank_blocks(depth: int, width: int, loadable: bool) -> int:
    """Return the blocks of a bank of a table on ECP5: columns as deep as the bank.

    A column holds bits of one chunk of 16 bits if those are written one by one. Two columns of up
    to 512 words share a block.
    """
    bits, words = column_shape(depth)
    span = 16 if loadable else width
    columns = sum(ceil_div(min(span, width - at), bits) for at in range(0, width, span))
    return ceil_div(columns, 2) if words == 512 else columns


def banks(depth: int, width: int, loadable: bool) -> list[int]:
    """Return the depth of each bank of a table on ECP5: equal powers of two, then the rest.

    Narrow modes waste a ninth and up to half of the words; a bank must save a block for the
    multiplexer behind it.
    """
    made = []
    for _, size in FAMILIES["ecp5"].modes:
        rest = depth % size
        made.append([size] * (depth // size) + [rest] * (rest > 0))
    return min(reversed(made), key=lambda b: sum(1 + bank_blocks(d, width, loadable) for d in b))


@dataclass(frozen=True)
class Device:
    """Capacity of a device, in the units in which place and route counts.

    Parameters
    ----------
    name : str
    family : str
    luts : int
        Four-input look-up tables; on iCE40 logic cells, each with a flip-flop.
    multipliers : int
        Blocks: SB_MAC16, MULT18X18D, 18 x 18 of Gowin.
    block_rams : int
    spram_bits : int
        Large single-port RAM without initial contents.
    flip_flops : int
        0 where they are counted with their logic cells.
    """

    name: str
    family: str
    luts: int
    multipliers: int
    block_rams: int
    spram_bits: int = 0
    flip_flops: int = 0

    @property
    def resources(self) -> dict[str, int]:
        """What there is of each resource."""
        return {
            "luts": self.luts,
            "flip_flops": self.flip_flops,
            "multipliers": self.multipliers,
            "block_rams": self.block_rams,
            "spram": self.spram_bits // SPRAM_BITS,
        }

    @property
    def room(self) -> dict[str, float]:
        """What a program may take of each resource: all but what the placer needs free."""
        fill = FAMILIES[self.family].fill
        return {
            name: n * (fill if name in ("luts", "flip_flops") else 1)
            for name, n in self.resources.items()
        }

    @property
    def block_ram_bits(self) -> int:
        """Bits of one block RAM in its widest mode."""
        width, depth = FAMILIES[self.family].modes[0]
        return width * depth


DEVICES = {
    d.name: d
    for d in (
        # Lattice FPGA-DS-02008 (UltraPlus), FPGA-DS-02029 (LP/HX), FPGA-DS-02012 (ECP5).
        Device("iCE40UP5K", "ice40up", 5280, 8, 30, 4 * SPRAM_BITS),
        Device("iCE40HX8K", "ice40hx", 7680, 0, 32),
        # The 12F is a 25F die; open tools use all of it.
        Device("LFE5U-12F", "ecp5", 24288, 28, 56, flip_flops=24288),
        Device("LFE5U-25F", "ecp5", 24288, 28, 56, flip_flops=24288),
        Device("LFE5U-45F", "ecp5", 43848, 72, 108, flip_flops=43848),
        Device("LFE5U-85F", "ecp5", 83640, 156, 208, flip_flops=83640),
        # Gowin DS117 (GW1NR), DS102 (GW2A), DS226 (GW2AR).
        Device("GW1NR-9C", "gowin", 8640, 20, 26, flip_flops=6480),
        Device("GW2A-18C", "gowin", 20736, 48, 46, flip_flops=15552),
        Device("GW2AR-18C", "gowin", 20736, 48, 46, flip_flops=15552),
    )
}
