"""The activation unit against the integer functions: every activation of every code at every width."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from gatewright.compiler.files.process import run_in_group
from gatewright.compiler.numerics.activation import ACTIVATIONS, Activation
from gatewright.hw.engine.activation import ActivationUnit
from gatewright.hw.export.verilog import component_verilog
from gatewright.sim.build import build_simulator

pytestmark = pytest.mark.xdist_group("compiled")
ODD = 0x9E3779B1
"""As ``sweep.cpp`` has it."""


class Units(wiring.Component):
    """Units side by side, fed with the lowest bits of one code."""

    def __init__(self, units: Sequence[ActivationUnit]) -> None:
        self.units = units
        widest = max(unit.tables.pre_bits for unit in units)
        results = {f"result{k}": Out(32) for k in range(len(units))}
        super().__init__({"act": In(range(len(ACTIVATIONS))), "pre": In(widest)} | results)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for k, unit in enumerate(self.units):
            m.submodules[f"unit{k}"] = unit
            m.d.comb += [
                unit.act.eq(self.act), unit.pre.eq(self.pre),
                getattr(self, f"result{k}").eq(unit.result),
            ]  # fmt: skip
        return m


def sweep(tables: Sequence[Activation], names: Sequence[str], folder: Path) -> list[np.ndarray]:
    """Return for each unit its results, shape (codes, activations), codes ``j * ODD``."""
    units = [ActivationUnit(tables=t, used=set(names)) for t in tables]
    source = folder / "units.v"
    source.write_text(component_verilog(Units(units), "units"))
    listed = " ".join(f"X(result{k}, {t.pre_bits})" for k, t in enumerate(tables))
    (folder / "sweep.h").write_text(f"#define UNITS(X) {listed}\n")
    main = Path(__file__).parents[2] / "support" / "sweep.cpp"
    program = build_simulator([source], "units", folder, main=main)
    words = [str(program), str(ActivationUnit.latency), *(str(ACTIVATIONS.index(n)) for n in names)]
    done = run_in_group(words, stdout=subprocess.PIPE)
    done.check_returncode()
    results = np.frombuffer(done.stdout, np.int32)
    ends = np.cumsum([len(names) << t.pre_bits for t in tables])
    assert len(results) == ends[-1]
    return [part.reshape(-1, len(names)) for part in np.split(results, ends[:-1])]


def check(kind: str, widths: Sequence[int], slope: float, folder: Path) -> None:
    names = [n for n in ACTIVATIONS if kind != "hard" or n not in ("tanh", "sigmoid")]
    tables = [Activation(kind, bits, bits, slope) for bits in widths]
    for t, got in zip(tables, sweep(tables, names, folder), strict=True):
        size = 1 << t.pre_bits
        codes = np.arange(size) * ODD % size
        assert len(np.unique(codes)) == size
        codes = np.where(codes < size >> 1, codes, codes - size)
        for k, name in enumerate(names):
            wrong = np.flatnonzero(got[:, k] != t(name, codes)[0])
            assert not len(wrong), (
                f"{kind} {t.gate_bits} bits: {name}({codes[wrong[0]]}) is {got[wrong[0], k]}"
            )


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "slope"), [("interpolated", 0.2), ("direct", 0.2), ("hard", 0.2), ("hard", 1 / 6)]
)
def test_every_code_of_every_width(kind: str, slope: float, tmp_path: Path) -> None:
    check(kind, range(2, 17), slope, tmp_path)
