"""Completion: the script is asked as the shell asks it."""

import shutil
import subprocess

import pytest
from support.command_line import assert_refused


def completed(script: str, words: list[str], folder) -> set[str]:
    """What bash offers for the last word."""
    code = f"{script}\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n_shtab_gatewright\n"
    done = subprocess.run(
        ["bash", "-c", code + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        cwd=folder, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_verbs_options_boards_and_files(cli, tmp_path):
    script = cli("completion", "bash").out
    (tmp_path / "model.pt").touch()
    for words, wanted in (
        (["gatewright", "qu"], {"quantize"}),
        (["gatewright", "build", "--lo"], {"--loadable"}),
        (["gatewright", "build", "program", "--board", "iceb"], {"icebreaker"}),
        (["gatewright", "inspect", "mod"], {"model.pt"}),
    ):
        assert completed(script, words, tmp_path) == wanted, words


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_get_every_verb(cli, shell):
    script = cli("completion", shell, "--json").json["script"]
    assert all(verb in script for verb in ("quantize", "simulate", "completion"))


def test_an_unknown_shell_is_refused(cli):
    assert_refused(cli("completion", "ksh"), 1, "invalid choice: 'ksh'")
