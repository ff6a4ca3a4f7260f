"""The parser, exit codes, and what goes wrong outside."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright.cli.main import with_flags
from support.command_line import assert_refused, process, raising

VERBS = "demo train inspect quantize emulate verilog simulate boards build flash run report supported doctor".split()


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
        "print([m for m in ('torch', 'amaranth', 'cocotb', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


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


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("quantise",), "did you mean 'quantize'? see: gatewright --help"),
        (("quantize", "m.pt", "--calibraton", "x.npz"), "did you mean '--calibration'?"),
        (("simulate", "p", "x.npz", "--simulator", "verilater"), "did you mean 'verilator'?"),
        (("build", "p", "--board", "icebreker", "-o", "b"), "did you mean 'icebreaker'?"),
        (("quantize", "m.pt", "--xyz", "1"), "--xyz 1; see: "),
    ],
)
def test_a_typo_is_answered_with_the_closest_word(cli, arguments, hint):
    assert_refused(cli(*arguments), 1, hint)


def test_a_typo_in_a_layer_is_answered_with_the_closest_word(cli, tiny, tmp_path):
    done = cli(
        "quantize", tiny / "model.safetensors", "-o", tmp_path / "p", "--weight-bits", "gru1=4"
    )
    assert_refused(done, 1, "'gru1', which the model does not have; did you mean 'gru0'?")
