"""A report as one self-contained page: no file, script or font from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files

from .markup import Markup, el, join
from .sections import Section, sections
from .subject import Subject
from .verdicts import cards, comparison

__all__ = ["to_html"]


def to_html(subjects: Sequence[Subject], command: str = "") -> str:
    """Return a page about a program or a build, or about several side by side.

    The same programs and data give the same bytes.

    Parameters
    ----------
    subjects : sequence of Subject
    command : str
        What makes the page again, for its last line.
    """
    alone = len(subjects) == 1
    title = subjects[0].name if alone else ", ".join(s.name for s in subjects)
    body = [_head(title, subjects), cards(subjects[0]) if alone else comparison(subjects)]
    body += [_section(section, subjects) for section in sections(subjects)]
    body.append(_foot(command))
    style = Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8"))
    head = join(
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"{title}, gatewright report"),
        el("style", style),
    )
    page = join(el("head", head), "\n", el("body", el("main", *_lines(body))))
    return f"<!DOCTYPE html>\n{el('html', page, lang='en')}\n"


def _lines(parts: Sequence[Markup]) -> Iterator[str]:
    for part in parts:
        yield part
        yield "\n"


def _head(title: str, subjects: Sequence[Subject]) -> Markup:
    lines = (
        el("p", f"{s.name}: " * (len(subjects) > 1) + f"{s.network} ", el("code", s.program.digest[:16]))
        for s in subjects
    )  # fmt: skip
    return el("header", el("h1", title), *lines)


def _section(section: Section, subjects: Sequence[Subject]) -> Markup:
    """Return one section: a part of each program, under its name where there are several."""
    several = len(subjects) > 1
    parts = [
        el("div", el("h3", subject.name) if several else None, part, class_="part")
        for subject, part in zip(subjects, section.parts, strict=True) if part is not None
    ]  # fmt: skip
    return el(
        "section", el("h2", section.heading),
        el("p", section.note, class_="note") if section.note else None,
        el("div", *parts, class_="parts" + " side" * (several and not section.stacked)),
    )  # fmt: skip


def _foot(command: str) -> Markup:
    made = (
        el("p", "Made by ", el("code", command), " (names of files without folders)")
        if command
        else None
    )
    return el("footer", made, el("p", f"gatewright {version('gatewright')}"))
