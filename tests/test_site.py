"""The site of the documents: all pages are in it, and its references are those of the code."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
import staging

import gatewright as gw

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    staging.stage(folder)
    return folder


def test_every_page_of_docs_is_in_the_navigation_once() -> None:
    listed = [page for pages in staging.navigation().values() for page in pages]
    assert len(listed) == len(set(listed))
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - set(listed) == {staging.START, staging.INDEX_ONLY, *staging.records()}


def test_every_staged_page_is_in_a_table_of_contents(staged: Path) -> None:
    pages = {path.relative_to(staged).as_posix() for path in staged.rglob("*.md")}
    trees = [
        name
        for page in pages
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", (staged / page).read_text(), re.S)
        for name in tree.splitlines()
        if name and not name.startswith(":")
    ]
    assert sorted(f"{name}.md" for name in trees) == sorted(pages - {"index.md"})


def test_links_of_staged_pages_resolve_among_them(staged: Path) -> None:
    links = 0
    for path in staged.rglob("*.md"):
        for _, _, link in staging.LINK.findall(staging.CODE.sub("", path.read_text())):
            if not re.match(r"https?:|mailto:|#", link):
                assert (path.parent / link.partition("#")[0]).is_file(), f"{path.name}: {link}"
                links += 1
    assert links > 150


def test_a_link_is_led_to_its_page_and_code_is_left_alone() -> None:
    pages = {"docs/cells.md", "CONTRIBUTING.md", "docs/decisions/0001-a.md", "examples/README.md"}
    for page, text, expected in (
        ("docs/cells.md", "[a](../CONTRIBUTING.md#b)", "[a](contributing.md#b)"),
        ("docs/decisions/0001-a.md", "[a](../cells.md)", "[a](../cells.md)"),
        ("README.md", "![a](docs/images/flow.svg)", "![a](images/flow.svg)"),
        ("docs/cells.md", "[a](../examples)", "[a](examples/index.md)"),
        ("docs/cells.md", "[the `a`](../hw/vendor)", "the `a`"),
        ("docs/cells.md", "`x[0](../y)` [a](#b)", "`x[0](../y)` [a](#b)"),
    ):
        assert staging._on_the_site(text, page, pages) == expected


def test_the_reference_has_every_verb_and_option(staged: Path) -> None:
    page = (staged / "cli.md").read_text()
    shared, *sections = re.split(r"^## ", page, flags=re.M)[1:]
    titles = [section.splitlines()[0] for section in sections]
    assert titles == list(reference.verbs())
    for section, (verb, parser) in zip(sections, reference.verbs().items(), strict=True):
        for action in parser._actions:
            for name in action.option_strings:
                assert f"`{name}`" in section + shared, f"{verb} {name}"


def test_the_reference_has_every_public_name(staged: Path) -> None:
    entries = re.findall(r"^\.\. auto\w+:: (\S+)$", (staged / "api.md").read_text(), re.M)
    assert {f"gatewright.{name}" for name in gw.__all__ if name != "__version__"} <= set(entries)


def test_the_drawings_of_the_ports_are_those_of_the_core() -> None:
    ports = runpy.run_path(str(ROOT / "bench" / "ports.py"))
    for name, drawing in ports["drawings"]().items():
        assert (ROOT / "docs" / "images" / name).read_text() == drawing, "python bench/ports.py"
        assert f"](images/{name})" in (ROOT / "docs" / "ports.md").read_text()


def test_the_drawn_outputs_are_those_of_the_golden_model() -> None:
    ports = runpy.run_path(str(ROOT / "bench" / "ports.py"))
    program, rows = ports["program"](), ports["record"]()
    taken = np.array(rows["o.valid"]) & np.array(rows["o.ready"])
    outputs = program.evaluate(np.array([[[20, -7], [35, 11]]])).outputs
    assert np.array(rows["o.data"])[taken == 1].tolist() == outputs.ravel().tolist()


@pytest.mark.full
def test_the_site_builds_without_a_warning_and_needs_no_network(
    staged: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sphinx", reason="make test-full installs it, plain environments lack it")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c"]
    command += [str(ROOT / "docs" / "site"), str(staged), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        fetched = r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*'
        assert re.findall(fetched, page.read_text()) == [], page.name
    assert "<math" in (tmp_path / "cells.html").read_text()
