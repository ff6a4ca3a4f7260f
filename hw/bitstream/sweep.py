"""Netlists and routes of a search for the clock, side by side, and where each of them is."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...compiler.jobs import Workers
from ..boards import Board
from .plan import top_files
from .tool_job import Outcome, ToolJob, run_job
from .toolchain import Route, count_cells, failed, read_route, routing_job, synthesis_job
from .tools import EVERY, Progress

__all__ = ["Sweep", "read_progress"]

LOWER = Fraction(9, 10)
"""Share of a clock at which the next one is often looked for, after a miss by far."""


@dataclass(frozen=True)
class _Made:
    """Result of a route's job; no routing where the cells exceed the device."""

    cells: dict[str, int]
    synthesis: Outcome
    routing: Outcome | None


@dataclass(frozen=True)
class _Run:
    """A route that was started: its name, clock, seed, second of its start, where its logs are."""

    name: str
    clock: Fraction
    seed: int
    start: float
    live: str

    def line(self) -> str:
        """Say where it is; an empty string where that is not known."""
        try:
            share, reached = read_progress(Path(f"{self.live}.route").read_text(errors="replace"))
        except OSError:  # not begun, or done, or elsewhere
            if not Path(f"{self.live}.synthesis").exists():
                return ""
            return f"{self.name}: netlist, {time.monotonic() - self.start:.0f} s"
        mhz = f"{reached / 1e6:.1f} of " if reached else ""
        return f"{self.name}: {100 * share:.0f} %, {mhz}{float(self.clock) / 1e6:.1f} MHz"


def _route(
    board: Board, netlist: ToolJob, constraints: bytes, clock: float, seed: int, live: str
) -> _Made:
    """Synthesize, then place and route: the job of a worker. Both outcomes are kept in the cache."""
    done = run_job(netlist, f"{live}.synthesis")
    if not done.ok:
        return _Made({}, done, None)
    found = done.files["top.json"]
    cells = count_cells(board.vendor, json.loads(found))
    if any(n > board.capacity.resources.get(name, 0) for name, n in cells.items()):
        return _Made(cells, done, None)
    routing = routing_job(board, found, constraints, clock, seed)
    return _Made(cells, done, run_job(routing, f"{live}.route"))


class Sweep:
    """Routes of one system on a board, each made when it is asked for, or before.

    A search asks for one route after the other; its answers decide what it asks next. Where workers
    are free, those that it would ask for after a near miss are started at once: the next seeds, and
    a lower clock. What a route reaches does not depend on when it is made, so a search finds the
    same with one worker and with many.

    Parameters
    ----------
    board : Board
    plls : dict of Fraction -> Pll or None
        Clocks that can be made.
    system : callable
        Makes the system for a clock.
    work : path
        Gets the logs in ``logs``.
    most : int
        Routes that the search asks for at most.
    workers : Workers
    check : callable
        Gets the cells of each netlist; raises where they do not fit.
    progress : callable
    """

    def __init__(
        self, board: Board, plls: dict[Fraction, Any], system: Callable[[Fraction], Any], work: Path,
        most: int, workers: Workers, check: Callable[[dict[str, int]], None], progress: Progress,
    ) -> None:  # fmt: skip
        self.board, self.plls, self.system, self.work = board, plls, system, work
        self.most, self.workers, self.check, self.progress = most, workers, check, progress
        self._tops: dict[Fraction, dict[str, bytes]] = {}
        self._runs: dict[tuple[Fraction, int], _Run] = {}
        self._futures: dict[tuple[Fraction, int], Future[_Made]] = {}
        self._count = 0

    def attempt(self, clock: Fraction, seed: int) -> Route:
        """Return the route at a clock with a seed.

        Raises
        ------
        CheckError
            It does not fit, or a tool failed.
        """
        self._count += 1
        if (clock, seed) not in self._runs:
            self.workers.drop()
            self._runs, self._futures = {}, {}
        self._start(clock, seed, self._count)
        for ahead, (other, next_seed) in enumerate(self._ahead(clock, seed), self._count + 1):
            self._start(other, next_seed, ahead)
        made = self._futures[clock, seed].result()
        mhz = f"{float(clock) / 1e6:.2f}MHz"
        name = f"synthesis_{mhz}.log"
        (self.work / "logs" / name).write_text(made.synthesis.log)
        if not made.synthesis.ok:
            raise failed("synthesis", made.synthesis.log, name)
        self.check(made.cells)
        assert made.routing is not None  # noqa: S101
        name = f"route{self._count - 1}_{mhz}_seed{seed}.log"
        (self.work / "logs" / name).write_text(made.routing.log)
        route = read_route(self.board, made.routing, seed, name)
        reached = f"{route.fmax / 1e6:.2f} of {float(clock) / 1e6:.2f} MHz"
        self.progress(f"{self._name(self._count)}: reaches {reached}")
        return route

    def _ahead(self, clock: Fraction, seed: int) -> list[tuple[Fraction, int]]:
        """Return what is likely to be asked for next, as much as there are free workers."""
        if self._futures[clock, seed].done():
            return []  # what it says decides
        seeds: list[tuple[Fraction, int]] = [
            (clock, seed + k) for k in range(1, self.workers.count)
        ]
        lower = max((c for c in self.plls if c <= clock * LOWER), default=None)
        if lower is not None:
            seeds.insert(1, (lower, seed))
        running = sum(not future.done() for future in self._futures.values())
        free = min(self.workers.count - running, self.most - self._count)
        return [key for key in seeds if key not in self._runs][: max(0, free)]

    def _start(self, clock: Fraction, seed: int, number: int) -> None:
        if (clock, seed) in self._runs:
            return
        if clock not in self._tops:
            self._tops[clock] = top_files(self.board, self.plls[clock], self.system)
        files = self._tops[clock]
        self.progress(f"{self._name(number)}: {float(clock) / 1e6:.2f} MHz, seed {seed}")
        live = str(self.work / f"live_{len(self._runs)}")
        self._runs[clock, seed] = _Run(self._name(number), clock, seed, time.monotonic(), live)
        constraints = files[self.board.vendor.tools.constraints]
        job = self.board, synthesis_job(self.board, files), constraints, float(clock), seed, live
        self._futures[clock, seed] = self.workers.submit(_route, *job)

    def _name(self, number: int) -> str:
        return f"route {number} of at most {self.most}"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Say every few seconds, for the duration of a block, where each route is."""
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(EVERY):
                for line in self.lines():
                    self.progress(line)

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def lines(self) -> list[str]:
        """Return a line for each route that is under way on this machine."""
        return [line for run in list(self._runs.values()) if (line := run.line())]


def read_progress(log: str) -> tuple[float, float]:
    """Read from the log of a place and route that runs: its share done, 0 to 1, and hertz.

    The speed is that of the placed design, 0 before it is known. Placing counts for one half.
    """
    placing = re.findall(r"at iteration #(\d+), type", log)
    share = 0.05
    if placing:
        share = 0.05 + 0.35 * int(placing[-1]) / (int(placing[-1]) + 8)
    if "Running simulated annealing placer for refinement" in log:
        share = 0.45
    arcs = re.search(r"Routing (\d+) arcs", log)
    left = re.findall(r"^Info:\s+\d+ \|.*\|\s*(\d+)\|", log, re.MULTILINE)  # router1
    crowded = [int(n) for n in re.findall(r"\boverused=(\d+)", log)]  # router2
    if arcs or crowded:
        share = 0.5
    if arcs and left and int(arcs[1]):
        share = 0.5 + 0.5 * max(0.0, 1 - int(left[-1]) / int(arcs[1]))
    elif crowded and crowded[0]:
        share = 0.5 + 0.5 * max(0.0, 1 - crowded[-1] / crowded[0])
    speeds = dict(re.findall(r"Max frequency for clock\s+'?([^':]+)'?: ([\d.]+) MHz", log))
    return min(share, 0.99), 1e6 * min(map(float, speeds.values()), default=0.0)
