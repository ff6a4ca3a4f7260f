"""What a program takes of a device, estimated before synthesis.

Multipliers and block RAMs follow from the layout, nearly exactly; LUTs are a fit to builds
(``docs/boards.md`` shows both beside each other).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..arrays import ceil_div
from ..errors import InputError
from ..layout.geometry import Geometry, choose_geometry, estimate_cycles
from ..layout.planes import offsets, plan
from ..layout.tables import POSTS
from ..numerics.activation import ACTIVATIONS
from ..program.program import Program
from .devices import FAMILIES, Device, Family, bank_blocks, banks, block_rams, lut_rams, memory_kind
from .memories import memories

__all__ = ["Estimate", "choose_lanes", "estimate", "needs_loading", "slowdown"]

TABLES = ("weights", "beats")
READ_ONLY = ("weights", "beats", "activation")
EASY_SPLIT, SPLIT_DROP = 4, 12
"""Parts of a row whose sum limits no clock; how many more double the period."""
SPRAM_DEPTH, SPRAM_WIDTH = 1 << 14, 16
"""Words and bits of one single-port RAM of an UP5K."""


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
        """What is needed of each resource."""
        return {
            "luts": self.luts, "flip_flops": self.flip_flops, "multipliers": self.multipliers,
            "block_rams": self.block_rams, "spram": self.spram,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return every figure by name."""
        return asdict(self)


def _table(width: int, depth: int, loadable: bool) -> int:
    """Return the block RAMs of a table on ECP5."""
    return sum(bank_blocks(size, width, loadable) for size in banks(depth, width, loadable))


def estimate(program: Program, device: Device, loadable: bool = False) -> Estimate:
    """Estimate what a program takes of a device, the link included.

    Parameters
    ----------
    program : Program
    device : Device
    loadable : bool
        Weights and beat table are RAM.
    """
    family = FAMILIES[device.family]
    geometry = program.geometry
    rams, small, spram = LINK_RAMS[device.family], 0, 0
    in_spram = loadable and _in_spram(program, device)
    for name, (width, depth, copies) in memories(program).items():
        if name.startswith("weights") and in_spram:
            spram += _sprams(width, depth)
        else:
            rom = name.split()[0] in READ_ONLY and not loadable
            if device.family == "ecp5" and name.split()[0] in TABLES:
                kind, count = "block", _table(width, depth, loadable)
            elif device.family == "ecp5" and name == "outputs":
                kind, count = "lut", lut_rams(width, depth)
            else:
                kind, count = memory_kind(family, width, depth, rom)
            rams += count * copies if kind == "block" else 0
            small += count * copies if kind == "lut" else 0
    acc, total = program.hardware.acc_bits, program.hardware.sum_bits
    lanes = geometry.rows * geometry.split
    blocks, soft = _multipliers(program, lanes, family)
    base, lane, beat, ram, product = LUTS[device.family]
    luts: float = LOADABLE * loadable + FLASH * in_spram
    luts += base + lane * lanes * acc + beat * geometry.beat * total + ram * small + product * soft
    base, lane, beat = FLIP_FLOPS.get(device.family, (0, 0, 0))
    flip_flops = base + lane * lanes * acc + beat * geometry.beat * total
    return Estimate(
        luts=round(luts),
        flip_flops=round(flip_flops),
        multipliers=blocks,
        block_rams=rams,
        spram=spram,
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
    lane_blocks = min(left - hard, ceil_div(lanes, per_block))
    cut = max(0, max(n.weight_bits, net.operand_bits) - family.block_bits)
    soft = lane_blocks * cut * min(n.weight_bits, net.operand_bits)
    soft += sum(unit[hard:]) + max(0, lanes - lane_blocks * per_block) * (
        n.weight_bits * net.operand_bits
    )
    return hard + lane_blocks, soft


# Fits to builds: LUTs of link and control, of a bit of a lane's accumulator, of a bit of a beat's
# sum, of 16 words of 4 bits in LUT RAM, and of a bit of a product that is made of adders.
LUTS = {
    "ice40up": (2510.0, 4.8, 42.0, 0.0, 2.6),
    "ice40hx": (2280.0, 4.8, 42.0, 0.0, 2.6),
    "ecp5": (2190.0, 3.1, 27.6, 0.0, 2.5),
    "gowin": (750.0, 6.4, 71.0, 0.0, 2.5),  # with those that only pass a signal on to a flip-flop
}
# Flip-flops of link and control, of a bit of a lane's accumulator, of a bit of a beat's sum.
FLIP_FLOPS = {"ecp5": (1030.0, 4.8, 50.0), "gowin": (645.0, 5.4, 59.5)}
LOADABLE, FLASH = 420, 250
"""LUTs that read and load memories, and that fill them from flash."""
LINK_RAMS = {"ice40up": 4, "ice40hx": 4, "ecp5": 3, "gowin": 3}


def _in_spram(program: Program, device: Device) -> bool:
    """Return whether the weights go to single-port RAM: too large for block RAM, narrow enough."""
    planes = plan(program.schedule)
    width, depth = offsets(planes)[-1] + planes[-1].width, planes[0].depth
    blocks = block_rams(FAMILIES[device.family], width, depth)
    return blocks > 16 and _sprams(width, depth) <= device.resources["spram"]


def _sprams(width: int, depth: int) -> int:
    """Return the single-port RAMs for words that lie side by side and one after the other."""
    return ceil_div(width, SPRAM_WIDTH) * ceil_div(depth, SPRAM_DEPTH)


def needs_loading(program: Program, device: Device) -> bool:
    """Return whether the weights fit only in memory that has no contents after power-up."""
    if not device.spram_bits:
        return False
    return estimate(program, device).block_rams > device.block_rams


def slowdown(geometry: Geometry, device: Device) -> float:
    """Return by how much a clock is slower than that of one lane: a rough fit to whole tops.

    The parts of a row are added in one cycle, of which more than four take a longer one
    (``docs/decisions.md``).
    """
    parts = max(0, geometry.split - EASY_SPLIT)
    return (1 + geometry.lanes / FAMILIES[device.family].half_clock) * (1 + parts / SPLIT_DROP)


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
    net, rate = program.network, program.config.rate
    most = most or max(8, 2 * device.multipliers)
    shapes = {p: choose_geometry(net, p) for p in range(1, most + 1)}
    slowed = {p: slowdown(shape, device) for p, shape in shapes.items()}
    cycles = {p: estimate_cycles(net, shape) for p, shape in shapes.items()}
    fitting: dict[int, float] = {}  # how long a step takes, by lanes
    nearest = (float("inf"), 1)
    for p in sorted(cycles, key=lambda p: (cycles[p] * slowed[p], p)):
        # A schedule takes hardly less than its estimate (3 % at most were seen), often more (up to 60 %).
        if fitting and cycles[p] * slowed[p] > 1.05 * min(fitting.values()):
            break
        laid = program.with_lanes(p)
        over = excess(laid, device, loadable)
        if over <= 1:
            fitting[p] = laid.schedule.cycles()[0] * slowed[p]
        nearest = min(nearest, (over, p))
    if not fitting:
        return nearest[1]
    # The fewest lanes among those that come within 2 % of each other.
    chosen = min(p for p in fitting if fitting[p] <= 1.02 * min(fitting.values()))
    if not rate:
        return chosen
    budget = clock / rate
    enough = [p for p in sorted(cycles) if cycles[p] <= budget]
    for p in enough:
        laid = program.with_lanes(p)
        if laid.schedule.cycles()[0] <= budget and fits(laid, device, loadable):
            return p
    raise InputError(
        f"{rate:g} steps per second at {clock / 1e6:g} MHz leave {budget:.0f} cycles a step; "
        f"{chosen} lanes, the fastest on {device.name}, take "
        f"{program.with_lanes(chosen).schedule.cycles()[0]}: lower the rate or take a larger board"
    )


def excess(program: Program, device: Device, loadable: bool = False) -> float:
    """Return how full a device is estimated to be: above 1 the program does not fit."""
    need = estimate(program, device, loadable or needs_loading(program, device)).resources
    have = device.room
    return max(n / have[name] if have[name] else n * float("inf") for name, n in need.items() if n)


def fits(program: Program, device: Device, loadable: bool = False) -> bool:
    """Return whether a program is estimated to fit a device."""
    return excess(program, device, loadable) <= 1
