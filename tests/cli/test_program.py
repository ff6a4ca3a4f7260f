"""``inspect`` and ``quantize``."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import numpy as np
import pytest
from gatewright.compiler import Config, Program
from gatewright.compiler.frontends.description import write_description
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.ir.model import Model
from support.command_line import assert_refused
from support.randoms import recurrent


def test_inspect_model(cli, tiny):
    done = cli("inspect", tiny / "model.safetensors")
    assert done.code == 0
    for word in ("gru0", "linear0", "118 parameters", "92 multiply", "compared with PyTorch"):
        assert word in done.out
    got = cli("inspect", tiny / "model.safetensors", "--json").json
    assert (got["inputs"], got["outputs"], got["macs_per_step"]) == (3, 2, 92)
    assert [layer["cell"] for layer in got["layers"]] == ["gru", "linear"]
    assert got["notes"]


def test_inspect_program(cli, tiny):
    got = cli("inspect", tiny / "program", "--json").json
    assert got["kind"] == "program"
    assert got["digest"] == Program.load(tiny / "program").digest
    assert got["digest"][:16] in cli("inspect", tiny / "program").out


def test_reading_options_reach_the_importer(cli, tiny):
    got = cli("inspect", tiny / "model.safetensors", "--head", "fc=sigmoid", "--json").json
    assert got["layers"][1]["activations"] == ["sigmoid"]
    model = tiny / "model.safetensors"
    assert_refused(cli("inspect", model, "--head", "fc"), 1, "MODULE=ACTIVATION")
    assert_refused(cli("inspect", model, "--key", "ema"), 1, "ema")


def test_quantize_json(cli, tiny, tmp_path):
    done = cli(
        "quantize", tiny / "model.safetensors", "--calibration", tiny / "x.npz",
        "-o", tmp_path / "p", "--weight-bits", 6, "--lanes", 6, "--json",
    )  # fmt: skip
    assert done.err.splitlines()[-1].startswith("warning: not compared with your model: ")
    got = done.json
    assert got["not_compared"] == [
        "that the model computes 'gru, fc' and nothing more: tensors hold no computation"
    ]
    assert got["macs_per_step"] == 92
    assert got["lanes"] == 6
    assert 0 < got["utilization"] <= 1
    assert got["saturations"] == {"total": 0, "places": {}}
    assert 0 < got["error"]["mean"] <= got["error"]["max"] < 0.1
    program = Program.load(tmp_path / "p")
    assert program.digest == got["digest"]
    assert program.network.numbers.weight_bits == 6
    assert program.summary["cycles_per_step"] == got["cycles_per_step"]


def test_quantize_for_streams(cli, tiny, tmp_path):
    common = ("--calibration", tiny / "x.npz", "--lanes", 6, "--json", "-o")
    model = tiny / "model.safetensors"
    one = cli("quantize", model, *common, tmp_path / "one").json
    two = cli("quantize", model, "--streams", 2, *common, tmp_path / "two").json
    assert "streams" not in one and "streams" not in one["config"]
    assert two["streams"] == two["config"]["streams"] == 2
    assert two["cycles_per_step"] <= one["cycles_per_step"]
    assert "2 streams in turn" in cli("inspect", tmp_path / "two").out
    assert cli("inspect", tmp_path / "two", "--json").json["interface"]["streams"] == 2
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    programs = [Program.load(tmp_path / name) for name in ("one", "two")]
    assert (programs[0].run(x) == programs[1].run(x)).all()
    assert programs[0].hardware_digest != programs[1].hardware_digest
    refused = cli("quantize", model, "--streams", 65, *common, tmp_path / "many")
    assert_refused(refused, 1, "streams is a whole number from 1 to 64, not 65")


def test_quantize_without_calibration_warns(cli, tiny, tmp_path):
    done = cli("quantize", tiny / "model.safetensors", "-o", tmp_path / "p", "--json")
    assert done.code == 0
    assert "normally" in done.err
    assert done.json["calibration"] == "synthetic"


def test_every_knob_is_an_option(cli):
    text = cli("quantize", "--help").out
    for field in fields(Config):
        option = {"weight_widths": "weight_bits"}.get(field.name, field.name)
        assert f"--{option.replace('_', '-')} " in text


def test_widths_of_layers_and_gates(cli, tiny, tmp_path):
    (tmp_path / "c.toml").write_text('[weight_widths]\ngru0 = 7\n"gru0.n" = 6\n')
    done = cli(
        "quantize", tiny / "model.safetensors", "-o", tmp_path / "p", "--lanes", 6, "--json",
        "--config", tmp_path / "c.toml", "--weight-bits", "5,gru0.n=4",
    )  # fmt: skip
    program = Program.load(tmp_path / "p")
    assert program.config.weight_widths == {"gru0": 7, "gru0.n": 4}
    bits = {f"{x.name}.{g.gate.name}": g.bits for x in program.network.layers for g in x.gates}
    assert {bits.pop(f"gru0.{g}") for g in "rz"} == {7} and bits.pop("gru0.n") == 4
    assert set(bits.values()) == {5}
    assert done.json["config"]["weight_widths"] == {"gru0": 7, "gru0.n": 4}
    assert "weights 5 (gru0 7, gru0.n 4)" in cli("inspect", tmp_path / "p").out


def test_options_win_over_the_file_and_the_file_over_defaults(cli, tiny, tmp_path):
    (tmp_path / "c.toml").write_text("weight_bits = 5\nlanes = 7\n")
    got = cli(
        "quantize", tiny / "model.safetensors", "-o", tmp_path / "p",
        "--config", tmp_path / "c.toml", "--lanes", 6, "--json",
    ).json["config"]  # fmt: skip
    assert (got["weight_bits"], got["lanes"], got["state_bits"]) == (5, 6, 16)


def test_write_config_is_complete_and_reads_back(cli, tiny, tmp_path):
    done = cli("quantize", "--write-config", "-", "--weight-bits", 4)
    assert set(tomllib.loads(done.out)) == {field.name for field in fields(Config)}
    path = tmp_path / "c.toml"
    assert cli("quantize", "--write-config", path, "--weight-bits", 4).code == 0
    assert Config.from_toml(path) == Config(weight_bits=4)
    # With a model, but no folder for a program.
    assert cli("quantize", tiny / "model.safetensors", "--write-config", path).code == 0
    assert Config.from_toml(path) == Config()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weight-bits", "1"], ["weight_bits", "2 to 16", "1"]),
        (["--weight-bits", "8;6"], ["8,gru0=6,gru0.n=4", "8;6"]),
        (["--weight-bits", "8,gru7=6"], ["'gru7'", "does not have", "gru0 (gates r z n)"]),
        (["--weight-bits", "8,gru0.f=6"], ["'gru0.f'", "gru0 (gates r z n)"]),
        (["--state-bits", "8"], ["state_bits is 8"]),
        (["--activation", "cubic"], ["interpolated", "cubic"]),
        (["--lanes", "5000"], ["4096"]),
        (["--rate", "1e9"], ["too few"]),
        (["--threshold", "0.1"], ["'0.1' is not a whole number"]),
        (["--threshold", "2"], ["needs the delta engine"]),
        (["--board", "nano"], ["'nano'", "boards are icebreaker"]),
        (["--board", "icebreaker", "--rate", "1e7"], ["iCE40UP5K", "lower the rate"]),
        (["--engine", "sparse"], ["dense, delta", "sparse"]),
        (["--config", "absent.toml"], ["absent.toml"]),
        (["--calibration", "absent.npy"], ["absent.npy"]),
    ],
)
def test_quantize_refuses(cli, tiny, tmp_path, arguments, words):
    out = tmp_path / "p"
    assert_refused(cli("quantize", tiny / "model.safetensors", "-o", out, *arguments), 1, *words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wieght_bits = 8", ["wieght_bits", "known are"]),
        ("weight_bits = 'eight'", ["weight_bits"]),
        ("weight_bits 8", ["not TOML"]),
    ],
)
def test_quantize_refuses_a_wrong_file(cli, tiny, tmp_path, text, words):
    (tmp_path / "c.toml").write_text(text)
    model = tiny / "model.safetensors"
    done = cli("quantize", model, "-o", tmp_path / "p", "--config", tmp_path / "c.toml")
    assert_refused(done, 1, "c.toml", *words)


def test_quantize_asks_for_what_is_missing(cli, tiny):
    assert_refused(cli("quantize"), 1, "MODEL")
    assert_refused(cli("quantize", tiny / "model.safetensors"), 1, "-o PROGRAM")


def test_a_stated_computation_and_recorded_outputs(cli, tiny, tmp_path):
    """``--forward``, ``--expect`` and ``[model]`` of a TOML file; every verb says what is open."""
    model, x = tiny / "model.safetensors", np.load(tiny / "x.npz")
    y = load(model).run(x["x"])
    np.savez(tmp_path / "xy.npz", x=x["x"], y=y)
    np.savez(tmp_path / "relu.npz", x=x["x"], y=np.maximum(y, 0))
    proof = ("--expect", tmp_path / "xy.npz")
    quantized = ("quantize", model, "-o", tmp_path / "p", "--calibration", tiny / "x.npz")
    tuned = ("tune", model, "--data", tiny / "x.npz", "--max-loss", 9, "--metric", "rms")
    for verb in (
        ("inspect", model), quantized,
        ("report", tiny / "program", "--model", model, "--data", tiny / "x.npz"),
        (*tuned, "-o", tmp_path / "t"),
    ):  # fmt: skip
        done = cli(*verb, "--json")
        assert done.code == 0, done.err
        assert len(done.json["not_compared"]) == 1
        assert done.err.splitlines()[-1].startswith("warning: not compared with your model: that")
        done = cli(*verb, *proof, "--json")
        assert done.json["not_compared"] == []
        assert "not compared" not in done.err
    assert_refused(cli("inspect", model, "--forward", "gru, fc, relu", *proof), 2, "step 0")
    done = cli("inspect", model, "--expect", tmp_path / "relu.npz")
    assert "chosen by the recorded outputs: gru, fc, relu" in done.out
    toml = tmp_path / "c.toml"
    toml.write_text('weight_bits = 6\n[model]\nforward = "gru, fc, relu"\n')
    done = cli(*quantized, "--config", toml, "--json")
    assert "'gru, fc, relu', as stated" in done.json["not_compared"][0]
    assert done.json["config"]["weight_bits"] == 6
    toml.write_text('[model]\nfroward = "gru"\n')
    assert_refused(cli(*quantized, "--config", toml), 1, "[model] has no 'froward'")


def test_inspect_says_what_quantize_refuses(cli, tmp_path):
    rng = np.random.default_rng(0)
    layer = recurrent(rng, "a", "gru", ("x",), 3, 4, gate="tanh")
    write_description(Model(3, (layer,)), tmp_path / "m.toml")
    done = cli("inspect", tmp_path / "m.toml", "--json")
    refusal = done.json["quantize_refuses"]
    assert refusal.startswith("a: gate activation 'tanh' is not supported")
    assert f"quantize will refuse this model: {refusal}" in done.err
    assert_refused(cli("quantize", tmp_path / "m.toml", "-o", tmp_path / "p"), 1, refusal)


def test_inspect_writes_a_description(cli, tiny, tmp_path):
    done = cli("inspect", tiny / "model.safetensors", "-o", tmp_path / "m.toml")
    assert "h' = (1 - z) * n + z * h" in done.out
    again = cli("inspect", tmp_path / "m.toml", "--json").json
    assert (again["macs_per_step"], again["quantize_refuses"]) == (92, "")
    assert_refused(
        cli("inspect", tiny / "program", "-o", tmp_path / "p.toml"), 1, "this is a program"
    )


def test_clipping_that_moves_outputs_is_a_warning(cli, tmp_path):
    rng = np.random.default_rng(0)
    layer = recurrent(rng, "a", "gru", ("x",), 3, 4, candidate="relu")
    write_description(Model(3, (layer,)), tmp_path / "m.toml")
    x = rng.normal(size=(2, 300, 3))
    x[0, 50] = 30
    np.save(tmp_path / "x.npy", x)
    given = (tmp_path / "m.toml", "--calibration", tmp_path / "x.npy", "-o", tmp_path / "p")
    done = cli("quantize", *given, "--calibration-method", "percentile")
    assert "warning: clipping on the calibration data moves outputs by up to 0." in done.err
    assert "Clipped: a.n 2 of 2,400" in done.err
    assert cli("inspect", tmp_path / "p", "--json").json["clipping"]["moved"] > 0.5
    assert "clipping" not in cli("quantize", *given, "--calibration-method", "minmax").err


def test_what_turns_gain_is_said(cli, tiny, tmp_path):
    words = ["quantize", tiny / "model.safetensors", "--lanes", 8, "-o"]
    one = cli(*words, tmp_path / "one", "--json").json
    cli(*words, tmp_path / "two", "--streams", 2)
    said = cli("inspect", tmp_path / "two").out
    two = Program.load(tmp_path / "two")
    assert f"with one stream: {one['cycles_per_step']:,})" in said
    assert f"cycles a step  {two.summary['cycles_per_step']:,} (a lone step" in said
    assert "with one stream" not in cli("inspect", tmp_path / "one").out
