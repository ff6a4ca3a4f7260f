"""Simulate a program's Verilog and hold it against the golden model and the cycle budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler import golden
from ..compiler.arrays import BoolArray, FloatArray, IntArray, check_lengths
from ..compiler.errors import CheckError, InputError
from ..compiler.program.chain import Chain, check_program
from ..compiler.program.program import Program
from ..compiler.program.turns import take_turns
from ..compiler.shown import Shown
from ..hw.export.verilog import core_verilog
from .bench import Bench, Recorded
from .compiled import CompiledBench
from .netlist import NetlistBench, family_of
from .simulators import SIMULATORS
from .waves import DEPTH, LIMIT, NO_WAVES, Waves, affordable, check_limit, layout, rename_vcd

__all__ = ["Simulation", "compare", "simulate"]


@dataclass(repr=False)
class Simulation(Shown):
    """Result of a simulation.

    Attributes
    ----------
    outputs : ndarray of float64
        Values, in the shape ``Program.run`` gives.
    bit_exact : bool
        Every output of every step, and the final state, equal the golden model.
    mismatch : str
        The first difference: layer, step, element, expected and actual code.
    cycle_exact : bool
        Every step ended in the predicted cycle (true by definition where pauses were asked for).
    cycles_per_step : (int, int)
        Fewest and most cycles between the ends of consecutive steps; of several streams those of a
        round, over their number, rounded up.
    cycles_predicted : int
        The program's promise for back-to-back steps.
    latency_cycles : int
        From the first input element to the last output element of the first step, both included.
    steps : int
    simulator : str
    codes : ndarray of int64, shape (N, T, outputs)
        What the hardware gave out, zero in the padding.
    cells : dict of str to int
        Cells of the netlist by type, where one was simulated; of several passes together.
    passes : list of Simulation
        Every pass of a :class:`~gatewright.compiler.program.chain.Chain`. The figures above are then sums,
        and true only where they are for each of them.
    """

    outputs: FloatArray
    bit_exact: bool
    mismatch: str
    cycle_exact: bool
    cycles_per_step: tuple[int, int]
    cycles_predicted: int
    latency_cycles: int
    steps: int
    simulator: str
    codes: IntArray
    cells: dict[str, int] = field(default_factory=dict)
    passes: list[Simulation] = field(default_factory=list)

    def facts(self) -> dict[str, str]:
        """Return the verdict, and what was compared in which simulator."""
        low, high = self.cycles_per_step
        exact = [
            f"{'' if ok else 'not '}{what}-exact"
            for ok, what in ((self.bit_exact, "bit"), (self.cycle_exact, "cycle"))
        ]
        return {
            "verdict": " and ".join(exact) + (f": {self.mismatch}" if self.mismatch else ""),
            "compared": f"{self.steps:,} steps in {self.simulator}",
            "cycles": f"{low:,} to {high:,} cycles a step, {self.cycles_predicted:,} predicted",
        }


def compare(program: Program, expected: IntArray, actual: IntArray) -> str:
    """Return the first difference between two sets of output codes, or an empty string.

    Parameters
    ----------
    expected, actual : ndarray, shape (steps, outputs)
    """
    wrong = np.argwhere(expected != actual)
    if not len(wrong):
        return ""
    step, element = (int(i) for i in wrong[0])
    at = element
    for name in program.network.outputs:
        if at < program.network.size(name):
            break
        at -= program.network.size(name)
    return (
        f"step {step}, output {element} ({name}[{at}]): expected {expected[step, element]}, got "
        f"{actual[step, element]}; {len(wrong)} of {expected.size} codes differ"
    )


def simulate(
    program: Program | Chain,
    x: npt.ArrayLike,
    *,
    lengths: npt.ArrayLike | None = None,
    simulator: str = "verilator",
    stall: float = 0.0,
    seed: int = 0,
    wave: str | Path | None = None,
    wave_depth: int = DEPTH,
    wave_limit: float = LIMIT,
    netlist: str = "",
    folder: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Simulation:
    """Simulate a program on values and compare every output, and every step's cycle.

    Parameters
    ----------
    program : Program or Chain
        The passes of a chain are fed with what the hardware of earlier passes gave out.
    x : array_like, shape (N, T, I) or (T, I)
        Each sequence starts from the reset state; sequences follow without a pause, dealt to the
        program's streams by :func:`~gatewright.compiler.program.turns.take_turns`.
    lengths : array_like of int, shape (N,), optional
        True lengths of zero-padded sequences; the padding is not simulated.
    simulator : {'verilator', 'verilator-cpp', 'icarus', 'amaranth'}
        ``verilator-cpp`` has drivers in C++ in place of cocotb's: the quickest, without waveforms.
    stall : float
        Chance of a pause before each transfer, below 1.
    seed : int
    wave : path, optional
        Write a waveform of the first sequence there, and a layout of it for viewers beside it:
        ``.fst`` or ``.vcd`` of Verilator, ``.fst`` of Icarus, ``.vcd`` of Amaranth; of several passes
        to ``name.pass0.fst`` and so on. See ``docs/waves.md``.
    wave_depth : int
        Levels of the hierarchy in it, of Verilator; 0: all.
    wave_limit : float
        Megabytes that it may take; later steps are left out.
    netlist : str
        Simulate what synthesis makes for that family, one of
        :data:`~gatewright.sim.netlist.FAMILIES`, in Verilator; see ``docs/netlist.md``.
    folder : path, optional
        Keep the build there; of several passes in ``pass0`` and so on.
    progress : callable, optional
        Called with a line before each long stage.

    Returns
    -------
    Simulation
    """
    check_program(program)
    if simulator not in SIMULATORS:
        raise InputError(f"simulator is one of {', '.join(SIMULATORS)}, not {simulator!r}")
    if not 0 <= stall < 1:
        raise InputError(f"stall is a chance from 0 to below 1, not {stall!r}")
    if netlist and simulator != "verilator":
        raise InputError(f"netlists are simulated in verilator, not in {simulator}")
    if netlist:
        family_of(netlist)
    waves = NO_WAVES
    if wave is not None:
        waves = Waves.of(Path(wave), simulator, wave_depth)
        check_limit(wave_limit)
    codes = program.encode(x)
    length = check_lengths(lengths, *codes.shape[:2])
    if length is None:
        length = np.full(len(codes), codes.shape[1])
    if not length.any():
        raise InputError("there are no steps to simulate")
    say = progress or (lambda _: None)
    options: dict[str, Any] = {
        "simulator": simulator, "stall": stall, "seed": seed, "netlist": netlist, "waves": waves,
        "limit": wave_limit,
    }  # fmt: skip
    if isinstance(program, Chain):
        done = _simulate_chain(program, codes, length, wave, folder, say, options)
    else:
        done = _simulate(program, codes, length, wave, folder, say, **options)
    return replace(done, outputs=done.outputs[0]) if np.ndim(x) == 2 else done


def _simulate_chain(
    chain: Chain, codes: IntArray, length: IntArray, wave: str | Path | None,
    folder: str | Path | None, say: Callable[[str], None], options: dict[str, Any],
) -> Simulation:  # fmt: skip
    """Simulate one pass after the other, each on what the hardware before it gave out."""
    passes: list[Simulation] = []

    def run(k: int, program: Program, given: IntArray) -> IntArray:
        say(f"pass {k} of {len(chain.passes)}")
        path = Path(wave) if wave else None
        path = path.with_name(f"{path.stem}.pass{k}{path.suffix}") if path else None
        inside = Path(folder) / f"pass{k}" if folder else None
        passes.append(_simulate(program, given, length, path, inside, say, **options))
        return passes[-1].codes

    outputs, _ = chain.walk(codes, run, length)
    outputs[np.arange(codes.shape[1]) >= length[:, None]] = 0
    wrong = [f"pass {k}: {done.mismatch}" for k, done in enumerate(passes) if done.mismatch]
    return Simulation(
        outputs=chain.decode(outputs),
        bit_exact=all(done.bit_exact for done in passes),
        mismatch=wrong[0] if wrong else "",
        cycle_exact=all(done.cycle_exact for done in passes),
        cycles_per_step=(
            sum(done.cycles_per_step[0] for done in passes),
            sum(done.cycles_per_step[1] for done in passes),
        ),
        cycles_predicted=sum(done.cycles_predicted for done in passes),
        latency_cycles=sum(done.latency_cycles for done in passes),
        steps=int(length.sum()),
        simulator=options["simulator"],
        codes=outputs,
        cells=dict(sum((Counter(done.cells) for done in passes), Counter())),
        passes=passes,
    )


def _bench(
    program: Program, simulator: str, netlist: str, folder: str | Path | None,
    say: Callable[[str], None], waves: Waves = NO_WAVES,
) -> Bench:  # fmt: skip
    """Build what is to be simulated."""
    if netlist:
        return NetlistBench(program, netlist, folder=folder, waves=waves, progress=say)
    kind = CompiledBench if simulator == "verilator-cpp" else Bench
    return kind(program, simulator, folder=folder, waves=waves, progress=say)


def _write_wave(
    program: Program, codes: IntArray, first: BoolArray, outputs: IntArray, wave: Path,
    folder: Path | None, say: Callable[[str], None], limit: float, waves: Waves, *, simulator: str,
    stall: float, seed: int, netlist: str,
) -> None:  # fmt: skip
    """Play the first steps (T, I) again, as many as the limit allows, with a waveform.

    Raises
    ------
    CheckError
        The outputs are others than before.
    """

    def announce(text: str) -> int:
        kept, size = affordable(text, waves, program.schedule.cycles()[0], len(codes), limit)
        of = "sequence" if program.streams == 1 else f"{program.streams} sequences"
        say(f"wave of {kept} of {len(codes)} steps of the first {of}: at most {size:,.1f} MB")
        return kept

    if simulator == "amaranth":
        from .pysim import Steps, record

        kept = announce(core_verilog(program, trace=True))
        steps = Steps(codes[:kept], first[:kept])
        shown = record(program, [steps], stall=stall, seed=seed, wave=wave).outputs
    else:
        with _bench(program, simulator, netlist, folder, say, waves) as bench:
            kept = announce("".join(path.read_text() for path in bench.sources))
            recorded = bench.record(codes[:kept], first[:kept], stall=stall, seed=seed, wave=wave)
        shown = np.zeros_like(recorded.outputs)
        shown[:, program.schedule.output_order] = recorded.outputs
    if not (shown == outputs[:kept]).all():
        raise CheckError("the core with a waveform gave out other codes than without one")
    if wave.suffix == ".vcd":
        rename_vcd(wave)
    if not netlist:
        layout(program, wave, simulator)


def _final_states(program: Program, codes: IntArray, first: BoolArray) -> IntArray:
    """Return the states of all streams in a row, after steps (T, I) that they took in turn."""
    found = []
    for stream in range(program.streams):
        own = codes[stream :: program.streams]
        start = np.flatnonzero(first[stream :: program.streams])[-1:].sum()
        state = golden.run(program.network, own[None, start:]).state
        found.append(state.flat(program.network)[0])
    return np.concatenate(found)


def _simulate(
    program: Program, codes: IntArray, length: IntArray, wave: str | Path | None,
    folder: str | Path | None, say: Callable[[str], None], *, simulator: str, stall: float,
    seed: int, netlist: str, waves: Waves, limit: float,
) -> Simulation:  # fmt: skip
    """Simulate a program on codes (N, T, I), without the padding."""
    n, steps = codes.shape[:2]
    sequence, step = take_turns(length, program.streams)
    real, first = sequence >= 0, step <= 0
    flat = np.where(real[:, None], codes[sequence, step], 0)
    cells: dict[str, int] = {}

    if simulator == "amaranth":
        from .pysim import Read, Steps, record

        say("simulating in Amaranth")
        done = record(
            program,
            [Steps(flat, first), *(Read(k) for k in range(program.streams))],
            stall=stall,
            seed=seed,
        )
        recorded = Recorded(done.outputs, done.ends, np.concatenate(done.states))
        outputs = done.outputs
    else:
        with _bench(program, simulator, netlist, folder, say) as bench:
            say(f"simulating {len(flat)} steps")
            recorded = bench.record(flat, first, stall=stall, seed=seed)
            cells = bench.cells
        outputs = np.zeros_like(recorded.outputs)
        outputs[:, program.schedule.output_order] = recorded.outputs

    if wave is not None:
        shown = int(length[np.flatnonzero(length)[0]]) * program.streams
        inside = Path(folder) / "wave" if folder else None
        _write_wave(
            program, flat[:shown], first[:shown], outputs[:shown], Path(wave), inside, say, limit,
            waves, simulator=simulator, stall=stall, seed=seed, netlist=netlist,
        )  # fmt: skip

    expected = outputs.copy()  # what comes of an idle stream is dropped
    expected[real] = golden.run(program.network, codes).outputs[sequence[real], step[real]]
    mismatch = compare(program, expected, outputs)
    if not mismatch and len(recorded.state):
        final = _final_states(program, flat, first)
        wrong = np.flatnonzero(final != recorded.state)
        if len(wrong):
            k = int(wrong[0])
            mismatch = f"final state word {k}: expected {final[k]}, got {recorded.state[k]}"
    predicted = program.schedule.predict(len(flat))
    cycle_exact = bool(stall) or bool((recorded.ends == predicted).all())
    if not cycle_exact and not mismatch:
        k = int(np.flatnonzero(recorded.ends != predicted)[0])
        mismatch = f"step {k} ended in cycle {recorded.ends[k]}, predicted {predicted[k]}"
    rounds = recorded.ends[program.streams :] - recorded.ends[: -program.streams]
    gaps = -(-rounds // program.streams) if len(rounds) else recorded.ends[:1] + 1
    padded = np.zeros((n, steps, outputs.shape[1]), np.int64)
    padded[sequence[real], step[real]] = outputs[real]
    return Simulation(
        outputs=program.decode(padded),
        bit_exact=bool((expected == outputs).all()) and "state" not in mismatch,
        mismatch=mismatch,
        cycle_exact=cycle_exact,
        cycles_per_step=(int(gaps.min()), int(gaps.max())),
        cycles_predicted=program.schedule.cycles()[0],
        latency_cycles=int(recorded.ends[0]) + 1,
        steps=int(real.sum()),
        simulator=simulator,
        codes=padded,
        cells=cells,
    )
