"""The C host: byte for byte what the Python host does, on the same boards and the same bad lines."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.program.interface import interface
from gatewright.host.device import Device
from gatewright.host.session import Session
from gatewright.host.wire.flash_image import flash_image
from gatewright.hw.export.headers import c_header
from gatewright.sim.board import NoisyLine, PseudoTerminal
from support.boards import Bench, gru_program
from support.c_host import HEADER, STRICT, CError, CHost
from support.randoms import extreme_codes
from support.scripted import Script

pytestmark = pytest.mark.xdist_group("boards")  # they are built once
PAGE = Path(__file__).parents[2] / "docs" / "host.md"


@pytest.fixture(scope="session")
def c_gru(gru: Bench, tmp_path_factory: pytest.TempPathFactory) -> CHost:
    return CHost(gru.program, tmp_path_factory.mktemp("c_gru"))


@pytest.fixture(scope="session")
def c_lstm(lstm: Bench, tmp_path_factory: pytest.TempPathFactory) -> CHost:
    return CHost(lstm.program, tmp_path_factory.mktemp("c_lstm"))


def pair(name: str, request: pytest.FixtureRequest) -> tuple[Bench, CHost]:
    return request.getfixturevalue(name), request.getfixturevalue(f"c_{name}")


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_steps_state_and_counters(name: str, request: pytest.FixtureRequest) -> None:
    bench, host = pair(name, request)
    p, net = bench.program, bench.program.network
    host.open(bench.start())
    x = extreme_codes(p, np.random.default_rng(1), 2, 30)
    once = golden.run(net, x[:1])
    assert (host.run(x[0]) == once.outputs[0]).all()
    saved = host.read_state()
    assert (saved == once.state.flat(net)[0]).all()
    assert (host.run(x[1], fresh=False) == golden.run(net, x[1:], once.state).outputs[0]).all()
    host.load_state(saved)
    assert (host.run(x[1], fresh=False) == golden.run(net, x[1:], once.state).outputs[0]).all()
    host.call("reset")
    assert not host.read_state().any()
    cycles, stalls, steps = host.counters()
    assert steps == 90 and 0 < stalls < cycles


@pytest.mark.parametrize(
    "seed, rate",
    [(0, 0.0), (0, 0.003), (1, 0.01)]
    + [pytest.param(k, 0.02 * k / 20, marks=pytest.mark.full) for k in range(2, 20)],
)
def test_it_sends_what_python_sends(
    gru: Bench, c_gru: CHost, seed: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every byte, in every repetition, on a line that makes the same faults for both."""
    p = gru.program
    x = extreme_codes(p, np.random.default_rng(seed), 1, 150)
    monkeypatch.setattr("secrets.randbelow", lambda below: 6)
    sent: dict[str, list[bytes]] = {}
    made = {}
    for kind in ("python", "c"):
        board = NoisyLine(gru.start(), seed=seed, rate=rate)
        board.silence = 0.002
        sent[kind] = []
        write = board.write
        board.write = lambda data, to=sent[kind], on=write: (to.append(data), on(data))[1]  # type: ignore[method-assign, misc]
        if kind == "python":
            device = Device(board, p)
            made[kind] = device.run_codes(x)[0]
            counts = device.session.counts
        else:
            c_gru.open(board, 6 * 255 + 6)
            made[kind] = c_gru.run(x[0])
    assert (made["c"] == golden.run(p.network, x).outputs[0]).all(), f"seed {seed}"
    assert sent["c"] == sent["python"], f"seed {seed}"
    assert bool(rate) == bool(counts.resent + counts.repeats)


def test_noise_on_the_wire(lstm: Bench, c_lstm: CHost) -> None:
    p = lstm.program
    x = extreme_codes(p, np.random.default_rng(3), 1, 60)
    c_lstm.open(lstm.start(glitches=3e-4, seed=1))
    assert (c_lstm.run(x[0]) == golden.run(p.network, x).outputs[0]).all()


@pytest.mark.parametrize(
    "says",
    [
        [(0, b"abc"), (0, b"abc"), (3, b"defghi")],
        [(0, b"abcd"), (2, b"cdefg"), (1, b"bcdefghi")],
        [(3, b"xyz"), (0, b"abcdef"), (6, b""), (6, b"ghi")],
        [(0, b"abcdefghijkl")],
        [b"\x55", b"", (0, b"abcdefghi")],
        [b"\x55" * 300 + b"\0", (0, b"abcdefghi")],  # longer than any frame
    ],
)
def test_each_byte_once_and_in_order(c_gru: CHost, says: list[Any]) -> None:
    for exchange, start in ((c_gru.exchange, c_gru.begin), (None, Session)):
        session: Any = start(Script(*says))
        assert (exchange or session.exchange)(b"?", 9) == b"abcdefghi"


def test_places_wrap(c_gru: CHost) -> None:
    data = bytes(k * 7 % 251 for k in range(2600))
    says = [(at % 1024, data[at : at + 200]) for at in range(0, 2600, 200)]
    c_gru.begin(Script(*says))
    assert c_gru.exchange(b"?" * 1500, 2600) == data


# -- weights --------------------------------------------------------------------------


def test_other_weights_are_loaded_and_verified(gru: Bench, tmp_path: Path) -> None:
    other = gru_program(5, like=gru.program)
    host, board = CHost(other, tmp_path), gru.start()
    host.open(board)
    x = extreme_codes(other, np.random.default_rng(4), 1, 20)
    with pytest.raises(CError, match="no weights of this program"):
        host.run(x[0])
    with pytest.raises(CError, match="do not hold the program"):
        host.call("verify")
    image = flash_image(other)
    for wrong in (image[:-1], b"X" + image[1:], image[:40] + bytes([image[40] ^ 1]) + image[41:]):
        with pytest.raises(CError, match="image of weights is damaged"):
            host.call("load", wrong, len(wrong))
    with pytest.raises(CError, match="image of weights is damaged or another's"):
        host.call("load", flash_image(gru.program), len(image))
    host.call("load", image, len(image))
    assert host.call("loaded") == 1 and host.call("verify") == 0
    assert (host.run(x[0]) == golden.run(other.network, x).outputs[0]).all()


def test_what_cannot_be_is_an_error(gru: Bench, lstm: Bench, c_gru: CHost, c_lstm: CHost) -> None:
    with pytest.raises(CError, match="another program"):
        c_gru.open(lstm.start())
    c_lstm.open(lstm.start())
    for call in (("verify",), ("load", b"", 0)):
        with pytest.raises(CError, match="cannot be exchanged or verified"):
            c_lstm.call(*call)
    with pytest.raises(CError, match="refused"):
        c_lstm.exchange(b"\x00", 1)
    silent = Script()
    silent.write = lambda data: None  # type: ignore[method-assign]
    with pytest.raises(CError, match="no answer"):
        c_gru.begin(silent)
    board = Script()
    c_gru.begin(board)
    board.waiting = board.frame(0, b"abc", session=0)
    with pytest.raises(CError, match="restarted"):
        c_gru.exchange(b"?", 3)
    board = Script((0, b"abc"))
    c_gru.begin(board)
    board.received = 300
    with pytest.raises(CError, match="what cannot be"):
        c_gru.exchange(b"?", 3)
    board = Script()
    c_gru.begin(board)
    with pytest.raises(CError, match="gave no answer that could be read"):
        c_gru.exchange(b"?", 3)


# -- the example of the page, as a program of its own -----------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.004])
def test_the_example_of_the_page_runs_on_a_serial_port(
    gru: Bench, rate: float, tmp_path: Path
) -> None:
    [source] = re.findall(r"<!-- compile -->\n```c\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "example.c").write_text(source)
    (tmp_path / "gatewright.h").write_text(c_header(interface(gru.program), "gatewright"))
    subprocess.run(
        ["gcc", *STRICT, f"-I{HEADER.parent}", "-O1", "-o", "example", "example.c"], cwd=tmp_path, check=True
    )  # fmt: skip
    x = np.random.default_rng(8).normal(size=(40, 3))
    text = "".join(" ".join(f"{value!r}" for value in row) + "\n" for row in x.tolist())
    with PseudoTerminal(NoisyLine(gru.start(), seed=2, rate=rate)) as terminal:
        done = subprocess.run(
            ["./example", terminal.port], cwd=tmp_path, input=text, capture_output=True, text=True, timeout=120
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = np.array([[float(v) for v in line.split()] for line in done.stdout.splitlines()])
    assert (values == gru.program.run(x)).all()
