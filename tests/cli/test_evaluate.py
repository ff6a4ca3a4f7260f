"""``emulate``, ``verilog`` and ``simulate``."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.cli import evaluate
from gatewright.compiler import Program
from gatewright.compiler.golden import run
from gatewright.sim.simulators import SIMULATORS
from support.command_line import assert_refused


def test_emulate_is_the_golden_model(cli, tiny, tmp_path):
    done = cli("emulate", tiny / "program", tiny / "x.npz", "-o", tmp_path / "y.npy", "--json")
    program, data = Program.load(tiny / "program"), np.load(tiny / "x.npz")
    expected = program.run(data["x"])
    valid = np.arange(6) < data["len"][:, None]
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(y[valid], expected[valid])
    assert (y[~valid] == 0).all()
    got = done.json
    assert (got["steps"], got["sequences"]) == (int(valid.sum()), 5)
    last = expected[np.arange(5), data["len"] - 1].argmax(1)
    assert got["accuracy"] == (last == data["y"]).mean()


def test_emulate_counts_clipped_inputs(cli, tiny, tmp_path):
    x = np.zeros((2, 3, 3))
    x[0, 1, 2], x[1, 2, 0] = 1e6, -1e6
    np.savez(tmp_path / "x.npz", x=x, len=[3, 2])
    got = cli("emulate", tiny / "program", tmp_path / "x.npz", "--json").json["saturations"]
    assert got["places"]["x"] == {"clipped": 1, "of": 15} and got["total"] >= 1


def test_emulate_one_sequence(cli, tiny, tmp_path):
    done = cli("emulate", tiny / "program", tiny / "x.csv", "-o", tmp_path / "y.csv")
    assert "6 steps" in done.out
    assert "accuracy" not in done.out
    y = np.loadtxt(tmp_path / "y.csv", delimiter=",")
    x = np.loadtxt(tiny / "x.csv", delimiter=",")
    np.testing.assert_array_equal(y, Program.load(tiny / "program").run(x))


def test_emulate_with_a_state(cli, tiny, tmp_path):
    """Continuing from a state gives what the whole run gives."""
    program, x = Program.load(tiny / "program"), np.load(tiny / "x.npz")["x"]
    whole = program.run(x)
    state = run(program.network, program.encode(x[:, :3])).state.flat(program.network)
    fmt = program.network.layer("gru0").frac
    np.save(tmp_path / "s.npy", state * 2.0**-fmt)
    np.save(tmp_path / "x.npy", x[:, 3:])
    assert cli("emulate", tiny / "program", tmp_path / "x.npy", "--state", tmp_path / "s.npy",
               "-o", tmp_path / "y.npy").code == 0  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), whole[:, 3:])


def test_states_that_are_refused(cli, tiny, tmp_path):
    np.save(tmp_path / "long.npy", np.zeros(5))
    np.save(tmp_path / "nan.npy", np.full(4, np.inf))
    np.savez(tmp_path / "s.npz", h=np.zeros(4))
    (tmp_path / "text.npy").write_text("h")
    for name, word in (
        ("long.npy", "(4,) or (5, 4)"),
        ("nan.npy", "finite"),
        ("s.npz", "s.npz"),
        ("text.npy", "text.npy"),
        ("absent.npy", "absent.npy"),
    ):
        done = cli("emulate", tiny / "program", tiny / "x.npz", "--state", tmp_path / name)
        assert_refused(done, 1, word)


def test_verilog(cli, tiny, tmp_path):
    got = cli("verilog", tiny / "program", "-o", tmp_path / "v", "--json").json
    assert sorted(got["files"]) == sorted(p.name for p in (tmp_path / "v").iterdir())
    assert "module gatewright_core" in (tmp_path / "v" / "core.v").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = cli("verilog", tiny / "program", "-o", tmp_path / "mine")
    assert_refused(done, 1, "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_simulate_in_verilator(cli, tiny, tmp_path):
    done = cli("simulate", tiny / "program", tiny / "x.npz", "-o", tmp_path / "y.npy", "--json")
    assert done.code == 0, done.err
    got = done.json
    assert got["bit_exact"] is True
    assert got["simulator"] == "verilator"
    assert got["steps"] == 19
    low, high = got["cycles_per_step"]
    assert low == high == got["cycles_predicted"]
    assert cli("emulate", tiny / "program", tiny / "x.npz", "-o", tmp_path / "g.npy").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.load(tmp_path / "g.npy"))


def test_simulate_in_amaranth_with_pauses_and_limit(cli, tiny):
    done = cli("simulate", tiny / "program", tiny / "x.npz", "--simulator", "amaranth",
               "--stall", 0.3, "--seed", 5, "--limit", 2)  # fmt: skip
    assert done.code == 0, done.err
    assert "9 steps in amaranth" in done.out


@pytest.mark.full
def test_simulate_writes_a_waveform(cli, tiny, tmp_path):
    wave = tmp_path / "core.vcd"
    done = cli("simulate", tiny / "program", tiny / "x.npz", "--wave", wave, "--limit", 1)
    assert done.code == 0, done.err
    assert wave.stat().st_size > 1000


def test_simulate_reports_what_differs(cli, tiny, monkeypatch):
    """Break the golden model: the simulation must not agree with it."""
    real = run

    def wrong(network, x, state=None, *, trace=False):
        result = real(network, x, state, trace=trace)
        result.outputs[0, 1, 1] += 1
        return result

    monkeypatch.setattr("gatewright.compiler.golden.run", wrong)
    done = cli("simulate", tiny / "program", tiny / "x.npz", "--simulator", "amaranth",
               "--limit", 1, "--json")  # fmt: skip
    assert done.code == 2
    assert done.json["bit_exact"] is False
    assert done.json["exit_code"] == 2
    for word in ("step 1", "linear0[1]", "expected", "got"):
        assert word in done.json["mismatch"]
        assert word in done.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--stall", 1], "stall"),
        (["--stall", -0.5], "stall"),
        (["--limit", -1], "--limit"),
        (["--seed", -1], "--seed"),
        (["--wave", "no/such/wave.vcd"], "make it first"),
    ],
)
def test_simulate_refuses(cli, tiny, arguments, word):
    assert_refused(cli("simulate", tiny / "program", tiny / "x.npz", *arguments), 1, word)


def test_simulate_offers_every_simulator():
    assert evaluate.SIMULATORS == SIMULATORS


def test_a_model_in_place_of_a_program_is_told_apart(cli, tiny):
    done = cli("emulate", str(tiny / "model.safetensors"), str(tiny / "x.npz"))
    assert done.code == 1
    assert "is a file, and a program is a folder" in done.err


def test_labels_of_text_are_said(cli, tiny, tmp_path):
    x = np.load(tiny / "x.npz")["x"]
    names = np.array(["b", "a"] * len(x))[: len(x)]
    np.savez(tmp_path / "text.npz", x=x, y=names)
    np.savez(tmp_path / "numbers.npz", x=x, y=(names == "b").astype(int))
    text = cli("emulate", tiny / "program", tmp_path / "text.npz", "--json")
    assert "the labels in text.npz are text" in text.err
    assert "0 is 'a', 1 is 'b'" in text.err
    numbers = cli("emulate", tiny / "program", tmp_path / "numbers.npz", "--json")
    assert text.json["accuracy"] == numbers.json["accuracy"]


def test_labels_that_no_output_stands_for_are_refused(cli, tiny, tmp_path):
    x = np.load(tiny / "x.npz")["x"]
    np.savez(tmp_path / "x.npz", x=x, y=np.full(len(x), 7))
    assert_refused(
        cli("emulate", tiny / "program", tmp_path / "x.npz"),
        1,
        "label 0 is 7; the model has 2 outputs",
    )


def test_what_each_class_was_taken_for_is_shown(cli, tiny, tmp_path):
    program = Program.load(tiny / "program")
    x = np.load(tiny / "x.npz")["x"]
    told = program.run(x)[:, -1].argmax(axis=1)
    labels = np.where(np.arange(len(x)) == 0, 1 - told, told)  # one is wrong
    np.savez(tmp_path / "x.npz", x=x, y=np.where(labels == 0, "left", "right"))
    found = cli("emulate", tiny / "program", tmp_path / "x.npz", "--json").json["classes"]
    counts = np.array(found["confusion"])
    assert found["names"] == ["left", "right"] and counts.sum() == len(x)
    assert counts[labels[0], told[0]] == 1 and np.trace(counts) == len(x) - 1
    said = cli("emulate", tiny / "program", tmp_path / "x.npz").out
    assert (
        "as left  as right" in said
        and f"accuracy at the last step: {100 * (1 - 1 / len(x)):.1f} %" in said
    )


def test_without_labels_the_first_outputs_are_shown(cli, tiny, tmp_path):
    x = np.load(tiny / "x.npz")["x"][:, :2]
    np.save(tmp_path / "x.npy", x)
    said = cli("emulate", tiny / "program", tmp_path / "x.npy").out
    assert "first outputs, 2 a step:" in said and "step 2" not in said
    wanted = Program.load(tiny / "program").run(x)[0]
    for t in range(2):
        (line,) = (line for line in said.splitlines() if f"step {t}:" in line)
        assert np.allclose([float(word) for word in line.split()[2:]], wanted[t], atol=1e-5)


@pytest.mark.parametrize("texts", [["same"], ["a", "b", "c"]])
def test_texts_that_do_not_name_every_output_are_refused(cli, tiny, tmp_path, texts):
    x = np.load(tiny / "x.npz")["x"]
    np.savez(tmp_path / "x.npz", x=x, y=np.array(texts * len(x))[: len(x)])
    message = f"the labels are {len(texts)} texts ('{texts[0]}'"
    for words in (["emulate", tiny / "program", tmp_path / "x.npz"],
                  ["report", tiny / "program", "--data", tmp_path / "x.npz"]):  # fmt: skip
        assert_refused(cli(*words), 1, message)
