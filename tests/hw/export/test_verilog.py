"""Exported Verilog: the same bytes every time, nothing of this machine, no zero-width signals."""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright.compiler.layout.images import hex_files
from gatewright.hw.export.verilog import TOP, core_verilog, write_verilog
from support.exported import FILES, exported

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
