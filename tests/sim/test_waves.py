"""Waveforms: their values are those of the golden model, their names and size are as announced."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatewright.cli import evaluate
from gatewright.cli.main import main
from gatewright.compiler import golden
from gatewright.compiler.errors import InputError
from gatewright.compiler.program.program import Program
from gatewright.sim import simulate, waves

Snapshot = dict[str, str]


def read_vcd(path: Path) -> tuple[dict[str, str], Iterator[dict[str, str]]]:
    """Return identifiers by full name, and the values by identifier after each time."""
    head, _, body = path.read_text().partition("$enddefinitions $end")
    names: dict[str, str] = {}
    scope: list[str] = []
    for words in re.findall(r"\$(scope|upscope|var)\b(.*?)\$end", head, re.S):
        parts = words[1].split()
        if words[0] == "scope":
            scope.append(parts[1])
        elif words[0] == "upscope":
            scope.pop()
        else:
            names[".".join([*scope, parts[3]])] = parts[2]

    def moments() -> Iterator[dict[str, str]]:
        now: dict[str, str] = {}
        for line in body.splitlines():
            if line.startswith("#"):
                yield now
            elif line[:1] == "b":
                value, identifier = line[1:].split()
                now[identifier] = value
            elif line[:1] in "01xz" and line:
                now[line[1:]] = line[0]
        yield now

    return names, moments()


def find(names: dict[str, str], end: str) -> str:
    (identifier,) = {names[name] for name in names if name.endswith(f"trace.{end}")}
    return identifier


def signed(bits: str, width: int) -> int:
    value = int(bits, 2)
    return value - (1 << width) if len(bits) == width and bits[0] == "1" else value


def gate_values(path: Path, width: int) -> dict[tuple[int, str, str, int], int]:
    """Return the activation of each beat's first neuron, by step, layer, gate and neuron."""
    names, moments = read_vcd(path)
    at = {name: find(names, name) for name in ("step", "layer", "gate", "neuron", "activation")}
    found = {}
    for now in moments:
        values = {name: now.get(identifier, "x") for name, identifier in at.items()}
        if any(set(value) - {"0", "1"} for value in values.values()):
            continue
        step = int(values["step"], 2)
        if step >> 31:
            continue  # before the first
        layer, gate = (
            int(values[k], 2).to_bytes(16, "big").strip(b"\0").decode() for k in ("layer", "gate")
        )
        place = step, layer, gate, int(values["neuron"], 2)
        found[place] = signed(values["activation"], width)
    return found


@pytest.fixture
def case(tiny: Path) -> tuple[Program, Any]:
    program = Program.load(tiny / "program")
    return program, np.load(tiny / "x.npz")["x"]


@pytest.mark.parametrize("simulator", ["verilator", "amaranth"])
def test_gate_values_of_every_step_are_those_of_the_golden_model(
    case: tuple[Program, Any], tmp_path: Path, simulator: str
) -> None:
    program, x = case
    said: list[str] = []
    wave = tmp_path / "run.vcd"
    done = simulate(program, x, simulator=simulator, wave=wave, progress=said.append)
    assert done.bit_exact and done.cycle_exact
    n = program.network.numbers
    found = gate_values(wave, max(n.tables.gate_bits + 1, n.tables.result_bits))
    trace = golden.run(program.network, program.encode(x[:1]), trace=True).trace
    seen = set()
    for (step, layer, gate, neuron), value in found.items():
        if layer:
            assert trace[f"{layer}.{gate}"][0, step, neuron] == value, (step, layer, gate, neuron)
            seen.add((step, layer, gate))
    gates = {name for name in trace if name.count(".") == 1 and not name.endswith(".acc")}
    assert seen == {(t, *name.split(".")) for t in range(x.shape[1]) for name in gates}
    (line,) = [line for line in said if line.startswith("wave of ")]
    assert line.startswith(
        f"wave of {x.shape[1]} of {x.shape[1]} steps of the first sequence: at most "
    )
    assert wave.stat().st_size <= 1e6 * float(line.split()[-2].replace(",", ""))
    names, _ = read_vcd(wave)
    if simulator == "verilator":
        assert not [name for name in names if "elementwise.activation_0" in name], "below the depth"
    assert not [name for name in names if "$" in name]
    shown = re.findall(r"^[a-z]\S*\.\S+$", (tmp_path / "run.gtkw").read_text(), re.M)
    assert len(shown) > 10 and not set(shown) - set(names)


def test_a_limit_leaves_out_later_steps(case: tuple[Program, Any], tmp_path: Path) -> None:
    program, x = case
    said: list[str] = []
    wave = tmp_path / "run.vcd"
    with pytest.raises(InputError, match=r"at least --wave-limit \S+, or show less") as error:
        simulate(program, x, simulator="amaranth", wave=wave, wave_limit=1e-3)
    assert not wave.exists()
    least = float(str(error.value).split("--wave-limit ")[-1].split(",")[0])
    simulate(program, x, simulator="amaranth", wave=wave, wave_limit=least, progress=said.append)
    assert any(line.startswith("wave of 1 of 6 steps") for line in said)
    n = program.network.numbers
    found = gate_values(wave, max(n.tables.gate_bits + 1, n.tables.result_bits))
    assert {step for step, *_ in found} <= {0, 1}


@pytest.mark.parametrize(
    "simulator",
    [pytest.param("verilator", marks=pytest.mark.skipif(
        not waves.has_header("lz4.h"), reason="liblz4-dev is not installed")),
     pytest.param("icarus", marks=pytest.mark.skipif(
        shutil.which("iverilog") is None, reason="Icarus is not installed"))],
)  # fmt: skip
def test_fst_is_written(case: tuple[Program, Any], tmp_path: Path, simulator: str) -> None:
    program, x = case
    for name in ("run", "again"):  # the second simulator comes from the cache
        wave = tmp_path / f"{name}.fst"
        assert simulate(program, x[:1], simulator=simulator, wave=wave).bit_exact
        assert wave.read_bytes()[:1] == b"\0"  # the block of a header
        assert (tmp_path / f"{name}.gtkw").exists()


def test_what_cannot_be_written_is_refused(
    case: tuple[Program, Any], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, x = case
    for simulator, name in (("amaranth", "a.fst"), ("icarus", "a.vcd"), ("verilator", "a.txt")):
        with pytest.raises(InputError, match="name the file so"):
            simulate(program, x, simulator=simulator, wave=tmp_path / name)
    with pytest.raises(InputError, match="writes no waveform"):
        simulate(program, x, simulator="verilator-cpp", wave=tmp_path / "a.vcd")
    command = ["simulate", str(tiny / "program"), str(tiny / "x.npz"), "--simulator", "amaranth"]
    command += ["--wave", str(tmp_path / "a.vcd")]
    assert main([*command, "--wave-limit", "0"]) == 1
    assert main([*command, "--wave-depth", "-1"]) == 1
    assert "0 (everything) or more" in capsys.readouterr().err


def test_the_command_has_the_defaults_of_the_function() -> None:
    assert (evaluate.WAVE_DEPTH, evaluate.WAVE_MB) == (waves.DEPTH, waves.LIMIT)


def test_nameless_signals_are_hidden() -> None:
    text = "wire \\$12 ;\nassign \\$12 = a + \\w[0] ;\nreg \\w$auto$x:1$2 ;"
    named = "wire __12_ ;\nassign __12_ = a + \\w[0] ;\nreg _w_auto_x_1_2_ ;"
    assert waves.readable(text) == named


def test_modules_below_the_depth_are_marked() -> None:
    text = "".join(f"module \\gatewright_core{end} (a);\nendmodule\n" for end in ("", ".b", ".b.c"))
    assert waves.readable(text) == text
    for depth in (1, 2):
        off = waves.readable(text, depth).split(waves.OFF)[1:]
        assert len(off) == 3 - depth and all(waves.ON in part for part in off)
