"""``gatewright run`` through a pseudo-terminal: the command, a port, a simulated board."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from gatewright.cli import run as verb
from gatewright.cli.common import Console
from gatewright.cli.main import main
from gatewright.compiler.errors import InputError
from gatewright.compiler.files.recording import Recording
from gatewright.compiler.program.program import Program
from gatewright.host.device import Device
from gatewright.hw.bitstream.plan import Options, prepare
from gatewright.hw.boards import find_board
from gatewright.sim import verilated
from gatewright.sim.board import NoisyLine, PseudoTerminal
from support.boards import BAUD, CLOCK, Bench, gru_program
from support.upsets import upset

pytestmark = pytest.mark.xdist_group("boards")


@pytest.fixture
def folder(gru: Bench, tmp_path: Path) -> Path:
    """A folder with a build, as ``gatewright build`` leaves it, and data."""
    gru.program.save(tmp_path / "build" / "program")
    (tmp_path / "build" / "build.json").write_text(
        json.dumps({"board": "icebreaker", "key": "", "baud": 115200})
    )
    x = np.random.default_rng(1).normal(size=(4, 30, 3))
    np.savez(tmp_path / "x.npz", x=x, len=np.array([30, 7, 1, 19]))
    np.save(tmp_path / "one.npy", x[0])
    return tmp_path


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gatewright", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Do what :func:`process` does, in this one: starting Python would be most of it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["run", *map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refused(*arguments: object) -> tuple[int, str]:
    done = run(*arguments)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
    return done.returncode, done.stderr


def test_run(gru: Bench, folder: Path) -> None:
    with PseudoTerminal(gru.start()) as terminal:
        port = ["--port", terminal.port]
        done = process(folder / "build", folder / "x.npz", *port, "-o", folder / "y.npz", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        again = run(folder / "build" / "program", folder / "one.npy", *port, "-o", folder / "y.csv")
        assert again.returncode == 0, again.stderr
    assert result["bit_exact"] is True
    assert (result["steps"], result["sequences"]) == (57, 4)
    assert result["counters"]["steps"] == 57
    assert result["counters"]["cycles"] > result["counters"]["stalls"] > 0
    assert result["steps_per_second"] > 0
    assert result["link"]["bad_frames"] == 0
    assert result["board"]["program"] == gru.program.digest[:16]
    with np.load(folder / "x.npz") as x, np.load(folder / "y.npz") as y:
        expected = gru.program.run(x["x"])
        expected[np.arange(30) >= x["len"][:, None]] = 0
        assert (y["y"] == expected).all()
    assert "bit-exact: 30 steps" in again.stdout
    one = np.loadtxt(folder / "y.csv", delimiter=",")
    assert (one == expected[0]).all()


def test_run_on_a_bad_line_with_a_state(gru: Bench, folder: Path) -> None:
    states = np.random.default_rng(2).uniform(-1, 1, (4, 5))
    np.save(folder / "state.npy", states)
    emulated = folder / "golden.npy"
    start = ["--state", folder / "state.npy"]
    program, x = folder / "build" / "program", folder / "x.npz"
    assert main(["emulate", *map(str, [program, x, *start, "-o", emulated])]) == 0
    with PseudoTerminal(NoisyLine(gru.start(), seed=3, rate=0.004)) as terminal:
        port = ["--port", terminal.port]
        done = run(folder / "build", x, *port, *start, "-o", folder / "y.npy")
    assert done.returncode == 0, done.stderr
    assert "all recovered" in done.stdout
    assert (np.load(folder / "y.npy") == np.load(emulated)).all()


def test_weights_are_loaded_where_the_board_has_others(gru: Bench, folder: Path) -> None:
    other = gru_program(21, like=gru.program)
    other.save(folder / "other")
    with PseudoTerminal(gru.start()) as terminal:
        port = ["--port", terminal.port]
        done = run(folder / "other", folder / "one.npy", *port)
        assert done.returncode == 0, done.stderr
        assert "loading weights" in done.stderr
        done = run(folder / "other", folder / "one.npy", *port)
        assert done.returncode == 0, done.stderr
        assert "loading weights" not in done.stderr


def test_a_board_that_computes_wrong_is_found_out(
    gru: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A code that differs on its way, which no line does, is a failed check."""
    from gatewright.host.device import Device

    honest = Device.run_codes

    def dishonest(self, *arguments, **options):
        codes = honest(self, *arguments, **options)
        codes[1, 2, 1] += 1
        return codes

    monkeypatch.setattr(Device, "run_codes", dishonest)
    with PseudoTerminal(gru.start()) as terminal:
        job = [folder / "build", folder / "x.npz", "--port", terminal.port, "--json"]
        assert main(["run", *map(str, job)]) == 2
        result = json.loads(capsys.readouterr().out)
        assert result["bit_exact"] is False
        assert "sequence 1, step 2, output 1: expected" in result["mismatch"]
        assert "1 of 114 codes" in result["mismatch"]
        assert main(["run", *map(str, job), "--no-check"]) == 0
        assert json.loads(capsys.readouterr().out)["bit_exact"] is None


def test_a_board_that_is_simulated(
    lstm: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--port sim``: the whole design and the host's own code, at the clock and rate of the build."""
    lstm.program.save(tmp_path / "build" / "program")
    report = {"board": "icebreaker", "key": "", "baud": int(BAUD), "target_mhz": CLOCK / 1e6}
    (tmp_path / "build" / "build.json").write_text(json.dumps(report))
    x = np.random.default_rng(1).normal(size=(2, 3, 2))
    np.savez(tmp_path / "x.npz", x=x, len=np.array([3, 1]))
    job = [tmp_path / "build", tmp_path / "x.npz", "--port", "sim", "--json"]
    done = run(*job, "-o", tmp_path / "y.npz")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["bit_exact"] is True and result["simulated"] is True
    assert result["steps"] == result["counters"]["steps"] == 4
    assert result["board"]["clock_hz"] == CLOCK
    # Time is that of the board: no less than its cycles.
    assert result["seconds"] * CLOCK >= result["counters"]["cycles"]
    with np.load(tmp_path / "y.npz") as y:
        assert (y["y"][0] == lstm.program.run(x)[0]).all()
    # It is the board that answers: with another program in it, the host refuses it.
    make = verilated.System
    monkeypatch.setattr(verilated, "System", lambda p, **k: make(gru_program(), **k))
    code, text = refused(*job)
    assert (code, "the board holds" in text and "3 inputs, 2 outputs" in text) == (1, True), text
    for name, value in (("target_mhz", -1), ("target_mhz", "fast"), ("baud", 0)):
        (tmp_path / "build" / "build.json").write_text(json.dumps({**report, name: value}))
        code, text = refused(*job)
        assert (code, f"damaged ({name} is {value}" in text) == (1, True), text


def test_a_simulated_board_has_the_lanes_that_the_real_one_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``demo --board``: a program of more lanes is laid out anew."""
    seen = []

    def opened(port: str, program: Program, build: dict, console: object) -> None:
        seen.append((port, program.geometry.lanes, build["target_mhz"]))
        raise InputError("seen")

    monkeypatch.setattr(verb, "_open", opened)
    board, rng = find_board("icebreaker"), np.random.default_rng(1)
    program = gru_program().with_lanes(64)
    with pytest.raises(InputError, match="64 lanes on icebreaker"):
        prepare(program, board, Options())
    with pytest.raises(InputError, match="seen"):
        verb.play(
            program, board, Recording(rng.normal(size=(1, 4, 3))), Console(io.StringIO(), True)
        )
    ((port, lanes, clock),) = seen
    assert (port, clock) == ("sim", board.typical_clock / 1e6) and 1 <= lanes <= 8


def test_a_board_with_another_program_is_refused(lstm: Bench, folder: Path) -> None:
    with PseudoTerminal(lstm.start()) as terminal:
        code, text = refused(folder / "build", folder / "x.npz", "--port", terminal.port)
    assert code == 1
    assert lstm.program.hardware_digest[:16] in text
    assert "gatewright build" in text


def test_a_port_that_does_not_answer(folder: Path) -> None:
    master, slave = os.openpty()
    job = [folder / "build", folder / "x.npz", "--port", os.ttyname(slave), "--baud", 1000000]
    code, text = refused(*job)
    os.close(master)
    os.close(slave)
    assert code == 1
    assert "no answer" in text
    assert "--baud" in text


def test_ports_that_cannot_be_opened(folder: Path) -> None:
    job = [folder / "build", folder / "x.npz", "--port"]
    code, text = refused(*job, folder / "ttyNONE")
    assert (code, "no such port" in text) == (1, True), text
    code, text = refused(*job, folder / "x.npz")
    assert (code, "cannot be opened" in text) == (1, True)


def test_no_permission(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    serial = pytest.importorskip("serial")

    def deny(*_: object, **__: object) -> None:
        raise serial.SerialException(13, "could not open port: [Errno 13] Permission denied")

    monkeypatch.setattr(serial, "Serial", deny)
    job = ["run", str(folder / "build"), str(folder / "x.npz"), "--port", "/dev/null"]
    assert main(job) == 1
    assert "dialout" in capsys.readouterr().err


def test_a_board_that_is_unplugged(gru: Bench, folder: Path) -> None:
    np.save(folder / "long.npy", np.zeros((200_000, 3)))
    terminal = PseudoTerminal(gru.start())
    timer = threading.Timer(4, terminal.close)
    timer.start()
    code, text = refused(folder / "build", folder / "long.npy", "--port", terminal.port)
    timer.join()
    assert code == 2
    assert "lost" in text


def test_what_run_refuses(gru: Bench, folder: Path) -> None:
    build, x = folder / "build", folder / "x.npz"
    code, text = refused(build, x, "--port", "none", "-o", folder / "y.wav")
    assert (code, "y.wav" in text) == (1, True)
    code, text = refused(build, x, "--port", "none", "--baud", -3)
    assert (code, "--baud" in text) == (1, True)
    (build / "build.json").write_text("{")
    code, text = refused(build, x, "--port", "none")
    assert (code, "damaged" in text) == (1, True)
    code, text = refused(folder, x, "--port", "none")
    assert (code, "program.json" in text) == (1, True)


def test_a_board_that_was_hit_is_found_out(gru: Bench, folder: Path) -> None:
    """``--verify`` refuses it and leaves it unloaded; the next run loads it."""
    board = gru.start()
    where = upset(Device(board, gru.program), np.random.default_rng(5))
    job = [folder / "build", folder / "one.npy", "--verify", "--json"]
    with PseudoTerminal(board) as terminal:
        port = ["--port", terminal.port]
        code, text = refused(*job, *port, "-o", folder / "y.npy")
        assert (code, "found before the run" in text) == (2, True), (where, text)
        assert not (folder / "y.npy").exists()
        again = run(*job, *port)
    assert again.returncode == 0, again.stderr
    assert "loading weights" in again.stderr
    result = json.loads(again.stdout)
    assert result["verify"] == {"passes": 2, "upsets": 0, "repeated_steps": 0}


def test_a_board_that_cannot_verify(lstm: Bench, folder: Path) -> None:
    lstm.program.save(folder / "lstm")
    np.save(folder / "two.npy", np.zeros((3, 2)))
    with PseudoTerminal(lstm.start()) as terminal:
        for option in (["--verify"], ["--verify-every", 2]):
            job = [folder / "lstm", folder / "two.npy", "--port", terminal.port, *option]
            code, text = refused(*job)
            assert (code, "--loadable" in text) == (1, True), text
