"""The testbench that is delivered: it passes where the core is right, and fails where it is not."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.export import testbench
from gatewright.hw.export.testbench import Vectors, random_codes
from gatewright.hw.export.verilog import write_verilog
from gatewright.sim.simulators import simulator_tools
from support.exported import exported
from support.randoms import extreme_codes, recurrent
from support.verilog_runs import run_testbench


def made(cell: str = "gru", *, argmax: bool = False, lanes: int = 3, streams: int = 1) -> Program:
    """A recurrent layer and a head, with features of very different size."""
    rng = np.random.default_rng(1)
    head = Linear("head", ("only",), rng.normal(size=(5, 4)), rng.normal(0, 0.3, 5))
    model = Model(3, (recurrent(rng, "only", cell, ("x",), 3, 4), head))
    x = rng.normal(size=(2, 20, 3)) * [1e-3, 1, 300]
    program = quantize(model, x, Config(lanes=lanes, argmax=argmax, streams=streams))
    assert isinstance(program, Program)
    return program


def passes(
    folder: Path, tool: str, program: Program, name: str = "gatewright", **options: str
) -> None:
    done = run_testbench(folder, tool, name, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = random_codes(program)[..., 0].size
    outputs = steps * program.output_size
    assert f"PASS: {steps} steps, {outputs} outputs, cycles as predicted" in done.stdout


@pytest.mark.parametrize("kind", ["values", "class, loadable", "values of 3 streams"])
def test_it_passes_in_icarus(tmp_path: Path, kind: str) -> None:
    program = made(argmax="class" in kind, streams=3 if "streams" in kind else 1)
    write_verilog(program, tmp_path / "v", name="class_", loadable="class" in kind)
    passes(tmp_path / "v", "icarus", program, "class_", core="class__core.v")


@pytest.mark.full
@pytest.mark.parametrize("tool", ["icarus", "verilator"])
@pytest.mark.parametrize("cell", CELLS)
def test_it_passes_for_every_cell(cell: str, tool: str, tmp_path: Path) -> None:
    program = made(cell, argmax=cell == "lstm", lanes=5)
    write_verilog(program, tmp_path / "v", loadable=cell == "mgu")
    passes(tmp_path / "v", tool, program)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 112))
def test_it_passes_for_random_programs(seed: int, tmp_path: Path) -> None:
    program = exported(seed)
    write_verilog(program, tmp_path / "v")
    passes(tmp_path / "v", "icarus", program)


@pytest.mark.parametrize("name", ["gatewright", "int"])
def test_it_is_clean(name: str, tmp_path: Path) -> None:
    """Also under a name that is a word of the language."""
    write_verilog(
        made(argmax=name == "int"), tmp_path / "v", name="" if name == "gatewright" else name
    )
    [core] = (path.name for path in (tmp_path / "v").glob("*core.v"))
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", "--timing", "--top-module", f"{name}_tb", f"{name}_tb.sv", core],
        cwd=tmp_path / "v", env=os.environ | simulator_tools("verilator"), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "%" not in done.stderr, done.stderr


# -- faults -------------------------------------------------------------------------


def damage(path: Path, pattern: str, to: Any, count: int = 1) -> None:
    text, number = re.subn(pattern, to, path.read_text(), count=count, flags=re.MULTILINE)
    assert number, f"{pattern} is not in {path.name}"
    path.write_text(text)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("right") / "v"
    write_verilog(made(), folder, vectors=np.random.default_rng(1).normal(size=(9, 3)))
    return folder


@pytest.fixture
def folder(right: Path, tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    for path in right.iterdir():
        (tmp_path / "v" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "v"


def fails(folder: Path, message: str) -> str:
    done = run_testbench(folder, "icarus")
    assert done.returncode != 0 and "PASS" not in done.stdout, done.stdout
    assert message in done.stdout, done.stdout
    return done.stdout


def test_a_wrong_weight_fails(folder: Path) -> None:
    lines = (folder / "weights.hex").read_text().split()
    (folder / "weights.hex").write_text(
        "".join(f"{int(line, 16) ^ 0x40:0{len(line)}x}\n" for line in lines)
    )
    assert "step 0, transfer " in fails(folder, "FAIL: the core gives")


def test_a_fault_in_the_verilog_fails(folder: Path) -> None:
    """An accumulator that subtracts."""
    damage(folder / "core.v", r"\} \+ p;", "} - p;")
    fails(folder, "FAIL: the core gives")


def test_a_step_that_ends_in_another_cycle_fails(folder: Path) -> None:
    """The prediction is what is wrong here: the comparison is the same."""
    damage(folder / "vectors.hex", r"^(\w+)(?=\n// step 1$)", lambda m: f"{int(m[0], 16) + 1:08x}")
    assert "transfer 4 (output 4)" in fails(folder, "FAIL: the step ends in cycle")


def test_a_core_that_gives_nothing_fails(folder: Path) -> None:
    damage(folder / "gatewright_tb.sv", r"\.i__valid\(i_valid\)", ".i__valid(1'b0)")
    assert "step 0, transfer 0" in fails(folder, "FAIL: no end after")


def test_missing_vectors_fail(folder: Path) -> None:
    (folder / "vectors.hex").unlink()
    fails(folder, "FAIL: vectors.hex is not in the working folder")


# -- vectors ------------------------------------------------------------------------


def test_vectors_are_the_golden_model(tmp_path: Path) -> None:
    program = made()
    x = np.random.default_rng(5).normal(size=(3, 6, 3))
    lengths = [6, 2, 4]
    write_verilog(program, tmp_path / "v", vectors=x, lengths=lengths)
    words = [
        int(w, 16) for w in re.sub("//.*", "", (tmp_path / "v/vectors.hex").read_text()).split()
    ]
    rows = np.array(words).reshape(sum(lengths), 3 + 5 + 1)

    def codes(part: np.ndarray) -> np.ndarray:
        return ((part & 0xFFFF) ^ 0x8000) - 0x8000

    given, expected = program.encode(x), program.evaluate(program.encode(x)).outputs
    at = 0
    for n, length in enumerate(lengths):
        assert (codes(rows[at : at + length, :3]) == given[n, :length]).all()
        order = program.schedule.output_order
        assert (codes(rows[at : at + length, 3:8]) == expected[n, :length][:, order]).all()
        assert rows[at, 0] >> 16 == 1 and not (rows[at + 1 : at + length, 0] >> 16).any()
        at += length
    assert (rows[:, 8] == program.schedule.predict(len(rows))).all()


def test_vectors_of_a_file_are_played(tmp_path: Path) -> None:
    program = made()
    x = np.random.default_rng(6).normal(size=(9, 3))
    write_verilog(program, tmp_path / "v", vectors=x)
    assert "PASS: 9 steps, 45 outputs" in run_testbench(tmp_path / "v", "icarus").stdout


@pytest.mark.full
def test_passes_of_a_chain_have_vectors_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sides = [recurrent(rng, name, "gru", ("x",), 2, 3) for name in ("f", "b")]
    model = Model(2, (sides[0], replace(sides[1], reverse=True)), ("f", "b"))
    chain = quantize(model, rng.normal(size=(1, 9, 2)), Config(lanes=2))
    x = rng.normal(size=(2, 4, 2))
    write_verilog(chain, tmp_path / "v", name="det", vectors=x, lengths=[4, 2])
    for k in range(2):
        run = run_testbench(tmp_path / "v" / f"pass{k}", "icarus", f"det{k}", f"det{k}_core.v")
        assert "PASS: 6 steps, 18 outputs" in run.stdout


def test_random_codes_are_the_same_everywhere_and_reach_the_ends() -> None:
    program = made()
    codes, fmt = random_codes(program), program.input_format
    assert codes.shape == (2, 32, 3) and (codes == random_codes(program)).all()
    assert codes.min() == fmt.low and codes.max() == fmt.high
    typical = codes.reshape(-1, 4, 3)[:, :3]
    assert np.abs(typical).mean() < 0.3 * fmt.high and np.abs(typical).max() > 0.5 * fmt.high


def test_vectors_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    program = made()
    codes = extreme_codes(program, np.random.default_rng(1), 1, 12)
    monkeypatch.setattr(testbench, "WORDS", 100)
    with pytest.raises(InputError, match="give 11 steps at most"):
        Vectors.of(program, codes)
    assert len(Vectors.of(program, codes[:, :11]).ends) == 11
    with pytest.raises(InputError, match="vectors of 0 steps"):
        Vectors.of(program, codes[:, :0])
