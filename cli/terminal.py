"""Output on a terminal: tables that fit its width, colours, a bar with the time that is left.

Only loaded where a stream is a terminal that can do it; all other output is the plain text.
"""

from __future__ import annotations

import re
from typing import IO

from rich.console import Console as Screen
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .tables import Aligned

__all__ = ["Bar", "print_result"]

GAP = 2
"""Room between columns."""

STYLES = (
    (r"^(.+)\n(?=-{2}[- ]*$)", "bold"),  # head of a table
    (r"^-{2}[- ]*$", "dim"),
    (r"\b(PASS|bit-exact)\b|\bmet(?=:)", "green"),
    (r"\b(FAIL|MISSED)\b", "bold red"),
    (r"^(warning|error):", "yellow"),
    (r"^written:", "cyan"),
)
"""Patterns and what they look like; the text stays the same."""


def styled(text: str) -> Text:
    """Return a text with its colours."""
    made = Text(text)
    for pattern, style in STYLES:
        for found in re.finditer(pattern, text, re.MULTILINE):
            made.stylize(style, *found.span())
    return made


def print_result(out: IO[str], text: str) -> None:
    """Print a part of a result; cells of a table are folded between words if it is too wide."""
    screen = Screen(file=out, highlight=False)
    folded = _folded(text, screen.width) if isinstance(text, Aligned) and text else None
    screen.print(folded or styled(text), soft_wrap=folded is None)


def _folded(text: Aligned, width: int) -> Table | None:
    """Return a table that is as wide as the screen; None if it fits, or no folding would do."""
    lines = [text.head, *text.rows] if text.head else text.rows
    columns = list(zip(*lines, strict=True))
    longest = [max(map(len, cells)) for cells in columns]
    words = [
        max(len(word) for cell in cells for word in (cell.split() or [""])) for cells in columns
    ]
    room = width - GAP * (len(columns) - 1)
    if sum(longest) <= room or sum(words) > room:
        return None
    made = Table(box=None, show_header=bool(text.head), pad_edge=False, padding=(0, GAP, 0, 0))
    for k, least in enumerate(words):
        made.add_column(
            Text(text.head[k] if text.head else ""), min_width=least,
            justify="right" if text.right[k] else "left",
        )  # fmt: skip
    for row in text.rows:
        made.add_row(*map(styled, row))
    return made


class Bar:
    """Progress of a task on standard error: a bar, its share and the time that is left."""

    def __init__(self, stream: IO[str]) -> None:
        screen = Screen(file=stream, highlight=False)
        self.progress = Progress(
            BarColumn(30), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"), console=screen, transient=True,
            refresh_per_second=4,
        )  # fmt: skip
        self.task: TaskID | None = None

    def show(self, done: float, text: str) -> None:
        """Move the bar; start it if it is not there."""
        if self.task is None:
            self.progress.start()
            self.task = self.progress.add_task("", total=1.0)
        self.progress.update(self.task, completed=min(done, 1.0), description=Text(text).markup)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(styled(text), soft_wrap=True)

    def end(self) -> None:
        """Take the bar away."""
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None
