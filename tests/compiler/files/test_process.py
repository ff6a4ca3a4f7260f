"""Tools end with us, and with all that they started; temporary folders go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.files import temporary
from gatewright.compiler.files.process import in_group, run_in_group
from gatewright.compiler.files.temporary import is_safe, temporary_folder

SHELL = "sleep 60 & sleep 60 & echo $!; wait"


def gone(group: int) -> bool:
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("command", [SHELL, f"trap '' TERM; {SHELL}"], ids=["polite", "deaf"])
def test_what_a_tool_started_ends_with_it(command, monkeypatch):
    monkeypatch.setattr("gatewright.compiler.files.process.PATIENCE", 0.2)
    with pytest.raises(KeyboardInterrupt):
        with in_group(["sh", "-c", command], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline().strip().isdigit()
            group = process.pid
            raise KeyboardInterrupt
    process.stdout.close()
    assert gone(group)


def test_a_tool_that_ends_gives_code_and_output():
    done = run_in_group(["sh", "-c", "echo a; exit 3"], stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (3, "a\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run_in_group(["sleep", "60"], timeout=0.1)
    done = run_in_group(["cat"], stdin_bytes=b"what it reads", stdout=subprocess.PIPE)
    assert done.stdout == b"what it reads"


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_the_command_and_its_tools(name, code):
    """The command's own work is replaced by a tool that would run for a minute."""
    text = (
        "import sys, subprocess, gatewright.__main__ as command, gatewright.cli.main as cli\n"
        "from gatewright.compiler.files.temporary import temporary_folder\n"
        "from gatewright.compiler.files.process import in_group\n"
        "def work():\n"
        f"    with temporary_folder() as folder, in_group(['sh', '-c', {SHELL!r}],\n"
        "            stdout=subprocess.PIPE) as tool:\n"
        "        tool.stdout.readline()\n"
        "        print(tool.pid, folder, flush=True)\n"
        "        tool.wait()\n"
        "cli.main = work\n"
        "sys.exit(command.main())\n"
    )
    # A run under nohup ignores SIGHUP, one in the background of a script SIGINT, and hands that on.
    heard = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heard + text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    group, folder = process.stdout.readline().split()
    assert Path(folder).is_dir()
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said == "error: interrupted\n"
    assert gone(int(group)) and not Path(folder).exists()


def test_temporary_folders_have_names_that_make_takes(tmp_path, monkeypatch):
    spaced = tmp_path / "with space"
    spaced.mkdir()
    monkeypatch.setattr(temporary.tempfile, "gettempdir", lambda: str(spaced))
    with temporary_folder() as folder:
        assert is_safe(folder) and " " not in str(folder)
        (folder / "file").touch()
    assert not folder.exists()
    monkeypatch.setattr(temporary.tempfile, "gettempdir", lambda: str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="set TMPDIR"), temporary_folder():
        pytest.fail("the block must not run")
