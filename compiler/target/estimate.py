"""Estimate of the resources that a program takes of a device, before synthesis.

Multipliers and block RAMs follow from the layout, nearly exactly; LUTs are a fit to builds
(``docs/boards.md`` shows both beside each other).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError, check_type
from ..layout.choice import Choice
from ..layout.geometry import Geometry
from ..layout.planes import offsets, plan
from ..layout.tables import POSTS
from ..numerics.activation import ACTIVATIONS
from ..program.chain import check_program
from ..program.program import Program
from .family import Device, Family, Storage
from .memories import memories

__all__ = ["Estimate", "choose_lanes", "crowding", "estimate", "needs_loading", "slowdown"]

EASY_SPLIT, SPLIT_DROP = 4, 12
"""Parts of a row whose sum limits no clock; how many more double the period."""
LOADABLE, FLASH = 420, 250
"""LUTs that read and load memories, and that fill them from flash."""
CROWDED, CROWDED_LOSS = 0.9, 0.22
"""Share of a device from which on its clock falls, and by how much it is lower at the end."""
LARGE_BLOCKS = 16
"""Block RAMs that the weights may take before they go to large RAM, where there is some."""


@dataclass(frozen=True)
class Estimate:
    """Resources and cycles of a program on a device.

    Parameters
    ----------
    luts, flip_flops, multipliers, block_rams, spram : int
        ``flip_flops`` is 0 where they are counted with their logic cells.
    cycles_per_step : int
    """

    luts: int
    flip_flops: int
    multipliers: int
    block_rams: int
    spram: int
    cycles_per_step: int

    @property
    def resources(self) -> dict[str, int]:
        """Amount of each resource."""
        return {
            "luts": self.luts, "flip_flops": self.flip_flops, "multipliers": self.multipliers,
            "block_rams": self.block_rams, "spram": self.spram,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return every figure by name."""
        return asdict(self)


def estimate(program: Program, device: Device, loadable: bool = False) -> Estimate:
    """Estimate what a program takes of a device, the link included.

    Parameters
    ----------
    program : Program
    device : Device
    loadable : bool
        Weights and beat table are RAM.
    """
    check_program(program, one_pass=True)
    check_type(device, Device, "the device", "take gw.find_board(name).capacity")
    family, geometry = device.family, program.geometry
    blocks, cells, large = family.link_rams, 0, 0
    in_large = loadable and _in_large_ram(program, device)
    for memory in memories(program).values():
        if memory.name.startswith("weights") and in_large:
            large += _large_rams(memory.width, memory.depth)
            continue
        storage, amount = family.storage(memory.kind, memory.width, memory.depth, loadable=loadable)
        blocks += amount * memory.copies if storage is Storage.BLOCK else 0
        cells += amount * memory.copies if storage is Storage.LUT else 0
    lanes = geometry.rows * geometry.split
    acc, total = program.hardware.acc_bits, program.hardware.sum_bits
    multipliers, product_bits = _multipliers(program, lanes, family)
    fit, flops = family.luts, family.flip_flops
    luts: float = LOADABLE * loadable + FLASH * in_large
    luts += (
        fit.base + fit.lane * lanes * acc + fit.row * geometry.beat * total
        + fit.lut_ram * cells + fit.product * product_bits
    )  # fmt: skip
    flip_flops = flops.base + flops.lane * lanes * acc + flops.row * geometry.beat * total
    return Estimate(
        luts=round(luts),
        flip_flops=round(flip_flops),
        multipliers=multipliers,
        block_rams=blocks,
        spram=large,
        cycles_per_step=program.schedule.cycles()[0],
    )


def _multipliers(program: Program, lanes: int, family: Family) -> tuple[int, int]:
    """Return multiplier blocks of elementwise unit and lanes, and the bits of products in LUTs.

    Where a family has few blocks the elementwise unit takes its own first, then the lanes.
    """
    s, net = program.schedule, program.network
    n = net.numbers
    beats = [b for b in s.beats if b.lanes]
    curved = {ACTIVATIONS[b.act] for b in beats} & {"tanh", "sigmoid"}
    sizes = [
        n.gate_bits * n.hidden_bits if any(b.reset for b in beats) else 0,
        (n.gate_bits + 1) * (n.state_bits + 2)
        if any(POSTS[b.post] != "pass" for b in beats)
        else 0,
        n.gate_bits * n.tables.fraction_bits if curved and n.tables.kind != "direct" else 0,
    ]
    unit = [size for size in sizes if size] * program.geometry.beat
    narrow = max(n.weight_bits, net.operand_bits) <= family.half_bits
    per_block = 2 if narrow else 1
    left = len(unit) + lanes if family.blocks_used is None else family.blocks_used
    hard = min(left, len(unit))
    lane_blocks = min(left - hard, -(-lanes // per_block))
    cut = max(0, max(n.weight_bits, net.operand_bits) - family.block_bits)
    soft = lane_blocks * cut * min(n.weight_bits, net.operand_bits)
    soft += sum(unit[hard:]) + max(0, lanes - lane_blocks * per_block) * (
        n.weight_bits * net.operand_bits
    )
    return hard + lane_blocks, soft


def _in_large_ram(program: Program, device: Device) -> bool:
    """Return whether the weights go to large RAM: too many for block RAM, narrow enough."""
    planes = plan(program.schedule)
    width, depth = offsets(planes)[-1] + planes[-1].width, planes[0].depth
    blocks = device.family.block_rams(width, depth)
    return blocks > LARGE_BLOCKS and _large_rams(width, depth) <= device.large_rams


def _large_rams(width: int, depth: int) -> int:
    """Return the large RAMs for words that lie side by side and one after the other."""
    bits, words = Device.LARGE_RAM
    return -(-width // bits) * -(-depth // words)


def needs_loading(program: Program, device: Device) -> bool:
    """Return whether the weights fit only in memory that has no contents after power-up."""
    if not device.large_rams:
        return False
    return estimate(program, device).block_rams > device.block_rams


def slowdown(geometry: Geometry, device: Device) -> float:
    """Return by how much a clock is slower than that of one lane: a rough fit to whole tops.

    The parts of a row are added in one cycle, of which more than four take a longer one
    (``docs/decisions.md``).
    """
    parts = max(0, geometry.split - EASY_SPLIT)
    return (1 + geometry.lanes / device.family.half_clock) * (1 + parts / SPLIT_DROP)


def crowding(program: Program, device: Device, loadable: bool = False) -> float:
    """Return the share of a usual clock that a program reaches on a device so full.

    1 up to ``CROWDED`` of what the family's clock depends on, then down to ``1 - CROWDED_LOSS``: a fit
    to builds (``docs/boards.md``).
    """
    need = estimate(program, device, loadable or needs_loading(program, device)).resources
    have = device.resources
    full = max(need[name] / have[name] for name in device.family.crowded)
    return 1 - CROWDED_LOSS * min(1.0, max(0.0, (full - CROWDED) / (1 - CROWDED)))


def choose_lanes(
    program: Program, device: Device, clock: float, loadable: bool = False, most: int = 0
) -> int:
    """Choose lanes for a device: those with the fastest step that it has room for, or as few as the rate needs.

    More lanes take fewer cycles at a lower clock; past some number a step takes longer again.

    Parameters
    ----------
    program : Program
        Its network, and the rate of its configuration in steps per second.
    device : Device
    clock : float
        Hertz that the rate is counted against.
    loadable : bool
    most : int
        Lanes at most; 0 leaves it to the device.

    Returns
    -------
    int
        Where nothing fits, the layout that is the nearest to it.

    Raises
    ------
    InputError
        The rate is out of reach on this device.
    """
    choice, rate = Choice.of(program.network, program.streams), program.config.rate
    most = most or max(8, 2 * device.multipliers)
    bounds = choice.least(most)
    least = {p: bounds[p] * slowdown(Geometry(p, 1, 1), device) for p in range(1, most + 1)}
    fitting: dict[int, float] = {}  # how long a step takes, by lanes
    nearest, limit = (float("inf"), 1), float("inf")
    for p in sorted(least, key=lambda p: least[p]):
        if least[p] > limit:
            break
        shape = choice.geometry(p)
        took = choice.cycles(shape) * slowdown(shape, device)
        if shape.lanes < p or took > limit:
            continue
        over = excess(program.with_lanes(p), device, loadable)
        nearest = min(nearest, (over, p))
        if over <= 1:
            fitting[p] = took
            # The fewest lanes among those that come within 2 % of each other.
            limit = 1.02 * min(fitting.values())
    if not fitting:
        return nearest[1]
    chosen = min(p for p in fitting if fitting[p] <= limit)
    if not rate:
        return chosen
    budget = clock / rate
    for p in np.flatnonzero(bounds <= budget).tolist():
        enough = choice.cycles(choice.geometry(p)) <= budget
        if enough and fits(program.with_lanes(p), device, loadable):
            return int(p)
    raise InputError(
        f"{rate:g} steps per second at {clock / 1e6:g} MHz leave {budget:.0f} cycles a step; "
        f"{chosen} lanes, the fastest on {device.name}, take "
        f"{choice.cycles(choice.geometry(chosen))}: lower the rate or take a larger board"
    )


def excess(program: Program, device: Device, loadable: bool = False) -> float:
    """Return how full a device is estimated to be: above 1 the program does not fit."""
    need = estimate(program, device, loadable or needs_loading(program, device)).resources
    have = device.room
    return max(n / have[name] if have[name] else n * float("inf") for name, n in need.items() if n)


def fits(program: Program, device: Device, loadable: bool = False) -> bool:
    """Return whether a program is estimated to fit a device."""
    return excess(program, device, loadable) <= 1
