"""A chain in simulation, and on the command line."""

from __future__ import annotations

import json
import pathlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler.config import Config
from gatewright.compiler.frontends.keras import load_keras
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw import write_verilog
from gatewright.sim import simulate
from safetensors.numpy import save_file
from support.chains import LENGTHS, both_ways, data, small
from support.exported import FILES
from support.randoms import recurrent

SLEEP = pathlib.Path(__file__).parents[1] / "data" / "sleepecg_wrn-gru-mesa.keras"


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_simulation_in_amaranth(cell):
    """Each pass is fed with what the core of the one before gave out."""
    chain = small(cell=cell, layers=2, head=2)
    done = simulate(chain, data(), lengths=LENGTHS, simulator="amaranth", stall=0.0)
    assert done.bit_exact and done.cycle_exact and not done.mismatch
    assert len(done.passes) == 5 and done.steps == LENGTHS.sum()
    # Steps of a pass may take turns at being a cycle longer; the longest is what is promised.
    assert done.cycles_per_step[1] == done.cycles_predicted == chain.summary["cycles_per_step"]
    assert done.cycles_per_step[0] == sum(
        np.diff(program.schedule.predict(LENGTHS.max())).min() for program in chain.passes
    )
    expected = chain.run(data(), lengths=LENGTHS)
    expected[np.arange(6) >= LENGTHS[:, None]] = 0
    np.testing.assert_array_equal(done.outputs, expected)


def test_wrong_hardware_is_found_and_named(monkeypatch):
    from gatewright.sim import pysim

    record, calls = pysim.record, []

    def wrong(program, *args, **options):
        done = record(program, *args, **options)
        calls.append(program)
        if len(calls) == 2:
            done.outputs[1, 3] += 1
        return done

    monkeypatch.setattr(pysim, "record", wrong)
    done = simulate(small(head=2), data(1), simulator="amaranth")
    assert not done.bit_exact and [each.bit_exact for each in done.passes] == [True, False, True]
    assert done.mismatch.startswith("pass 1: step 1, output 3 (b0[3])")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is optional")
def test_simulation_of_verilog(tmp_path):
    done = simulate(small(h=2), data()[0], simulator="icarus", folder=tmp_path)
    assert done.bit_exact and done.cycle_exact and done.outputs.shape == (6, 4)
    assert (tmp_path / "pass1" / "verilog" / "core.v").is_file()


def test_simulation_in_verilator():
    """One pass that starts at the end of each sequence: one build is half a minute."""
    layer = replace(recurrent(np.random.default_rng(0), "h", "gru", ("x",), 3, 2), reverse=True)
    chain = quantize(Model(3, (layer,)), data(), Config(lanes=2))
    done = simulate(chain, data(), lengths=LENGTHS)
    assert done.bit_exact and done.cycle_exact and done.steps == LENGTHS.sum()


def test_a_network_without_states_in_verilator():
    """A pass of linear layers alone has nothing for the state port to read or load."""
    weight = np.random.default_rng(2).normal(0, 0.4, (2, 3))
    model = Model(3, (Linear("head", ("x",), weight, None),), ("head",))
    done = simulate(quantize(model, data(), Config(lanes=2)), data(), lengths=LENGTHS)
    assert done.bit_exact and done.cycle_exact and done.steps == LENGTHS.sum()


@pytest.mark.full
def test_published_model_in_verilator():
    """All five passes of a sleep-stage classifier, some steps of two sequences."""
    model = load_keras(SLEEP, check=False)
    with np.load(SLEEP.parent / "sleepecg_expected.npz") as file:
        x = file["x"][:, :12].astype(float)
    chain = quantize(model, x)
    assert [stage.reads[0] for stage in chain.stages] == [
        "x", "dense", "bidirectional", "bidirectional", "bidirectional_1",
    ]  # fmt: skip
    done = simulate(chain, x, lengths=[12, 7])
    assert done.bit_exact and done.cycle_exact and done.steps == 19


def test_verilog_folder(tmp_path):
    chain = small()
    names = write_verilog(chain, tmp_path / "v")
    assert names == ["program.json"] + [f"pass{k}/{name}" for k in (0, 1) for name in FILES]
    told = json.loads((tmp_path / "v" / "program.json").read_text())
    assert [(p["reads"], p["reverse"], p["shifts"]) for p in told["passes"]] == [
        (["x"], False, [0]), (["x"], True, [0]),
    ]  # fmt: skip
    assert write_verilog(chain, tmp_path / "v") == names


def call(capsys, *arguments: object) -> dict:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_command_line(tmp_path, capsys):
    model = both_ways(head=2, seed=4)
    tensors = {}
    for name, layer in zip(("", "_reverse"), model.layers[:2], strict=True):
        for key, part in (("weight_ih", layer.w), ("weight_hh", layer.u),
                          ("bias_ih", layer.b), ("bias_hh", layer.c)):  # fmt: skip
            tensors[f"gru.{key}_l0{name}"] = np.concatenate([part[g] for g in "rzn"])
    tensors |= {"fc.weight": model.layers[2].w.copy(), "fc.bias": np.zeros(2)}
    save_file(tensors, tmp_path / "m.safetensors")
    np.savez(tmp_path / "x.npz", x=data(), len=LENGTHS)
    m, x, p = tmp_path / "m.safetensors", tmp_path / "x.npz", tmp_path / "p"
    layers = call(capsys, "inspect", m, "--forward", "gru, fc")["layers"]
    assert [layer["reverse"] for layer in layers] == [False, True, False]
    made = call(capsys, "quantize", m, "--forward", "gru, fc", "--calibration", x, "-o", p)
    assert made["buffer"]["words_per_step"] == 11 and len(made["passes"]) == 3
    assert made["error"]["max"] < 0.02
    assert call(capsys, "inspect", p)["digest"] == made["digest"]
    emulated = call(capsys, "emulate", p, x, "-o", tmp_path / "y.npy")
    assert emulated["buffer"] == {"steps": 6, "words": 66, "bits": 6 * (3 * 12 + 8 * 16)}
    y = np.load(tmp_path / "y.npy")
    want = model.run(data(), lengths=LENGTHS)
    want[np.arange(6) >= LENGTHS[:, None]] = 0
    np.testing.assert_allclose(y, want, atol=0.02, rtol=0)
    done = call(
        capsys, "simulate", p, x, "--simulator", "amaranth", "-o", tmp_path / "s.npy"
    )  # fmt: skip
    assert done["bit_exact"] and done["cycle_exact"] and len(done["passes"]) == 3
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), y)
    files = call(capsys, "verilog", p, "-o", tmp_path / "v")["files"]
    assert "pass2/core.v" in files
    report = call(capsys, "report", p, "--data", x, "--model", m, "--forward", "gru, fc")
    assert report["error"]["max"] == pytest.approx(np.abs(y - want).max())
    assert [r["words"] for r in report["memories"] if "outside" in r["memory"]] == [66]
    assert {"pass0.x", "pass2.x"} <= {r["tensor"] for r in report["formats"] if "peak" in r}
    assert main(["report", str(p), "--data", str(x), "--html", str(tmp_path / "r.html")]) == 0
    assert "pass 1" in (tmp_path / "r.html").read_text()


def test_state_on_the_command_line(tmp_path, capsys):
    """Words of the passes one after the other; the reversed layer's enters at the end."""
    chain = small()
    chain.save(tmp_path / "p")
    np.save(tmp_path / "x.npy", data()[0])
    state = np.linspace(-0.9, 0.9, 8)
    np.save(tmp_path / "h.npy", state)
    call(capsys, "emulate", tmp_path / "p", tmp_path / "x.npy", "--state", tmp_path / "h.npy",
         "-o", tmp_path / "y.npy")  # fmt: skip
    model = both_ways()
    start = {"f0": state[None, :4], "b0": state[None, 4:]}
    want = model.run(data()[:1], {name: (h, 0 * h) for name, h in start.items()})
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want[0], atol=0.03, rtol=0)
    np.save(tmp_path / "h.npy", state[:5])
    arguments = ["emulate", str(tmp_path / "p"), str(tmp_path / "x.npy"), "--state"]
    assert main([*arguments, str(tmp_path / "h.npy")]) == 1
    assert "expected (8,)" in capsys.readouterr().err


def test_sleepecg_in_fixed_point():
    """A folded batch norm reads features from 0.4 to 1e5: each has its own binary point."""
    folder = pathlib.Path(__file__).parents[1] / "data"
    model = load_keras(folder / "sleepecg_wrn-gru-mesa.keras")
    x = np.load(folder / "sleepecg_expected.npz")["x"].astype(float)
    for bits, most in ((16, 1e-3), (8, 0.05)):
        chain = quantize(model, x, Config(weight_bits=bits, activation_bits=max(bits, 12)))
        error = np.abs(chain.run(x) - model.run(x)).max()
        print(f"{bits}-bit weights: max error {error:.1e}")
        assert chain.exponents and error < most
