"""``supported``, ``doctor``, ``train`` and ``demo``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gatewright.cli import environment
from gatewright.cli.main import main
from gatewright.compiler import Program, load
from gatewright.compiler.compiled import library
from support.command_line import assert_refused


def test_supported(cli):
    got = cli("supported", "--json").json
    assert {"gru", "gru_reset_before", "mgu", "lstm", "rnn", "linear"} <= {
        cell["name"] for cell in got["cells"]
    }
    text = cli("supported").out
    for word in (".safetensors", ".onnx", "65535", "4096"):
        assert word in text


def test_supported_endings_are_those_of_the_reader(cli):
    from gatewright.compiler.frontends.registry import READERS

    got = cli("supported", "--json").json["models"]
    assert {e for row in got for e in row["endings"]} == set(READERS)


def test_doctor(cli):
    done = cli("doctor", "--json")
    assert done.code == 0, done.err
    assert done.json["ok"] is True
    assert done.json["found"]["verilator"]
    assert done.json["golden"]["compiled"] is True, done.json["golden"]["reason"]


def test_doctor_says_why_the_golden_model_is_not_compiled(cli, monkeypatch):
    monkeypatch.setattr(library, "library", lambda: library.Library(None, "no g++ on the path"))
    text = cli("doctor").out
    assert "golden model: NumPy, slower with equal codes (no g++ on the path)" in text


def test_doctor_names_what_is_missing(cli, monkeypatch):
    monkeypatch.setattr(environment, "_package", lambda name: "" if name == "cocotb" else "1.0")
    monkeypatch.setattr(
        environment, "_tool", lambda name: "" if name in ("perl", "iverilog") else "1"
    )
    done = cli("doctor", "--json")
    assert done.code == 3
    assert done.json["missing"] == ["cocotb", "perl"]
    assert "pip install 'gatewright[sim]'; apt install perl" in done.err
    assert "MISSING" in cli("doctor").out


def test_train(cli, tmp_path):
    done = cli("train", "-o", tmp_path / "t", "--epochs", 1, "--json")
    assert done.code == 0, done.err
    assert 0 < done.json["test_accuracy"] < 1
    assert sorted(done.json["files"]) == sorted(p.name for p in (tmp_path / "t").iterdir())
    a, b = (load(tmp_path / "t" / f"model.{end}") for end in ("pt", "safetensors"))
    assert a.parameters == b.parameters == 4713
    assert cli("train", "-o", tmp_path / "t", "--epochs", 1).code == 0  # its own it replaces
    with np.load(tmp_path / "t" / "test.npz") as test:
        assert test["x"].shape == (370, 29, 12)
        np.testing.assert_array_equal(a.run(test["x"][:2]), b.run(test["x"][:2]))


def test_demo_refuses(cli):
    assert_refused(cli("demo", "--utterances", 0), 1, "--utterances", "1 to 370")
    assert_refused(cli("train", "--epochs", 0), 1, "--epochs")


@pytest.mark.parametrize("name", ["model.pt", "test.npz", "result.json", "report.html"])
@pytest.mark.parametrize("verb", ["train", "demo"])
def test_files_of_others_are_kept(cli, tmp_path, verb, name):
    """In a folder that the example did not make, files of its names are somebody's own."""
    (tmp_path / name).write_text("a thesis")
    done = cli(verb, "-o", tmp_path)
    assert_refused(done, 1, name, "example.json", "not replaced")
    assert (tmp_path / name).read_text() == "a thesis"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.full
def test_demo(cli, tmp_path):
    done = cli("demo", "--checkpoint", "-o", tmp_path / "d", "--utterances", 3)
    assert done.code == 0, done.err
    assert done.out.count("PASS") == 3
    assert "FAIL" not in done.out
    result = json.loads((tmp_path / "d" / "result.json").read_text())
    assert result["passed"] is True
    assert result["accuracy_float"] > 0.96
    assert result["cycles_per_step"] == [result["cycles_predicted"]] * 2
    for line in done.out.splitlines():
        if line.startswith(str(tmp_path)):
            assert Path(line.split()[0]).exists()


def test_quantize_like_another_program(tmp_path, capsys):
    """A model trained again takes the place of the first one in its hardware."""
    rng = np.random.default_rng(5)
    paths = []
    for k in range(2):
        arrays = {
            "weight_ih_l0": rng.normal(0, 0.3, (12, 3)), "weight_hh_l0": rng.normal(0, 0.3, (12, 4)),
            "bias_ih_l0": rng.normal(0, 0.1, 12), "bias_hh_l0": rng.normal(0, 0.1, 12),
        }  # fmt: skip
        paths.append(tmp_path / f"{k}.npz")
        np.savez(paths[-1], **arrays)
    np.save(tmp_path / "x.npy", rng.normal(size=(50, 3)))
    common = ["--calibration", str(tmp_path / "x.npy")]
    first, second = tmp_path / "first", tmp_path / "second"
    assert (
        main(["quantize", str(paths[0]), *common, "--lanes", "6", "--spare", "1", "-o", str(first)])
        == 0
    )
    assert main(["quantize", str(paths[1]), *common, "--like", str(first), "-o", str(second)]) == 0
    a, b = Program.load(first), Program.load(second)
    assert a.digest != b.digest
    assert a.hardware_digest == b.hardware_digest
    wide = ["--state-bits", "14"]
    assert (
        main(["quantize", str(paths[1]), *common, *wide, "--like", str(first), "-o", str(second)])
        == 1
    )
    assert "state_bits 14 against 16" in capsys.readouterr().err
