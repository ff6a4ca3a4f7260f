"""Docstrings read as the house says: a noun phrase or an imperative first, no question word."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "cli", "compiler/analysis", "compiler/files", "compiler/ir", "compiler/layout",
    "compiler/numerics", "compiler/program", "compiler/quantizer", "compiler/report",
    "compiler/training", "compiler/tuning", "gatewright",
)  # fmt: skip
QUESTIONS = {"What", "Whatever", "Whether", "How", "Where", "Whoever"}


def first_words(path: Path) -> dict[str, str]:
    """Return the first word of every docstring, by line and name."""
    tree = ast.parse(path.read_text())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = {
        f"{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}": ast.get_docstring(node) or "-"
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    }
    return {name: text.split(maxsplit=1)[0].rstrip(",:") for name, text in texts.items()}


def test_the_first_word_is_seen(tmp_path):
    path = tmp_path / "one.py"
    path.write_text('"""What it is."""\n\n\ndef f():\n    """How, or not."""\n')
    assert first_words(path) == {"1 ": "What", "4 f": "How"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_a_question_word(folder):
    found = [
        f"{path.relative_to(ROOT)}:{place}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for place, word in first_words(path).items()
        if word in QUESTIONS
    ]
    assert found == []
