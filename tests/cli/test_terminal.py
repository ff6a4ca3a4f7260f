"""Colours, folded tables and the bar: on a terminal only, and the text stays the same."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys

import pytest
from gatewright.cli.common import Console, table
from gatewright.compiler.errors import CheckError

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ROWS = [
    ("tang-nano-9k", 16, "needs 27 multipliers, the board has 20: try fewer lanes"),
    ("x", 7, ""),
]
HEAD = ("board", "lanes", "why it does not fit")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


def said(out: io.StringIO, text: str) -> str:
    Console(out, False).say(text)
    return out.getvalue()


@pytest.mark.parametrize(
    "text",
    [table(ROWS, HEAD), table(ROWS), table([]), "", "PASS  [bold]all[/] 1,000\nwarning: [/x] \\[y]",
     "a" * 300, table([("PASS", "cycles")]) + "\n\nwritten: y.npy"],
)  # fmt: skip
def test_the_text_is_the_plain_one(text: str) -> None:
    coloured = said(Terminal(), text)
    assert ESCAPE.sub("", coloured) == text + "\n" == said(io.StringIO(), text)
    assert (coloured != text + "\n") == bool(re.search("PASS|warning|written|----", text))


@pytest.mark.parametrize("width", [48, 60, 75])
def test_a_wide_table_is_folded_between_words(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = ESCAPE.sub("", said(Terminal(), table(ROWS, HEAD))).splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for cell in (*HEAD, *(str(c) for row in ROWS for c in row)):
        for word in cell.split():
            assert word in words, word
    start = lines[0].index("why")
    assert all(not line[:start].strip() or line[:5].strip() for line in lines)


def test_a_table_that_no_folding_helps_is_left_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = table(ROWS, HEAD)
    assert ESCAPE.sub("", said(Terminal(), text)) == text + "\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colour_gets_the_plain_text(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    text = table(ROWS, HEAD)
    assert said(Terminal(), text) == text + "\n"
    Console(io.StringIO(), False).progress(0.5, "half")
    assert sys.stderr.getvalue() == "   50 %  half\n"


def test_bar_tells_the_time_that_is_left_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    console = Console(io.StringIO(), True)
    for done in (0.2, 0.4, 0.6):
        console._shown = 0.0
        console.progress(done, f"[at] {done}")
    console.note("a line above it")
    console.result({"n": 1})
    shown = ESCAPE.sub("", screen.getvalue())
    assert "60 %" in shown and "[at] 0.6" in shown and "a line above it\n" in shown
    assert re.search(r"60 % (\d+:\d\d|-+:-+)", shown)
    assert screen.getvalue().rstrip("\r\n").endswith("\x1b[2K")  # wiped
    assert console.out.getvalue() == '{\n "n": 1\n}\n'


def test_bar_is_gone_before_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatewright.cli import main

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    console = Console(io.StringIO(), False)
    console.progress(0.5, "half")
    assert main._failed(CheckError("it differs"), console, False) == 2
    assert screen.getvalue().endswith("error: it differs\n")
    assert "\x1b[2K" in screen.getvalue().split("error:")[0]


@pytest.mark.parametrize("plain", [False, True])
def test_a_command_on_a_terminal(plain: bool, tmp_path) -> None:
    leader, follower = pty.openpty()
    env = {**os.environ, **({"NO_COLOR": "1"} if plain else {})}
    done = subprocess.run(
        [sys.executable, "-m", "gatewright", "boards"], stdout=follower, stderr=follower, env=env,
        check=True, timeout=100,
    )  # fmt: skip
    os.close(follower)
    text = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert done.returncode == 0 and "icebreaker" in text
    assert bool(ESCAPE.search(text)) is not plain
