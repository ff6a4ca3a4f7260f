"""Lattice ECP5, whose block RAM the gateware places itself, to have its output registers.

Ref: FPGA-DS-02012.
"""

from __future__ import annotations

from ..family import Device, Family, FlipFlopFit, LutFit, MemoryKind, Storage, lut_rams

__all__ = ["DEVICES", "ECP5", "bank_blocks", "banks", "column_shape", "ram_column"]

MODES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
PORT_MODES = MODES[1:]
"""Width and depth as one of the two ports sees a block."""


def column_shape(depth: int) -> tuple[int, int]:
    """Return width and depth of a column of block RAM: a port of up to 18 bits."""
    return next((w, d) for w, d in ((18, 512), *PORT_MODES) if depth <= d)


def ram_column(depth: int) -> int:
    """Return the bits of a column of block RAM that one port writes and the other reads.

    0 where no block is as deep.
    """
    return next((w for w, d in PORT_MODES if depth <= d), 0)


def bank_blocks(depth: int, width: int, loadable: bool) -> int:
    """Return the blocks of a bank of a table: columns as deep as the bank.

    A column holds bits of one chunk of 16 bits if those are written one by one. Two columns of up
    to 512 words share a block.
    """
    bits, words = column_shape(depth)
    span = 16 if loadable else width
    columns = sum(-(-min(span, width - at) // bits) for at in range(0, width, span))
    return -(-columns // 2) if words == 512 else columns


def banks(depth: int, width: int, loadable: bool) -> list[int]:
    """Return the depth of each bank of a table: equal powers of two, then the rest.

    Narrow modes waste a ninth and up to half of the words; a bank must save a block for the
    multiplexer behind it.
    """
    choices = []
    for _, size in MODES:
        rest = depth % size
        choices.append([size] * (depth // size) + [rest] * (rest > 0))
    return min(
        reversed(choices), key=lambda sizes: sum(1 + bank_blocks(d, width, loadable) for d in sizes)
    )


class _Ecp5(Family):
    """Block RAM as the gateware places it, instead of as Yosys would."""

    def block_rams(self, width: int, depth: int, *, rom: bool = True) -> int:
        bits = 0 if rom else ram_column(depth)
        return -(-width // bits) if bits else super().block_rams(width, depth, rom=rom)

    def storage(
        self, kind: MemoryKind, width: int, depth: int, *, loadable: bool = False
    ) -> tuple[Storage, int]:
        if kind is MemoryKind.TABLE:
            sizes = banks(depth, width, loadable)
            return Storage.BLOCK, sum(bank_blocks(size, width, loadable) for size in sizes)
        if kind is MemoryKind.QUEUE:
            return Storage.LUT, lut_rams(width, depth)
        return super().storage(kind, width, depth, loadable=loadable)


ECP5 = _Ecp5(
    "ecp5", half_bits=0, block_bits=18, blocks_used=None, modes=MODES, block_cost=128, lut_ram=4,
    fill=0.96, half_clock=200, crowded=("luts", "block_rams"), link_rams=3, luts=LutFit(2190.0, 3.1, 27.6, 0.0, 2.5),
    flip_flops=FlipFlopFit(1030.0, 4.8, 50.0),
)  # fmt: skip

DEVICES = (
    # The 12F is a 25F die; open tools use all of it.
    Device("LFE5U-12F", ECP5, 24288, 28, 56, flip_flops=24288),
    Device("LFE5U-25F", ECP5, 24288, 28, 56, flip_flops=24288),
    Device("LFE5U-45F", ECP5, 43848, 72, 108, flip_flops=43848),
    Device("LFE5U-85F", ECP5, 83640, 156, 208, flip_flops=83640),
    Device("LFE5UM5G-45F", ECP5, 43848, 72, 108, flip_flops=43848),
)
