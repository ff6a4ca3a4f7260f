"""The pages of the site: copies of the Markdown, with navigation and generated references.

The navigation is ``docs/README.md``: its headings are the sections, its list items the pages.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import reference

__all__ = ["navigation", "page_of", "stage"]

ROOT = Path(__file__).parents[2]
START = "docs/README.md"
INDEX_ONLY = "docs/decisions/README.md"  # leads to docs/decisions.md, for readers of the repository
GENERATED = {"<!-- generated: cli -->": reference.cli, "<!-- generated: api -->": reference.api}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.S | re.M)
IMAGES = (".svg", ".png")


def _target(page: str, link: str) -> str:
    """Return the path in the repository that a link of a page leads to."""
    return os.path.relpath((ROOT / page).parent / link, ROOT) if link else page


def navigation() -> dict[str, list[str]]:
    """Return the pages of each section of the navigation, as paths in the repository."""
    sections: dict[str, list[str]] = {}
    for line in (ROOT / START).read_text().splitlines():
        if line.startswith("## "):
            pages = sections.setdefault(line[3:], [])
        elif line.startswith("- ") and (found := LINK.search(line)):
            pages.append(_target(START, found[3].partition("#")[0]))
    return sections


def records() -> list[str]:
    """Return the decision records, which the page of decisions leads to."""
    files = (ROOT / "docs" / "decisions").glob("[0-9]*.md")
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


def page_of(path: str) -> str:
    """Return the name of a Markdown file on the site."""
    parts = path.removeprefix("docs/").split("/")
    if path == START or (len(parts) > 1 and parts[-1] == "README.md"):
        parts[-1] = "index.md"
    return "/".join(parts).lower()


def _toctree(pages: list[str], caption: str = "") -> str:
    names = "\n".join(page.removesuffix(".md") for page in pages)
    title = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{title}\n{names}\n```\n"


def _on_the_site(text: str, page: str, pages: set[str]) -> str:
    """Lead links to pages of the site; a link to anything else of the repository is its text."""

    def lead(match: re.Match[str]) -> str:
        picture, words, link = match.groups()
        if re.match(r"https?:|mailto:|#", link):
            return match[0]
        path, _, anchor = link.partition("#")
        target = _target(page, path)
        if (ROOT / target).is_dir():
            target += "/README.md"
        if picture:
            name = f"images/{Path(target).name}"
        elif target in pages:
            name = page_of(target)
        else:
            return words
        start = Path(page_of(page)).parent.as_posix()
        return f"{picture}[{words}]({os.path.relpath(name, start)}{'#' * bool(anchor)}{anchor})"

    parts = CODE.split(text)
    joined = "\0".join(parts[1::2])
    held = joined.split("\0") if joined else []
    linked = LINK.sub(lead, "\1".join(parts[0::2]))  # code stays as it is, in links too
    return re.sub("\1", lambda _: held.pop(0), linked)


def stage(folder: Path) -> None:
    """Write the source of the site into an empty folder."""
    sections = navigation()
    pages = {START, *records(), *(page for listed in sections.values() for page in listed)}
    for page in sorted(pages):
        text = (ROOT / page).read_text()
        for mark, write in GENERATED.items():
            if mark in text:
                text = text.replace(mark, write())
        text = _on_the_site(text, page, pages)
        if page == START:
            for caption, listed in sections.items():
                text += _toctree([page_of(name) for name in listed], caption)
        if page == "docs/decisions.md":
            text += _toctree([page_of(name) for name in records()])
        path = folder / page_of(page)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copytree(ROOT / "docs" / "images", folder / "images")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    stage(target)
