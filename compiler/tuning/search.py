"""Search for the cheapest widths that keep a metric: of weights by layer and gate, and of vectors.

The search is greedy and needs no derivative. It lowers the width of all weights together as far as
the metric allows, then of single layers and gates, then of operands, gates and states. In a round
over layers and gates every one of them is lowered by a bit on its own; those that save most for the
error they cause are kept, one after the other, as long as the metric holds. Weights come first,
since they take most of the memory. Every evaluation is a golden model on held-out data, and is
written to a journal at once: an interrupted search goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.metric import Metric
from ..arrays import check_lengths
from ..config import Config
from ..errors import CheckError, InputError, check_type
from ..files.atomic import atomic_write
from ..ir.model import Linear, Model
from ..jobs import Jobs, Shared, Workers, workers
from ..program.program import Program
from ..quantizer.calibration import calibrate, calibration_data
from ..quantizer.lowering import check_widths
from ..quantizer.pipeline import quantize, quantize_stream
from ..quantizer.trials import Trials
from ..report.style import need_plots
from ..target.memories import memories
from .holdout import Part, hold_out
from .journal import Journal, search_key
from .plot import draw
from .result import Point, Tuning, pareto

__all__ = ["memory_bits", "tune"]

LEAST = {"activation_bits": 2, "gate_bits": 2, "state_bits": 2}
WIDER = (10, 12, 14, 16)  # tried for all widths where those asked for lose too much
Progress = Callable[[float, str], None]


def memory_bits(program: Program) -> tuple[int, int]:
    """Return the bits of the weights, and of all memories of a core; nothing is packed for it.

    Bits that the network and the layout need, of :func:`~..target.memories.memories`: words that no
    one uses, copies, the output queue and activations are left out. A kept gate counts twice.
    """
    known = memories(program)
    bits = {name: memory.stored_bits for name, memory in known.items()}
    weights = sum(count for name, count in bits.items() if name.startswith("weights"))
    beats = sum(count for name, count in bits.items() if name.startswith("beats"))
    kept = known["kept gates"]
    gates = 2 * kept.banks * kept.words * program.network.numbers.gate_bits
    return weights, weights + beats + gates + sum(
        bits[name] for name in ("inputs", "operands", "states")
    )  # fmt: skip


@dataclass(frozen=True)
class _Judge:
    """Common part of all evaluations: the model with its data, and the metric."""

    trials: Trials
    exponents: tuple[int, ...]
    metric: Metric


def _evaluate(judge: Shared[_Judge], config: Config) -> tuple[Point, float]:
    """Return the point of a configuration and the seconds that it took: the job of a worker."""
    start = time.monotonic()
    own = judge.value
    network = own.trials.network(replace(config, argmax=False))
    program = Program(network, replace(config, argmax=False), exponents=own.exponents)
    score = own.metric(program)
    weights, memory = memory_bits(program)
    lanes = program.geometry.rows * program.geometry.split
    point = Point(
        config.weight_bits, config.activation_bits, config.state_bits, config.gate_bits,
        dict(config.weight_widths), round(score.loss, 9), score.error, weights, memory,
        lanes * program.network.numbers.weight_bits * config.activation_bits,
        program.schedule.cycles()[0],
    )  # fmt: skip
    return point, time.monotonic() - start


def _name(config: Config) -> str:
    """Return the widths of a configuration, as a journal names them."""
    return json.dumps(
        [config.weight_bits, config.activation_bits, config.state_bits, config.gate_bits,
         config.weight_widths], sort_keys=True,
    )  # fmt: skip


class _Search:
    """Evaluates configurations, and remembers."""

    def __init__(
        self, judge: _Judge, base: Config, limit: float, journal: Journal | None,
        progress: Progress | None, staff: Workers,
    ) -> None:  # fmt: skip
        self.judge, self.base, self.limit = Shared(judge), base, limit
        self.journal, self.progress, self.staff = journal, progress, staff
        self.points: dict[str, Point] = dict(journal.points) if journal else {}
        self.seen: dict[str, Point] = {}  # points of this search, read back or not
        self.started: dict[str, Future[tuple[Point, float]]] = {}
        self.expected, self.seconds = 1, list[float]()

    def point(self, config: Config) -> Point:
        name = _name(config)
        if name not in self.started:
            self._submit([config])
        if name not in self.points:
            self.points[name], seconds = self.started.pop(name).result()
            self.seconds.append(seconds)
            if self.journal:
                self.journal.add(name, self.points[name])
        point = self.seen[name] = self.points[name]
        if self.progress:
            done = len(self.seen)
            self.expected = max(self.expected, done + 1)
            left = (self.expected - done) * float(np.mean(self.seconds or [0.0]))
            self.progress(
                min(done / self.expected, 0.99),
                f"{done} evaluations, loss {point.loss:.3g} with {point.memory:,} bits, "
                f"about {left:.0f} s left",
            )
        return point

    def start(self, configs: Sequence[Config]) -> None:
        """Let workers start evaluations that :meth:`point` will be asked for, each of them."""
        if self.staff.count > 1:
            self._submit(configs)

    def _submit(self, configs: Sequence[Config]) -> None:
        for config in configs:
            name = _name(config)
            if name not in self.points and name not in self.started:
                self.started[name] = self.staff.submit(_evaluate, self.judge, config)

    def holds(self, config: Config) -> bool:
        return self.point(config).loss <= self.limit

    def lowest(self, make: Callable[[int], Config], low: int, high: int) -> int:
        """Return the least width from ``low`` on that keeps the metric, as ``high`` does."""
        while low < high:
            middle = (low + high) // 2
            if self.holds(make(middle)):
                high = middle
            else:
                low = middle + 1
        return high


def _gates(model: Model) -> dict[str, list[str]]:
    """Return the groups of gates that are narrowed together: layers, and single gates."""
    groups = {}
    for layer in model.layers:
        names = ["y"] if isinstance(layer, Linear) else [
            g.name for g in layer.spec.weighted if g.input or g.recurrent
        ]  # fmt: skip
        every = [f"{layer.name}.{name}" for name in names]
        groups[layer.name] = every
        if len(every) > 1:
            groups |= {name: [name] for name in every}
    return groups


def _with(config: Config, name: str, bits: int) -> Config:
    """Return a configuration with one width changed."""
    changed: dict[str, Any] = {name: bits}
    return replace(config, **changed)


def _descend(search: _Search, model: Model) -> Config:
    """Return the cheapest widths that the greedy search finds."""
    best, groups = search.base, _gates(model)
    search.expected = 16 + 5 * len(groups)
    if not search.holds(best):
        wider = [
            replace(
                best, weight_bits=max(bits, best.weight_bits), weight_widths={},
                activation_bits=max(bits, best.activation_bits),
                state_bits=max(16, best.state_bits), gate_bits=max(16, best.gate_bits),
            )
            for bits in WIDER
        ]  # fmt: skip
        found = next((config for config in wider if search.holds(config)), None)
        if found is None:
            least = min(search.point(config).loss for config in wider)
            raise CheckError(
                f"no widths up to 16 bits keep the loss within {search.limit:g} "
                f"({search.judge.value.metric.describe()['unit']}): the least is {least:.3g}; allow more with "
                "max_loss="
            )
        best = found
    bits = search.lowest(
        lambda b: replace(best, weight_bits=b, weight_widths={}), 2, best.weight_bits
    )
    best = _narrow(search, replace(best, weight_bits=bits, weight_widths={}), groups)
    for name, least in LEAST.items():
        low = max(least, best.activation_bits) if name == "state_bits" else least
        width = search.lowest(partial(_with, best, name), low, getattr(best, name))
        best = _with(best, name, width)
    # With other vectors, other gates may be narrow.
    return _narrow(search, best, groups)


def _narrow(search: _Search, best: Config, groups: dict[str, list[str]]) -> Config:
    """Narrow single layers and gates, a bit at a time, until none can be."""
    widths = {
        name: best.weight_widths.get(name, best.weight_bits)
        for gates in groups.values() for name in gates
    }  # fmt: skip
    while True:
        lowered = _round(search, best, widths, groups)
        if lowered == widths:
            return best
        widths = lowered
        best = replace(best, weight_widths=widths)


def _round(
    search: _Search, best: Config, widths: dict[str, int], groups: dict[str, list[str]]
) -> dict[str, int]:
    """Lower every group by a bit on its own, then those together that save most for their error."""

    def lower(widths: dict[str, int], gates: list[str]) -> dict[str, int] | None:
        narrow = {gate: widths[gate] - 1 for gate in gates}
        return {**widths, **narrow} if min(narrow.values()) >= 2 else None

    here = search.point(replace(best, weight_widths=widths) if best.weight_widths else best)
    worth = []
    each = {name: lower(widths, gates) for name, gates in groups.items()}
    tried = {name: replace(best, weight_widths=w) for name, w in each.items() if w is not None}
    search.start(list(tried.values()))
    for name, config in tried.items():
        there = search.point(config)
        saved = here.memory - there.memory
        if there.loss <= search.limit and saved > 0:
            worth.append(((there.error - here.error) / saved, name))
    for _, name in sorted(worth):
        lowered = lower(widths, groups[name])
        if lowered is None:
            continue
        there = search.point(replace(best, weight_widths=lowered))
        if there.loss <= search.limit and there.cost < here.cost:
            widths, here = lowered, there
    return widths


def tune(
    model: Model,
    x: npt.ArrayLike,
    max_loss: float,
    *,
    lengths: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    calibration: npt.ArrayLike | None = None,
    calibration_lengths: npt.ArrayLike | None = None,
    metric: str = "",
    config: Config | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    jobs: Jobs = 1,
) -> Tuning:
    """Find the cheapest widths that keep a metric.

    Parameters
    ----------
    model : Model
        One that streams.
    x : array_like, shape (N, T, I) or (T, I)
        Data to evaluate on. Without ``calibration`` half of the sequences, chosen by ``seed``
        (of a single one the first half), serve to calibrate and the rest to evaluate.
    max_loss : float
        What may be lost against the float model, in the metric's unit, 0 or more.
    lengths, labels
        As for :class:`~.metric.Metric`.
    calibration, calibration_lengths : array_like, optional
        Data to calibrate on.
    metric : str, optional
        One of :data:`~.metric.METRICS`.
    config : Config, optional
        Widths to begin with, and everything that stays: lanes, rate, activation.
    seed : int
        Of the split.
    folder : path, optional
        Gets ``journal.jsonl`` while the search runs, and then ``program``, ``config.toml``,
        ``pareto.png`` and ``result.json``. A search that was interrupted goes on from the
        journal, and one that was finished returns at once.
    progress : callable, optional
        Called with the part that is done, 0 to 1, and a line of text.
    jobs : int or str
        Evaluations side by side, or the address of a Dask scheduler. The result is the same.

    Raises
    ------
    InputError
        Data, labels or options that do not fit, or a folder of another search.
    CheckError
        No widths keep the metric.
    MissingToolError
        A folder is given and Matplotlib is not installed.
    """
    config = config or Config()
    check_type(model, Model, "the model", "read it first: gw.load(source)")
    if not np.isfinite(max_loss) or max_loss < 0:
        raise InputError(f"the loss that is allowed is a number from 0 on, not {max_loss!r}")
    if not model.streams:
        raise InputError(
            "a model with layers that walk sequences from their end is quantized pass by pass, and "
            "tune takes one pass only; set its widths with weight_bits="
        )
    check_widths(model, config)
    data = calibration_data(model, x)
    wanted = None if labels is None else np.asarray(labels)
    if wanted is not None and wanted.ndim == 2 and len(data) == 1:
        wanted = wanted[None]
    whole = Part(data, check_lengths(lengths, *data.shape[:2]), wanted)
    if calibration is None:
        fit, test, split = hold_out(whole, seed)
    else:
        fit_x = calibration_data(model, calibration)
        fit = Part(fit_x, check_lengths(calibration_lengths, *fit_x.shape[:2]))
        test = whole
        split = f"calibrated on {len(fit_x)} sequences given for it, evaluated on all {len(data)}"
    judge = Metric(model, *test, kind=metric)
    journal = None
    if folder is not None:
        need_plots()
        folder = Path(folder)
        key = search_key(model, fit, test, judge.kind, config, seed)
        journal = Journal(folder, key)
        done = journal.finished(float(max_loss))
        if done is not None:
            return Tuning.from_json(done)
    # The widths are searched with the binary points that quantize gives the features.
    exponents = tuple(quantize(model, fit.x, config, lengths=fit.lengths).exponents)
    fit_model, fit_data = model, fit.x
    if exponents:
        fit_model = model.with_input_scale(exponents)
        fit_data = fit.x * 2.0 ** -np.array(exponents)
    trials = Trials(fit_model, calibrate(fit_model, fit_data, fit.lengths))

    with workers(jobs) as staff:
        common = _Judge(trials, exponents, judge)
        search = _Search(common, config, float(max_loss), journal, progress, staff)
        _descend(search, model)
    start = search.seen[next(iter(search.seen))]
    points = list(search.seen.values())
    chosen = min((p for p in points if p.loss <= max_loss), key=lambda p: (p.cost, p.loss, p.error))
    about = {
        **judge.describe(), "max_loss": float(max_loss), "split": split, "seed": seed,
        "evaluations": len(points),
    }  # fmt: skip
    own = {name: bits for name, bits in chosen.weight_widths.items() if bits != chosen.weight_bits}
    chosen = replace(chosen, weight_widths=own)
    tuning = Tuning(chosen, start, pareto(points), chosen.config(config), about)
    if journal:
        program = quantize_stream(
            fit_model, fit_data, tuning.config, lengths=fit.lengths, exponents=exponents
        )
        program.save(journal.folder / "program")
        text = tuning.config.to_toml().encode()
        atomic_write(journal.folder / "config.toml", lambda file: file.write(text))
        draw(tuning, points, journal.folder / "pareto.png")
        journal.finish(tuning.to_json())
    return tuning
