"""Differential fuzzing: PyTorch ~ golden (NumPy) == golden (compiled) == Amaranth == Verilator == netlists.

``make fuzz N=200`` or ``make fuzz SECONDS=600``, with ``SEED=7`` for others; hypothesis draws and
shrinks. A difference ends with the one command that replays it: ``make fuzz CASE='{...}'``.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from gatewright.compiler import golden
from gatewright.compiler.errors import InputError
from gatewright.compiler.golden import State
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.jobs import Jobs, check_jobs, workers
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.sim.netlist import FAMILIES, NetlistBench
from gatewright.sim.pysim import Load, Read, Steps, record
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .chains import both_ways
from .many_cores import record_many
from .randoms import config, extreme_codes
from .randoms import model as random_model

__all__ = ["Case", "Different", "cases", "check", "fuzz"]

BATCH = 24
"""Cases of one seed, in one Verilator build: starting the compiler costs more than one more core."""
TORCH = {"gru": ("GRU", "rzn"), "lstm": ("LSTM", "ifgo"), "rnn": ("RNN", "n")}
"""PyTorch's modules, and the order of gates in their tensors."""


@dataclass(frozen=True)
class Case:
    """One configuration; equal fields give equal runs.

    Parameters
    ----------
    seed : int
        Of sizes, weights, widths, codes and pauses.
    cells : tuple of str
    layers, largest, lanes : int
        At most.
    both_ways : bool
        A stack of bidirectional layers: each pass is a core.
    scale : float
        Factor on all weights: 0, or far beyond what training gives.
    argmax, loadable : bool
    streams : int
        Sequences that take steps in turn.
    stall : float
        Chance of a pause before each transfer, on every stream.
    junk : int
        Cycles of random traffic on every stream, ended by a reset.
    plan : tuple of str
        What happens in turn: ``fresh`` steps, steps that ``continue``, ``read`` and ``load`` of the state.
    netlist : str
        Also the netlist of this family; it takes a minute.
    """

    seed: int
    cells: tuple[str, ...] = ("gru",)
    layers: int = 1
    largest: int = 2
    lanes: int = 1
    both_ways: bool = False
    scale: float = 1.0
    argmax: bool = False
    loadable: bool = False
    streams: int = 1
    stall: float = 0.0
    junk: int = 0
    plan: tuple[str, ...] = ("fresh", "read")
    netlist: str = ""

    def __str__(self) -> str:
        return f"make fuzz CASE='{json.dumps(asdict(self))}'"

    @classmethod
    def read(cls, text: str) -> Case:
        """Read what the replay command carries."""
        values = json.loads(text)
        return cls(**values | {name: tuple(values[name]) for name in ("cells", "plan")})


class Different(AssertionError):
    """Two implementations of a case differ."""

    def __init__(self, what: str, case: Case) -> None:
        super().__init__(f"{what}\n{case}")
        self.case = case


cases = st.builds(
    Case,
    seed=st.integers(0, 2**31 - 1),
    cells=st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=3, unique=True).map(tuple),
    layers=st.integers(1, 3),
    largest=st.integers(1, 10),
    lanes=st.integers(1, 40),
    both_ways=st.sampled_from([False] * 9 + [True]),
    scale=st.sampled_from([1.0, 1.0, 1.0, 0.0, 0.01, 6.0, 100.0]),
    argmax=st.sampled_from([False] * 7 + [True]),
    loadable=st.sampled_from([False, False, True]),
    streams=st.sampled_from([1, 1, 2, 3, 4]),
    stall=st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.8]),
    junk=st.sampled_from([0, 0, 0, 23, 117]),
    plan=st.lists(
        st.sampled_from(["fresh", "continue", "read", "load"]), min_size=1, max_size=6
    ).map(lambda plan: ("fresh", *plan, "read")),
)  # fmt: skip


# -- one case -------------------------------------------------------------------------------


def _scaled(m: Model, factor: float) -> Model:
    """Multiply all weights and biases of a model."""

    def times(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: array * factor for name, array in value.items()}
        return value * factor if isinstance(value, np.ndarray) else value

    layers = tuple(
        replace(layer, **{name: times(value) for name, value in vars(layer).items()
                          if isinstance(value, dict | np.ndarray)})
        for layer in m.layers
    )  # fmt: skip
    return replace(m, layers=layers)


def _programs(case: Case) -> tuple[Model, list[Program]]:
    """Return the float model and its cores: one, or one a pass."""
    rng = np.random.default_rng(case.seed)
    if case.both_ways:
        m = both_ways(
            case.cells[0], layers=min(2, case.layers), i=2, h=1 + case.largest // 3, seed=case.seed
        )
    else:
        m = random_model(rng, cells=case.cells, layers=case.layers, largest=case.largest)
    m = _scaled(m, case.scale)
    options = replace(
        config(rng, most_lanes=case.lanes, model=m), argmax=case.argmax, streams=case.streams
    )
    made = quantize(m, rng.normal(size=(2, 12, m.input_size)), options)
    return m, list(made.passes)


@dataclass
class _Job:
    """What one core is asked to do, and what must come of it, by the contract alone."""

    case: Case
    program: Program
    items: list[Any]
    outputs: np.ndarray
    states: list[np.ndarray]
    # The C++ bench only begins afresh or goes on: the same steps without the loads.
    codes: np.ndarray
    first: np.ndarray
    expected: np.ndarray
    final: np.ndarray


def _job(case: Case, p: Program) -> _Job:
    """Walk the plan in NumPy and compare the compiled golden model on the way."""
    rng, net, n = np.random.default_rng(case.seed + 1), p.network, p.streams
    state = State.zeros(net, n)
    items: list[Any] = []
    outputs, states, codes, firsts = [], [], [], []
    for word in case.plan:
        stream = int(rng.integers(n)) if n > 1 else 0
        if word == "read":
            items.append(Read(stream))
            rows = state.flat(net)  # one, and no words, where nothing is recurrent
            states.append(rows[min(stream, len(rows) - 1)])
        elif word == "load":
            other = golden.reference(net, extreme_codes(p, rng, 1, 3)).state.flat(net)[0]
            items.append(Load(other, stream))
            rows = np.arange(n)[:, None] == stream
            state = State.unflat(net, np.where(rows, other, state.flat(net)))
        else:
            x = extreme_codes(p, rng, n, int(rng.integers(1, 4)))
            fresh = np.full(n, word == "fresh") | ((rng.random(n) < 0.25) if n > 1 else False)
            before = State.unflat(net, np.where(fresh[:, None], 0, state.flat(net)))
            done, fast = golden.reference(net, x, before), golden.run(net, x, before)
            same = (done.outputs == fast.outputs).all() and done.saturations == fast.saturations
            if not same or (done.state.flat(net) != fast.state.flat(net)).any():
                raise Different("golden in NumPy and compiled", case)
            state = done.state
            first = np.zeros(x.shape[:2], bool)
            first[:, 0] = fresh
            steps = [np.swapaxes(a, 0, 1).reshape(-1, *a.shape[2:]) for a in (x, first)]
            items.append(Steps(*steps))
            codes.append(steps[0])
            firsts.append(steps[1])
            outputs.append(np.swapaxes(done.outputs, 0, 1).reshape(-1, net.output_size))
    steps, first = np.concatenate(codes), np.concatenate(firsts)
    expected, final = np.zeros((len(steps), net.output_size), np.int64), []
    for stream in range(n):
        own = np.arange(stream, len(steps), n)
        starts = np.flatnonzero(first[own]).tolist()
        for low, high in zip(starts, [*starts[1:], len(own)], strict=True):
            done = golden.reference(net, steps[None, own[low:high]])
            expected[own[low:high]] = done.outputs[0]
        final.append(done.state.flat(net)[0])
    return _Job(
        case, p, items, np.concatenate(outputs), states, steps, first, expected,
        np.concatenate(final),
    )  # fmt: skip


def _torch(case: Case, m: Model) -> None:
    """Compare the float model with PyTorch's own modules in float64, where it has the cells."""
    import torch

    kinds = [layer for layer in m.layers if isinstance(layer, Recurrent)]
    if case.both_ways or any(r.cell not in TORCH or r.candidate not in ("", "tanh") for r in kinds):
        return
    x = np.random.default_rng(case.seed + 2).normal(size=(2, 9, m.input_size))
    values = {"x": torch.tensor(x)}
    with torch.no_grad():
        for layer in m.layers:
            given = torch.cat([values[name] for name in layer.inputs], dim=2)
            if isinstance(layer, Linear):
                bias = np.zeros(layer.size) if layer.bias is None else np.asarray(layer.bias)
                y = given @ torch.tensor(layer.w).T + torch.tensor(bias)
                act = {
                    "none": lambda v: v,
                    "relu": torch.relu,
                    "tanh": torch.tanh,
                    "sigmoid": torch.sigmoid,
                }
                values[layer.name] = act[layer.activation](y)
                continue
            name, gates = TORCH[layer.cell]
            module = getattr(torch.nn, name)(
                layer.input_size, layer.size, batch_first=True, dtype=torch.float64
            )
            for target, source in (
                ("weight_ih_l0", layer.w), ("weight_hh_l0", layer.u), ("bias_ih_l0", layer.b),
                ("bias_hh_l0", layer.c),
            ):  # fmt: skip
                getattr(module, target).copy_(
                    torch.tensor(np.concatenate([source[g] for g in gates]))
                )
            values[layer.name] = module(given)[0]
    wanted = torch.cat([values[name] for name in m.outputs], dim=2).numpy()
    if np.abs(m.run(x) - wanted).max() > 1e-9 * max(1.0, float(np.abs(wanted).max())):
        raise Different("PyTorch and the float model", case)


def prepare(case: Case) -> list[_Job] | None:
    """Compare all that needs no Verilog; None: the quantizer refuses the case by name."""
    try:
        m, programs = _programs(case)
    except InputError:
        return None
    _torch(case, m)
    jobs = [_job(case, p) for p in programs]
    for job in jobs:
        try:
            got = record(job.program, job.items, stall=case.stall, seed=case.seed, junk=case.junk)
        except Exception as error:
            raise Different(f"Amaranth: {error}", case) from error
        if (got.outputs != job.outputs).any():
            raise Different("outputs of Amaranth", case)
        if any((a != b).any() for a, b in zip(got.states, job.states, strict=True)):
            raise Different("states of Amaranth", case)
    return jobs


def _compare(job: _Job, got: Any, name: str) -> None:
    outputs = np.zeros_like(got.outputs)
    outputs[:, job.program.schedule.output_order] = got.outputs
    if (outputs != job.expected).any():
        raise Different(f"outputs of {name}", job.case)
    if len(got.state) and (got.state != job.final).any():
        raise Different(f"the state of {name}", job.case)
    if not job.case.stall and (got.ends != job.program.schedule.predict(len(outputs))).any():
        raise Different(f"cycles of {name}", job.case)


def check(batch: Sequence[Case], folder: Path, counts: Counter[str]) -> None:
    """Check cases: what needs no Verilog one by one, then all of them in one Verilator build."""
    jobs: list[_Job] = []
    for case in batch:
        made = prepare(case)
        counts["refused" if made is None else "configurations"] += 1
        for job in made or []:
            counts["cores"] += 1
            jobs.append(job)
    if not jobs:
        return
    played = [(j.program, j.codes, j.first, j.case.stall, j.case.seed) for j in jobs]
    loadable = [j.case.loadable for j in jobs]
    for job, got in zip(jobs, record_many(played, folder, loadable), strict=True):
        _compare(job, got, "Verilator")
    for k, job in enumerate(jobs):
        if job.case.netlist:
            counts["netlists"] += 1
            with NetlistBench(
                job.program, job.case.netlist, folder=folder / f"netlist{k}"
            ) as bench:
                got = bench.record(job.codes, job.first, stall=job.case.stall, seed=job.case.seed)
            _compare(job, got, f"the netlist of {job.case.netlist}")


def _draw(run: Callable[[Case], None], k: int) -> None:
    """Give the cases of a seed to a function; hypothesis shrinks the one with which it fails."""

    @seed(k)
    @settings(
        max_examples=BATCH, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(cases)
    def each(case: Case) -> None:
        run(case)

    each()


def _alone(case: Case) -> None:
    with TemporaryDirectory() as folder:
        check([case], Path(folder), Counter())


def _shrink(k: int, batch: Sequence[Case], whole: Exception) -> None:
    """Find what differs in a batch of a seed, alone and small."""
    found = isinstance(whole, Different) and next((c for c in batch if c == whole.case), None)
    failed: list[Case] = []

    def run(case: Case) -> None:
        # Until the first difference all are those of the batch, and most of these agree.
        if not failed and (case not in batch or (found and case != found)):
            return
        try:
            _alone(case)
        except Exception:
            failed.append(case)
            raise

    _draw(run, k)


def _netlist(k: int, number: int) -> Case:
    """Return a small case of a seed, on the family whose turn it is."""
    families, cells = list(FAMILIES), list(CELLS)
    family, cell = families[number % len(families)], cells[k % len(cells)]
    return Case(k, (cell,), largest=3, lanes=4, netlist=family, stall=0.3 * (k % 2))


def _explain(k: int, batch: Sequence[Case], netlist: Case | None) -> None:
    """Check again what differed, in this process, and raise what the smallest case gives."""
    try:
        with TemporaryDirectory() as folder:
            check(batch, Path(folder), Counter())
    except Exception as error:
        _shrink(k, batch, error)
        raise  # it does not happen alone
    if netlist:
        _alone(netlist)
    raise RuntimeError(f"seed {k} differed once and not a second time: {batch[:1]} and others")


def _holds(batch: Sequence[Case], netlist: Case | None) -> Counter[str] | None:
    """Check a batch, and a netlist where there is one; return the counts, None where they differ."""
    counts: Counter[str] = Counter()
    try:
        if batch:
            with TemporaryDirectory() as folder:
                check(batch, Path(folder), counts)
        if netlist:
            _alone(netlist)
            counts["netlists"] += 1
    except Exception:
        return None
    return counts


def fuzz(
    number: int, seconds: float, start: int = 0, netlists: int = 0, jobs: Jobs = 1
) -> Counter[str]:
    """Draw and check cases, no two alike, until there are so many, or the time is over.

    Parameters
    ----------
    number : int
        Configurations at most.
    seconds : float
    start : int
        Seed of the drawing.
    netlists : int
        One small case in so many batches is synthesized too, families in turn; 0: none.
    jobs : int or str
        Batches side by side, as of :func:`~gatewright.compiler.jobs.workers`; cases are the same.

    Raises
    ------
    Different
        Of the smallest case that hypothesis finds.
    """
    counts: Counter[str] = Counter()
    end, k = time.monotonic() + seconds, start
    seen = set[Case]()
    with workers(jobs) as staff:
        while counts["configurations"] < number and time.monotonic() < end:
            batches: list[list[Case]] = []
            cases: list[Case | None] = []
            for at in range(k, k + staff.count):
                drawn: list[Case] = []
                _draw(drawn.append, at)
                left = number - counts["configurations"] - sum(map(len, batches))
                batches.append([case for case in drawn if case not in seen][:left])
                seen.update(batches[-1])
                due = netlists and (at - start) % netlists == netlists - 1
                cases.append(_netlist(at, at // netlists) if due else None)
            for batch, netlist, found in zip(
                batches, cases, staff.map(_holds, batches, cases), strict=True
            ):
                if found is None:
                    _explain(k, batch, netlist)
                else:
                    counts.update(found)
                k += 1
            print(f"seed {k}: {dict(counts)}", flush=True)
    return counts


def main(arguments: list[str]) -> None:
    """Run ``N SECONDS SEED NETLISTS JOBS``, or replay a case."""
    if arguments[0].startswith("{"):
        with TemporaryDirectory() as folder:
            check([Case.read(arguments[0])], Path(folder), counts := Counter())
    else:
        number, seconds, start, netlists = (int(a) for a in arguments[:4])
        begin = time.monotonic()
        counts = fuzz(number, seconds, start, netlists, check_jobs(arguments[4]))
        print(f"{time.monotonic() - begin:.0f} s")
    print(f"no difference: {dict(counts)}")


if __name__ == "__main__":
    main(sys.argv[1:])
