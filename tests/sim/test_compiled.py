"""The C++ bench of a core against cocotb's, the golden model and the schedule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.export.verilog import TOP
from gatewright.sim import bench as benches
from gatewright.sim import build
from gatewright.sim.bench import Bench
from gatewright.sim.compiled import CompiledBench
from gatewright.sim.runner import simulate
from support.randoms import extreme_codes, recurrent

pytestmark = pytest.mark.xdist_group("compiled")
PORT = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);", re.MULTILINE)


def small(seed: int = 5, like: Program | None = None) -> Program:
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "first", "gru", ("x",), 3, 6),
        recurrent(rng, "second", "lstm", ("first",), 6, 4),
        Linear("head", ("second",), rng.normal(size=(3, 4))),
    )
    config = None if like else Config(lanes=5, spare=4)
    return quantize(Model(3, layers), rng.normal(size=(2, 20, 3)), config, like=like)


@pytest.fixture(scope="module")
def program() -> Program:
    return small()


@pytest.fixture(scope="module")
def compiled(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompiledBench]:
    with CompiledBench(program, folder=tmp_path_factory.mktemp("compiled")) as bench:
        yield bench


def test_cpp_and_cocotb_record_the_same(
    program: Program, compiled: CompiledBench, tmp_path: Path
) -> None:
    x = extreme_codes(program, np.random.default_rng(1), 1, 12)[0]
    state = golden.run(program.network, x[None, :5]).state.flat(program.network)[0]
    first = np.arange(12) % 5 == 4
    with Bench(program, folder=tmp_path) as other:
        for load in (None, state):
            one, two = (bench.record(x, first, load=load) for bench in (compiled, other))
            assert (one.outputs == two.outputs).all()
            assert (one.ends == two.ends).all()
            assert (one.state == two.state).all()


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.9])
def test_cpp_equals_golden_and_schedule(compiled: CompiledBench, stall: float) -> None:
    p = compiled.program
    x = extreme_codes(p, np.random.default_rng(2), 1, 40)
    expected = golden.run(p.network, x)
    got = compiled.record(x[0], np.arange(40) == 0, stall=stall, seed=8)
    assert (got.outputs[:, np.argsort(p.schedule.output_order)] == expected.outputs[0]).all()
    assert (got.state == expected.state.flat(p.network)[0]).all()
    predicted = p.schedule.predict(40)
    assert (got.ends > predicted).any() if stall else (got.ends == predicted).all()


def test_a_seed_gives_the_same_pauses_again(compiled: CompiledBench) -> None:
    x = extreme_codes(compiled.program, np.random.default_rng(2), 1, 6)[0]
    ends = [
        compiled.record(x, np.arange(6) == 0, stall=0.5, seed=seed).ends.tolist()
        for seed in (1, 1, 2)
    ]
    assert ends[0] == ends[1] != ends[2]


def test_simulate_in_cpp_reports_as_others_do(program: Program) -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 3))
    one, two = (
        simulate(program, x, lengths=[5, 0, 3], simulator=name)
        for name in ("verilator-cpp", "amaranth")
    )
    assert one.bit_exact and one.cycle_exact and one.simulator == "verilator-cpp"
    assert (one.codes == two.codes).all()
    assert one.cycles_per_step == two.cycles_per_step
    assert one.latency_cycles == two.latency_cycles


def test_a_wrong_weight_is_caught(compiled: CompiledBench, tmp_path: Path) -> None:
    path = compiled.folder / "verilog" / "weights.hex"
    text = path.read_text()
    x = extreme_codes(compiled.program, np.random.default_rng(1), 1, 6)
    expected = golden.run(compiled.program.network, x).outputs[0]
    try:
        path.write_text(re.sub(r"[0-9a-f]", lambda m: f"{int(m[0], 16) ^ 5:x}", text))
        got = compiled.record(x[0], np.arange(6) == 0)
    finally:
        path.write_text(text)
    order = np.argsort(compiled.program.schedule.output_order)
    assert (got.outputs[:, order] != expected).any()


def test_weights_are_no_part_of_the_build(program: Program, tmp_path: Path) -> None:
    """Other weights of the same formats: the simulator comes from the cache."""
    x = extreme_codes(program, np.random.default_rng(1), 1, 4)
    other = small(9, like=program)
    assert other.digest != program.digest
    with (
        CompiledBench(program, folder=tmp_path / "a"),
        CompiledBench(other, folder=tmp_path / "b") as bench,
    ):
        assert "came from the cache" in (tmp_path / "b" / "build.log").read_text()
        got = bench.record(x[0], np.arange(4) == 0)
    expected = golden.run(other.network, x)
    assert (got.outputs[:, np.argsort(other.schedule.output_order)] == expected.outputs[0]).all()


def test_a_build_is_announced_and_one_from_the_cache_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        build, "_verilate", lambda _, top, folder, *rest: (folder / top).write_text("simulator")
    )
    (tmp_path / "top.v").write_text("module top; endmodule\n")
    said: list[str] = []
    for name in "ab":
        made = build.build_simulator(
            [tmp_path / "top.v"], "top", tmp_path / name, progress=said.append
        )
        assert made.read_text() == "simulator"
    assert said == ["building top for verilator"]


def test_a_hanging_core_is_reported(
    compiled: CompiledBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget far too small stands for a core that never answers."""
    make = benches.make_job
    monkeypatch.setattr(
        benches, "make_job", lambda *args, **options: make(*args, **options) | {"budget": 30}
    )
    with pytest.raises(CheckError, match=r"\(seed 9\):\ncore 0: the core hangs: 0 of 12 outputs"):
        compiled.record(np.zeros((4, 3), np.int64), np.arange(4) == 0, seed=9)


class Broken(CompiledBench):
    """A core inside a module that spoils its output stream."""

    fault = ""

    def _write(self) -> None:
        super()._write()
        path = self.folder / "verilog" / "core.v"
        core = path.read_text().replace(f"module {TOP}(", "module inner(")
        ports = PORT.findall(core[core.index("module inner(") :].partition("endmodule")[0])
        spoiled = ("o__payload", "o__valid")
        wires = [f".{name}({name[3:] if name in spoiled else name})" for _, _, name in ports]
        width = next(width for _, width, name in ports if name == "o__payload")
        declarations = ", ".join(" ".join(port) for port in ports)
        path.write_text(
            f"{core}\nmodule {TOP}({declarations});\n"
            f"wire {width}payload; wire valid; reg [2:0] age = 0;\n"
            "always @(posedge clk) age <= age + 1;\n"
            f"inner inner({', '.join(wires)});\n{self.fault}\nendmodule\n"
        )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("assign o__payload = payload ^ (1 << {bits}), o__valid = valid;", "step 0 element 0: first/last are 0"),
        ("assign o__payload = payload ^ (age == 5), o__valid = valid;", "payload of o changed while"),
        ("assign o__payload = payload, o__valid = valid & age != 5;", "valid of o was withdrawn"),
    ],
)  # fmt: skip
def test_a_core_that_breaks_the_stream_rules_is_caught(
    fault: str, message: str, program: Program, tmp_path: Path
) -> None:
    spoil = fault.format(bits=program.network.numbers.state_bits)
    x = extreme_codes(program, np.random.default_rng(1), 1, 12)[0]
    with (
        type("Spoiled", (Broken,), {"fault": spoil})(program, folder=tmp_path) as bench,
        pytest.raises(CheckError, match=message),
    ):
        bench.record(x, np.arange(12) == 0, stall=0.6, seed=4)
