from __future__ import annotations

import errno
import json
import os
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from gatewright.cli import environment
from gatewright.cli.main import main, with_flags
from gatewright.compiler import Config, Program
from gatewright.compiler.frontends import registry as load
from gatewright.compiler.golden import run
from safetensors.numpy import save_file

VERBS = "demo train inspect quantize emulate verilog simulate boards build flash run report supported doctor".split()


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process; arguments of any type."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return Done(code, *capsys.readouterr())

    return call


def process(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gatewright.cli.main", *map(str, arguments)]
    return subprocess.run(command, text=True, timeout=120, check=False, **options)


def assert_refused(done: Done, code: int, *words: str) -> None:
    """One message on standard error, nothing on standard output."""
    assert done.code == code, done
    lines = [line for line in done.err.splitlines() if not line.startswith("warning:")]
    assert lines[0].startswith("error: "), done.err
    assert sum(line.startswith("error:") for line in lines) == 1
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    for word in words:
        assert word in done.err, (word, done.err)


# -- the parser ---------------------------------------------------------------


def test_help_lists_verbs_in_order_of_the_data(cli):
    done = cli()
    assert done.code == 0
    lines = [line.split()[0] for line in done.out.splitlines() if line.startswith("    ")]
    at = [lines.index(verb) for verb in VERBS]
    assert at == sorted(at)
    assert cli("--help").out == done.out


def test_every_verb_has_help_and_json(cli):
    for verb in VERBS:
        assert "--json" in cli(verb, "--help").out


def test_version(cli):
    assert cli("--version").out.startswith("gatewright 0.")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["quantise"], "'quantize'"),
        (["emulate"], "PROGRAM"),
        (["quantize", "m.pt", "-o", "p", "--lanes", "many"], "'many' is not a whole number"),
        (["quantize", "m.pt", "-o", "p", "--clock", "fast"], "'fast' is not a number"),
        (["inspect", "m.pt", "--colour"], "--colour"),
        (["simulate", "p", "x.npy", "--simulator", "questa"], "'verilator'"),
        (["inspect", "m.pt", "--jso"], "--jso"),
    ],
)
def test_wrong_arguments_are_input_errors(cli, arguments, word):
    assert_refused(cli(*arguments), 1, word, "--help")


def test_error_as_json(cli, tmp_path):
    done = cli("inspect", tmp_path / "absent.pt", "--json")
    assert done.code == 1
    assert done.json["exit_code"] == 1
    assert "absent.pt" in done.json["error"]
    assert json.loads(cli("inspect", "--json").out)["exit_code"] == 1


@pytest.mark.parametrize(
    ("library", "shown"),
    [
        ("quantize with threshold=0", "quantize with --threshold 0"),
        ("more spare= bits", "more --spare bits"),
        ("floats, by labels=; without", "floats, by --labels; without"),
        ("'threshold=0' and a.spare=1 stay", "'threshold=0' and a.spare=1 stay"),
    ],
)
def test_messages_name_the_options_of_the_command_line(library, shown):
    assert with_flags(library) == shown


def test_verbose_shows_the_traceback(cli, tmp_path):
    assert "Traceback" in cli("inspect", tmp_path / "absent.pt", "-v").err


def test_start_is_quick():
    code = (
        "import sys; from gatewright.cli.main import main; main(['--help']);"
        "print([m for m in ('torch', 'amaranth', 'cocotb', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- what goes wrong outside ----------------------------------------------------


def raising(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "memory"),
        (OSError(errno.ENOSPC, "No space left on device", "y.npy"), 1, "y.npy: No space"),
        (ModuleNotFoundError("no", name="torch"), 3, "torch is not installed: pip install"),
    ],
)
def test_exit_codes(cli, tiny, monkeypatch, error, code, word):
    monkeypatch.setattr("gatewright.compiler.golden.run", raising(error))
    assert_refused(cli("emulate", tiny / "program", tiny / "x.npz"), code, word)


def test_an_error_of_our_own_is_said_to_be_one(cli, tiny, monkeypatch):
    monkeypatch.setattr("gatewright.compiler.golden.run", raising(ZeroDivisionError("oops")))
    done = cli("emulate", tiny / "program", tiny / "x.npz")
    assert done.code == 2
    assert "internal error" in done.err
    assert "Traceback" not in done.err


def test_closed_pipe():
    read, write = os.pipe()
    os.close(read)
    try:
        done = process("supported", stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == "error: the output was closed before everything was written\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_full_disk_behind_standard_output():
    with open("/dev/full", "w") as full:
        done = process("supported", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


def test_full_disk_leaves_nothing(cli, tiny, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("gatewright.compiler.files.atomic.os.replace", raising(full))
    monkeypatch.setattr("pathlib.Path.rename", raising(full))
    (tmp_path / "out").mkdir()
    out = tmp_path / "out"
    model, program, x = tiny / "model.safetensors", tiny / "program", tiny / "x.npz"
    for arguments in (
        ("quantize", model, "-o", out / "p"),
        ("quantize", model, "-o", out / "p", "--write-config", out / "c.toml"),
        ("emulate", program, x, "-o", out / "y.npy"),
        ("verilog", program, "-o", out / "v"),
        ("report", program, "--html", out / "r.html"),
    ):
        assert_refused(cli(*arguments), 1, "No space left on device", "nothing was written")
        assert list(out.iterdir()) == []


def test_only_the_result_is_on_standard_output(tiny, tmp_path):
    """What libraries and the tools they call print must not spoil the JSON."""
    code = (
        "import os, sys; import gatewright.compiler.golden as g; old = g.run\n"
        "def run(*a, **k):\n"
        "    print('from Python'); os.system('echo from a tool'); return old(*a, **k)\n"
        "g.run = run\n"
        "from gatewright.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["emulate", tiny / "program", tiny / "x.npz", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == 19
    assert "from Python" in done.stderr
    assert "from a tool" in done.stderr


# -- inspect, quantize ----------------------------------------------------------


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
    assert done.err == ""
    got = done.json
    assert got["macs_per_step"] == 92
    assert got["lanes"] == 6
    assert 0 < got["utilization"] <= 1
    assert got["saturations"] == {"total": 0, "places": {}}
    assert 0 < got["error"]["mean"] <= got["error"]["max"] < 0.1
    program = Program.load(tmp_path / "p")
    assert program.digest == got["digest"]
    assert program.network.numbers.weight_bits == 6
    assert program.summary["cycles_per_step"] == got["cycles_per_step"]


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


# -- input that must be refused by every verb -------------------------------------


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
    save_file({"a.weight": np.full((2, 2), np.nan, np.float32)}, tmp_path / "nan.safetensors")
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


# -- emulate ----------------------------------------------------------------------


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


# -- verilog, simulate --------------------------------------------------------------


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


# -- supported, doctor ----------------------------------------------------------------


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
    assert sorted(e for row in got for e in row["endings"]) == sorted(READERS)


def test_doctor(cli):
    done = cli("doctor", "--json")
    assert done.code == 0, done.err
    assert done.json["ok"] is True
    assert done.json["found"]["verilator"]


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


# -- train, demo ------------------------------------------------------------------------


def test_train(cli, tmp_path):
    done = cli("train", "-o", tmp_path / "t", "--epochs", 1, "--json")
    assert done.code == 0, done.err
    assert 0 < done.json["test_accuracy"] < 1
    assert sorted(done.json["files"]) == sorted(p.name for p in (tmp_path / "t").iterdir())
    a, b = (load(tmp_path / "t" / f"model.{end}") for end in ("pt", "safetensors"))
    assert a.parameters == b.parameters == 4713
    with np.load(tmp_path / "t" / "test.npz") as test:
        assert test["x"].shape == (370, 29, 12)
        np.testing.assert_array_equal(a.run(test["x"][:2]), b.run(test["x"][:2]))


def test_demo_refuses(cli):
    assert_refused(cli("demo", "--utterances", 0), 1, "--utterances", "1 to 370")
    assert_refused(cli("train", "--epochs", 0), 1, "--epochs")


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
