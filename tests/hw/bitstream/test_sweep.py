"""Sweeps over seeds and clocks: the same with many workers as with one, and after an interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.program.chain import load_program
from gatewright.compiler.program.program import Program
from gatewright.hw.bitstream.build import build
from gatewright.hw.bitstream.plan import Options
from gatewright.hw.bitstream.sweep import read_progress
from gatewright.hw.boards import find_board
from support.fake_tools import install


@pytest.fixture
def program(tiny: Path) -> Program:
    made = load_program(tiny / "program")
    assert isinstance(made, Program)
    return made.with_lanes(2)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install(tmp_path / "tools", monkeypatch)


def run(program: Program, folder: Path, jobs: int | str = 1, **options: float) -> dict:
    lines: list[str] = []
    chosen = Options(**options)  # type: ignore[arg-type]
    report = build(program, find_board("icebreaker"), folder, chosen, lines.append, jobs)
    return {**report, "seconds": 0, "lines": lines}


def seeds(calls: Path) -> list[int]:
    return sorted(int(line.split()[1]) for line in calls.read_text().splitlines())


@pytest.mark.parametrize(
    ("reached", "frequency"), [("47/46.5/47.9/49/50", 48e6), ("41.9", 0.0), ("38/60/47.99/30", 0.0)]
)
def test_workers_change_nothing_but_the_time(
    program: Program, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: str,
    frequency: float,
) -> None:  # fmt: skip
    """Reports and bitstreams of builds with one and with four workers, with a clock and without."""
    monkeypatch.setenv("FAKE_FMAX", reached)
    made = []
    for jobs in (1, 4):
        monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path / f"cache{jobs}"))
        report = run(program, tmp_path / str(jobs), jobs, frequency=frequency)
        report.pop("lines")
        made.append((report, (tmp_path / str(jobs) / "top.bin").read_bytes()))
    assert made[0] == made[1]


def test_the_lowest_seed_that_meets_wins(
    program: Program, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FMAX", "30/31/48/60/61/62")
    report = run(program, tmp_path / "out", 4, frequency=48e6)
    assert (report["seed"], report["fmax_mhz"]) == (3, 48)
    assert "route 3 of at most 6: 48.00 MHz, seed 3" in report["lines"]
    assert "route 3 of at most 6: reaches 48.00 of 48.00 MHz" in report["lines"]


def test_a_second_sweep_takes_every_route_from_the_cache(
    program: Program, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FMAX", "47/47.9/60")
    first = run(program, tmp_path / "a", frequency=48e6)
    assert seeds(calls) == [1, 2, 3]
    second = run(program, tmp_path / "b", frequency=48e6)
    assert seeds(calls) == [1, 2, 3]
    assert first == second
    assert (tmp_path / "a/top.bin").read_bytes() == (tmp_path / "b/top.bin").read_bytes()
    logs = [sorted(path.name for path in (tmp_path / x / "logs").iterdir()) for x in "ab"]
    assert logs[0] == logs[1] and len(logs[0]) == 5


def test_a_failure_is_tried_again(
    program: Program, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "nextpnr")
    for count in (1, 2):
        with pytest.raises(CheckError, match="needs 41 block RAMs"):
            run(program, tmp_path / "out")
        assert len(seeds(calls)) == count


COMMAND = """
import sys
from gatewright.__main__ import main
if __name__ == "__main__":
    sys.argv[1:1] = ["build", "--board", "icebreaker", "--frequency", "48", "--lanes", "2"]
    sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_sweep_goes_on_and_leaves_no_tool(
    tiny: Path, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("FAKE_FMAX", "40/41/60")
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    command = [sys.executable, str(script), str(tiny / "program"), "-o", str(tmp_path / "out")]
    marker = f"GATEWRIGHT_TEST={tmp_path}"
    environment = {**os.environ, "GATEWRIGHT_TEST": str(tmp_path)}

    def alive() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if marker.encode() in path.read_bytes():
                    found.append((path.parent / "cmdline").read_text())
            except OSError:
                continue
        return found

    def wait(condition: object, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < end, (calls.read_text(), alive())
            time.sleep(0.05)

    with (tmp_path / "log").open("wb") as log:
        monkeypatch.setenv("FAKE_SECONDS", "0")
        slow = {**environment, "FAKE_SECONDS": "60"}
        running = subprocess.Popen([*command, "--jobs", "2"], env=slow, stdout=log, stderr=log)
        wait(lambda: seeds(calls) == [1, 2])
        running.send_signal(number)
        running.wait(30)
        wait(lambda: not alive(), 30)
        assert not (tmp_path / "out").exists()
        netlists = (tmp_path / "tools" / "cache").glob("*/top.json")
        assert len(list(netlists)) == 1  # what was finished stays
        done = subprocess.run([*command, "--jobs", "2"], env=environment, stdout=log, stderr=log)
    assert done.returncode == 0, (tmp_path / "log").read_text()


def test_the_output_folder_is_checked_before_the_work(
    program: Program, calls: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "file" / "a" / "b"):
        with pytest.raises(InputError, match="not a folder"):
            run(program, folder)
    assert calls.read_text() == ""


ICE40 = """
Info:     at iteration #4, type ALL: wirelen solved = 4548, spread = 23840, legal = 39792; time = 3.11s
Info: Running simulated annealing placer for refinement.
Info: Max frequency for clock 'boot_clk': 43.00 MHz (PASS at 42.00 MHz)
Info: Max frequency for clock      'usb': 90.00 MHz (PASS at 42.00 MHz)
Info: Routing 13000 arcs.
Info:            |   (re-)routed arcs  |   delta    | remaining|       time spent     |
Info:       5000 |      626       4188 |  127   739 |      6500|       1.45       9.59|
"""
ECP5 = "Info: Max frequency for clock '$glbnet$clk': 166.00 MHz (FAIL at 167.00 MHz)\n" + "".join(
    f"    iter={k} wires=9 overused={left} overuse=3 tmg=1.0 ns\n"
    for k, left in ((1, 800), (2, 200))
)


def test_progress_is_read_from_logs() -> None:
    assert read_progress("") == (0.05, 0.0)
    first, second, third, *_, routing = (
        read_progress("\n".join(ICE40.splitlines()[:k])) for k in range(2, 9)
    )
    assert 0.1 < first[0] < second[0] < 0.5 and first[1] == 0
    assert third == (0.45, 43e6)
    assert routing == (0.75, 43e6)
    assert read_progress(ECP5) == (0.875, 166e6)
