"""Input that every verb must refuse."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.command_line import assert_refused, raising


class Attack:
    """What a malicious checkpoint would do when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_not_run(cli, tmp_path):
    (tmp_path / "bad.pt").write_bytes(pickle.dumps({"weight": Attack(tmp_path / "owned")}, 2))
    for arguments in (["inspect"], ["quantize", "-o", tmp_path / "p"]):
        assert_refused(cli(*arguments, tmp_path / "bad.pt"), 1, "bad.pt")
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "p").exists()


def test_data_with_code_is_not_run(cli, tiny, tmp_path):
    array = np.array([Attack(tmp_path / "owned")], dtype=object)
    np.save(tmp_path / "bad.npy", array, allow_pickle=True)
    bad, program = tmp_path / "bad.npy", tiny / "program"
    assert_refused(cli("emulate", program, bad), 1, "bad.npy")
    assert_refused(cli("simulate", program, bad), 1, "bad.npy")
    assert_refused(cli("emulate", program, tiny / "x.npz", "--state", bad), 1, "bad.npy")
    assert not (tmp_path / "owned").exists()


def test_models_that_are_refused(cli, tmp_path):
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("hello")
    nan = {f"a.weight_{side}_l0": np.full((2, 2), np.nan, np.float32) for side in ("ih", "hh")}
    save_file(nan, tmp_path / "nan.safetensors")
    (tmp_path / "folder").mkdir()
    for name, word in (
        ("absent.pt", "absent.pt does not exist"),
        ("empty.pt", "empty.pt is empty"),
        ("text.safetensors", "text.safetensors is not"),
        ("nan.safetensors", "nan at [0, 0]"),
        ("folder", "folder"),
    ):
        assert_refused(cli("inspect", tmp_path / name), 1, word)
        assert_refused(cli("quantize", tmp_path / name, "-o", tmp_path / "p"), 1, word)
        assert_refused(cli("report", tmp_path / "absent", "--model", tmp_path / name), 1)
    assert not (tmp_path / "p").exists()


def test_programs_that_are_refused(cli, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "program.json").write_text("{}")
    x, out = tiny / "x.npz", tmp_path / "out"
    for name in ("absent", "empty", "broken"):
        folder = tmp_path / name
        assert_refused(cli("emulate", folder, x, "-o", tmp_path / "y.npy"), 1, name)
        assert_refused(cli("verilog", folder, "-o", out), 1, name)
        assert_refused(cli("simulate", folder, x, "-o", tmp_path / "y.npy"), 1, name)
        assert_refused(cli("report", folder, "--html", tmp_path / "r.html"), 1, name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "empty"]


@pytest.mark.parametrize("verb", ["emulate", "simulate", "quantize", "report"])
def test_data_that_is_refused(cli, tiny, tmp_path, verb):
    np.save(tmp_path / "wide.npy", np.zeros((4, 5)))
    np.save(tmp_path / "flat.npy", np.zeros(12))
    np.save(tmp_path / "nan.npy", np.full((4, 3), np.nan))
    (tmp_path / "words.csv").write_text("1,2,3\n1,two,3\n")
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "out.npy"
    for name, word in (
        ("absent.npy", "No such file"),
        ("wide.npy", "5 features"),
        ("flat.npy", "shape (12,)"),
        ("nan.npy", "nan"),
        ("words.csv", "two"),
        ("x.wav", ".npy, .npz or .csv"),
    ):
        arguments = {
            "emulate": ["emulate", tiny / "program", tmp_path / name, "-o", out],
            "simulate": ["simulate", tiny / "program", tmp_path / name, "-o", out],
            "quantize": ["quantize", tiny / "model.safetensors", "-o", out,
                         "--calibration", tmp_path / name],
            "report": ["report", tiny / "program", "--data", tmp_path / name, "--html", out],
        }[verb]  # fmt: skip
        assert_refused(cli(*arguments), 1, name, word)
        assert sorted(tmp_path.iterdir()) == before


def test_output_names_are_refused_before_the_work(cli, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("gatewright.compiler.golden.run", raising(AssertionError("too late")))
    program, x = tiny / "program", tiny / "x.npz"
    for verb in ("emulate", "simulate"):
        assert_refused(cli(verb, program, x, "-o", tmp_path / "y.wav"), 1, "y.wav")
        assert_refused(cli(verb, program, x, "-o", tmp_path / "y.csv"), 1, "2 dimensions")
        assert_refused(cli(verb, program, x, "-o", tmp_path / "no" / "y.npy"), 1, "make it first")
    monkeypatch.setattr("gatewright.cli.program.read_model", raising(AssertionError("too late")))
    model = tiny / "model.safetensors"
    assert_refused(cli("inspect", model, "-o", tmp_path / "no" / "m.toml"), 1, "make it first")
    assert_refused(cli("quantize", model, "-o", tiny), 1, "is not replaced")
