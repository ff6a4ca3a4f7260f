"""Description of an FPGA family and of its devices, as far as counts and costs go.

One file of :mod:`.families` holds one family, or a few that share most facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

__all__ = ["Device", "Family", "FlipFlopFit", "LutFit", "MemoryKind", "Storage", "lut_rams"]


class MemoryKind(Enum):
    """Role of a memory in a core, which decides how it is placed."""

    TABLE = "table"
    """Contents of the program, a word a cycle: weights and beats."""
    LOOKUP = "lookup"
    """Contents of the program, as wide as a number: activations."""
    RAM = "ram"
    """Written and read by the core."""
    QUEUE = "queue"
    """Written and read in the order of its words."""

    @property
    def read_only(self) -> bool:
        """True if the core itself never writes it."""
        return self in (MemoryKind.TABLE, MemoryKind.LOOKUP)


class Storage(Enum):
    """Material of a memory."""

    BLOCK = "block"
    LUT = "lut"
    LOGIC = "logic"


@dataclass(frozen=True)
class LutFit:
    """LUTs of a design, fitted to builds.

    Parameters
    ----------
    base : float
        Link and control.
    lane : float
        A bit of a lane's accumulator.
    row : float
        A bit of the sum of a row that the elementwise unit takes in a cycle.
    lut_ram : float
        16 words of 4 bits of LUT RAM.
    product : float
        A bit of a product that is made of adders.
    """

    base: float
    lane: float
    row: float
    lut_ram: float
    product: float


@dataclass(frozen=True)
class FlipFlopFit:
    """Flip-flops of a design, fitted to builds; parameters as of :class:`LutFit`."""

    base: float
    lane: float
    row: float


@dataclass(frozen=True)
class Family:
    """Facts that the devices of one family have in common.

    Parameters
    ----------
    name : str
        As ``family`` of a core takes it.
    half_bits : int
        Widest factors of which one multiplier block takes two products; 0: none.
    block_bits : int
        Widest factor of a multiplier block; 0: none.
    blocks_used : int or None
        Multiplier blocks that a core uses at most, the rest is made of LUTs; None: no limit.
    modes : tuple of (int, int)
        Width and depth of a block RAM in the modes that synthesis uses, widest first.
    block_cost : int
        Cost that Yosys counts for a block RAM, where a bit of RAM in flip-flops is 1 and of ROM 1/16.
    lut_ram : int
        Cost that it counts for LUT RAM of 16 words of 4 bits; 0 where LUTs are not used as memory.
    fill : float
        Share of LUTs and flip-flops above which placing takes minutes more and the clock suffers.
    half_clock : int
        Lanes that halve the clock, since operands, weights and sums go ever further: a rough fit to the
        demo with 24 to 96 lanes (``docs/decisions.md``), for the choice of lanes.
    crowded : tuple of str
        Resources of which a device that is nearly full reaches a lower clock.
    link_rams : int
        Block RAMs of the link.
    luts : LutFit
    flip_flops : FlipFlopFit
        Zeros where flip-flops are counted with their logic cells.
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
    crowded: tuple[str, ...]
    link_rams: int
    luts: LutFit
    flip_flops: FlipFlopFit = FlipFlopFit(0.0, 0.0, 0.0)

    def block_rams(self, width: int, depth: int, *, rom: bool = True) -> int:
        """Return the fewest block RAMs that hold ``depth`` words of ``width`` bits."""
        return min(-(-width // w) * -(-depth // d) for w, d in self.modes)

    def storage(
        self, kind: MemoryKind, width: int, depth: int, *, loadable: bool = False
    ) -> tuple[Storage, int]:
        """Return the material of a memory, the cheapest as Yosys counts, and its amount.

        Parameters
        ----------
        kind : MemoryKind
        width, depth : int
        loadable : bool
            The host can write it, even if the core never does.

        Returns
        -------
        storage : Storage
        amount : int
            Block RAMs, cells of 16 words of 4 bits, or bits.
        """
        rom = kind.read_only and not loadable
        blocks = self.block_rams(width, depth, rom=rom)
        bits = width * depth
        costs = {
            Storage.BLOCK: (self.block_cost * blocks, blocks),
            Storage.LOGIC: (round(bits / 16) if rom else bits, bits),
        }
        if self.lut_ram and not rom:
            cells = lut_rams(width, depth)
            muxes = width * (-(-depth // 16) - 1)  # choose among the words of 16
            costs[Storage.LUT] = (self.lut_ram * cells + muxes, cells)
        cheapest = min(costs, key=lambda storage: costs[storage][0])
        return cheapest, costs[cheapest][1]


def lut_rams(width: int, depth: int) -> int:
    """Return the cells of LUT RAM, 16 words of 4 bits each, that hold ``depth`` words."""
    return -(-width // 4) * -(-depth // 16)


@dataclass(frozen=True)
class Device:
    """Capacity of a device, in the units in which place and route counts.

    Parameters
    ----------
    name : str
    family : Family
    luts : int
        Four-input look-up tables; on iCE40 logic cells, each with a flip-flop.
    multipliers : int
        Blocks: SB_MAC16, MULT18X18D, 18 x 18 of Gowin.
    block_rams : int
    large_rams : int
        Large single-port RAMs without initial contents.
    flip_flops : int
        0 where they are counted with their logic cells.
    """

    name: str
    family: Family
    luts: int
    multipliers: int
    block_rams: int
    large_rams: int = 0
    flip_flops: int = 0

    LARGE_RAM: ClassVar[tuple[int, int]] = (16, 1 << 14)
    """Bits and words of one large RAM."""

    @property
    def resources(self) -> dict[str, int]:
        """Amount of each resource."""
        return {
            "luts": self.luts,
            "flip_flops": self.flip_flops,
            "multipliers": self.multipliers,
            "block_rams": self.block_rams,
            "spram": self.large_rams,
        }

    @property
    def room(self) -> dict[str, float]:
        """Amount of each resource that a program may take: all but what the placer needs free."""
        fill = self.family.fill
        return {
            name: n * (fill if name in ("luts", "flip_flops") else 1)
            for name, n in self.resources.items()
        }

    @property
    def block_ram_bits(self) -> int:
        """Bits of one block RAM in its widest mode."""
        width, depth = self.family.modes[0]
        return width * depth

    @property
    def spram_bits(self) -> int:
        """Bits of all large RAMs."""
        width, depth = self.LARGE_RAM
        return self.large_rams * width * depth
