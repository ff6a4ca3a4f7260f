"""Tables as text that is aligned, and that still knows its cells."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Aligned", "table"]


class Aligned(str):
    """A table as text, which still knows its cells, for terminals that are too narrow for it."""

    rows: list[list[str]]
    head: list[str]
    right: list[bool]


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Align cells in columns; numbers to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    lines = [list(head), *body] if head else body
    if not lines:
        return Aligned()
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    right = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(widths))
    ]
    aligns = [str.rjust if r else str.ljust for r in right]
    text = [
        "  ".join(put(cell, w) for cell, w, put in zip(line, widths, aligns, strict=True))
        for line in lines
    ]
    if head:
        text.insert(1, "  ".join("-" * w for w in widths))
    made = Aligned("\n".join(line.rstrip() for line in text))
    made.rows, made.head, made.right = body, list(head), right
    return made
