"""Verilog under Verilator: bit- and cycle-exact, and a wrong core is caught."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError, InputError, MissingToolError
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.sim import bench as benches
from gatewright.sim import runner
from gatewright.sim.bench import Bench
from gatewright.sim.runner import compare, simulate
from gatewright.sim.waves import Waves
from support.many_cores import check_many
from support.randoms import config, extreme_codes, recurrent

MOST_CYCLES = 6000  # of one step: beyond, a simulation takes longer than its build


def small(seed: int = 3) -> Program:
    rng = np.random.default_rng(seed)
    model = Model(
        3,
        (
            recurrent(rng, "first", "gru", ("x",), 3, 5),
            recurrent(rng, "second", "lstm", ("first",), 5, 4),
            Linear("head", ("second",), rng.normal(size=(2, 4))),
        ),
    )
    return quantize(model, rng.normal(size=(2, 20, 3)), Config(lanes=6))


def spread(seed: int) -> Program:
    """Return a program of 1 to 4 layers, I and H from 1 to 512, P from 1 to 192, any widths.

    Sizes are log-uniform; a draw with too many cycles for its lanes is drawn again.
    """
    rng = np.random.default_rng(seed)
    while True:
        depth = int(rng.integers(1, 5))
        sizes = [int(np.exp(rng.uniform(0, np.log(513)))) for _ in range(depth + 1)]
        widths = config(rng)
        cells = [str(rng.choice(list(CELLS))) for _ in range(depth)]
        macs = sum(4 * h * (i + h) for i, h in itertools.pairwise(sizes))
        if macs / widths.lanes <= MOST_CYCLES:
            break
    layers = tuple(
        recurrent(rng, f"layer{k}", cell, (f"layer{k - 1}" if k else "x",), sizes[k], sizes[k + 1])
        for k, cell in enumerate(cells)
    )
    outputs = tuple(layer.name for layer in layers if rng.random() < 0.3)
    model = Model(sizes[0], layers, outputs)
    return quantize(model, rng.normal(size=(1, 8, sizes[0])), widths)


def jobs(seeds: range) -> list[tuple[int, Program, np.ndarray, float]]:
    """Return jobs of two short sequences a stream, one to three streams; every fourth one with pauses."""
    made = []
    for seed in seeds:
        p = spread(seed)
        p = Program(p.network, replace(p.config, streams=1 + seed % 3))
        x = extreme_codes(p, np.random.default_rng(seed), 2 * p.streams, 2)
        made.append((seed, p, x, 0.3 if seed % 4 == 0 else 0.0))
    return made


def test_a_spread_of_configurations(tmp_path: Path) -> None:
    check_many(jobs(range(10, 20)), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("first", [0, *range(100, 320, 10)])
def test_many_configurations(first: int, tmp_path: Path) -> None:
    check_many(jobs(range(first, first + 10)), tmp_path)


# -- one program, one build for several tests -----------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(small(), folder=tmp_path_factory.mktemp("bench"), waves=Waves(".vcd"))


def recorded(bench: Bench, x: np.ndarray, **options: object) -> tuple[np.ndarray, runner.Recorded]:
    """Return a run's output codes in the program's order, and the recording."""
    first = np.arange(len(x)) == 0
    got = bench.record(x, first, **options)  # type: ignore[arg-type]
    outputs = np.zeros_like(got.outputs)
    outputs[:, bench.program.schedule.output_order] = got.outputs
    return outputs, got


@pytest.mark.xdist_group("bench")
def test_one_build_runs_many_jobs(bench: Bench) -> None:
    p = bench.program
    for seed, stall in ((1, 0.0), (2, 0.5)):
        x = extreme_codes(p, np.random.default_rng(seed), 1, 6)
        expected = golden.run(p.network, x)
        outputs, got = recorded(bench, x[0], stall=stall, seed=seed)
        assert (outputs == expected.outputs[0]).all()
        assert (got.state == expected.state.flat(p.network)[0]).all()
        assert stall or (got.ends == p.schedule.predict(6)).all()


@pytest.mark.xdist_group("bench")
def test_a_state_is_loaded_before_the_first_step(bench: Bench) -> None:
    p, rng = bench.program, np.random.default_rng(5)
    state = golden.run(p.network, extreme_codes(p, rng, 1, 5)).state
    x = extreme_codes(p, rng, 1, 4)
    expected = golden.run(p.network, x, state)
    got = bench.record(x[0], np.zeros(4, bool), load=state.flat(p.network)[0], stall=0.2)
    assert (got.outputs[:, np.argsort(p.schedule.output_order)] == expected.outputs[0]).all()
    assert (got.state == expected.state.flat(p.network)[0]).all()


@pytest.mark.xdist_group("bench")
def test_waveform_on_request(bench: Bench, tmp_path: Path) -> None:
    recorded(bench, np.zeros((2, 3), np.int64), wave=tmp_path / "wave.vcd")
    assert "o__payload" in (tmp_path / "wave.vcd").read_text()


@pytest.mark.xdist_group("bench")
def test_a_wrong_weight_is_caught(bench: Bench) -> None:
    """One bit of one weight of the head, in the file the Verilog reads."""
    p = bench.program
    path = bench.folder / "verilog" / "weights.hex"
    text = path.read_text()
    lines = text.splitlines()
    rows = np.argwhere(p.schedule.weights != 0)
    head = p.schedule.words - p.schedule.blocks[-1].tiles * p.schedule.blocks[-1].columns
    word, lane = next(r for r in rows if r[0] >= head)
    (plane,) = p.images.planes
    bit = plane.bits.index((int(lane), p.config.weight_bits - 2))
    lines[word] = f"{int(lines[word], 16) ^ 1 << bit:0{len(lines[word])}x}"
    x = extreme_codes(p, np.random.default_rng(1), 1, 6)
    expected = golden.run(p.network, x).outputs[0]
    try:
        path.write_text("\n".join(lines) + "\n")
        outputs, _ = recorded(bench, x[0])
    finally:
        path.write_text(text)
    wrong = np.argwhere(outputs != expected)
    step, element = (int(v) for v in wrong[0])
    assert compare(p, expected, outputs).startswith(
        f"step {step}, output {element} (head[{element}]): expected {expected[step, element]}, "
        f"got {outputs[step, element]}; {len(wrong)} of {expected.size} codes differ"
    )


@pytest.mark.xdist_group("bench")
def test_a_hanging_core_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget far too small stands for a core that never answers."""
    make = benches.make_job
    monkeypatch.setattr(
        benches, "make_job", lambda *args, **options: make(*args, **options) | {"budget": 30}
    )
    with pytest.raises(CheckError, match="the simulation failed \\(seed 9\\)"):
        recorded(bench, np.zeros((4, 3), np.int64), seed=9)


@pytest.mark.xdist_group("bench")
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is optional")
def test_icarus_agrees(bench: Bench, tmp_path: Path) -> None:
    x = extreme_codes(bench.program, np.random.default_rng(7), 1, 4)
    one = recorded(bench, x[0])[1]
    with Bench(bench.program, "icarus", folder=tmp_path) as other:
        two = recorded(other, x[0])[1]
    assert (one.outputs == two.outputs).all()
    assert (one.ends == two.ends).all()
    assert (one.state == two.state).all()


# -- simulate -------------------------------------------------------------------------------


def test_simulate_reports() -> None:
    p = small()
    x = np.random.default_rng(0).normal(size=(3, 5, 3))
    got = simulate(p, x, lengths=[5, 0, 3], simulator="amaranth")
    assert got.bit_exact and got.cycle_exact and not got.mismatch
    assert (got.steps, got.simulator) == (8, "amaranth")
    steady, latency = p.schedule.cycles()
    assert got.cycles_predicted == steady
    assert got.latency_cycles == latency
    assert got.cycles_per_step[0] <= steady <= got.cycles_per_step[1]
    assert got.outputs.shape == (3, 5, 2)
    assert (got.outputs[0] == p.run(x)[0]).all()
    assert (got.outputs[2, :3] == p.run(x)[2, :3]).all()
    assert not got.outputs[1].any() and not got.outputs[2, 3:].any()
    paused = simulate(p, x[0], stall=0.5, seed=4, simulator="amaranth")
    assert paused.bit_exact and paused.cycle_exact and paused.outputs.shape == (5, 2)


def test_a_wrong_cycle_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    p = small()
    right = p.schedule.predict(5)
    wrong = right + (np.arange(5) == 3)
    monkeypatch.setattr(p.schedule, "predict", lambda steps: wrong if steps == 5 else right)
    got = simulate(p, np.zeros((5, 3)), simulator="amaranth")
    assert got.bit_exact and not got.cycle_exact
    assert got.mismatch == f"step 3 ended in cycle {right[3]}, predicted {wrong[3]}"


def test_a_wrong_golden_model_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    p = small()
    x = np.random.default_rng(0).normal(size=(4, 3))
    run = golden.run

    def lie(*args, **options):  # type: ignore[no-untyped-def]
        result = run(*args, **options)
        result.outputs[0, 2, 1] += 1
        return result

    monkeypatch.setattr(golden, "run", lie)
    got = simulate(p, x, simulator="amaranth")
    assert not got.bit_exact
    assert got.mismatch.startswith("step 2, output 1 (head[1]): expected ")


def test_a_wrong_final_state_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    p = small()
    flat = golden.State.flat

    def lie(self, network):  # type: ignore[no-untyped-def]
        return flat(self, network) + (np.arange(13) == 6)

    monkeypatch.setattr(golden.State, "flat", lie)
    got = simulate(p, np.ones((4, 3)), simulator="amaranth")
    assert not got.bit_exact
    assert got.mismatch.startswith("final state word 6: expected ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"simulator": "modelsim"},
            "one of verilator, verilator-cpp, icarus, amaranth, not 'modelsim'",
        ),
        ({"simulator": "verilator-cpp", "wave": "run.vcd"}, "verilator-cpp writes no waveform"),
        ({"wave": "run.txt"}, "run.txt: verilator writes waveforms as .vcd or .fst"),
        ({"stall": 1.0}, "from 0 to below 1, not 1.0"),
        ({"stall": -0.1}, "from 0 to below 1"),
        ({"lengths": [3]}, "lengths are 2 .*numbers from 0 to 4"),
        ({"lengths": [3, 5]}, "lengths are 2 .*numbers from 0 to 4"),
        ({"lengths": [0, 0]}, "no steps to simulate"),
    ],
)
def test_simulate_refuses(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(small(), np.zeros((2, 4, 3)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("tool", ["g++", "make", "perl"])
def test_a_missing_tool_is_named(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else which(name))
    with pytest.raises(MissingToolError, match=f"needs {tool.replace('+', '.')}: apt-get install"):
        simulate(small(), np.zeros((2, 3)))


def test_missing_simulators_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingToolError, match="apt-get install iverilog"):
        simulate(small(), np.zeros((2, 3)), simulator="icarus")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="pip install 'gatewright\\[sim\\]'"):
        simulate(small(), np.zeros((2, 3)))


def test_a_failed_build_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(program: Program, folder: Path, **_: object) -> None:
        folder.mkdir()
        (folder / "core.v").write_text("module gatewright_core(;\nendmodule\n")

    monkeypatch.setattr(benches, "write_verilog", broken)
    with pytest.raises(
        CheckError, match=r"verilator could not build gatewright_core(.|\n)*syntax error"
    ) as error:
        Bench(small(), folder=tmp_path)
    assert "core.v:1" in str(error.value)
