"""Building the compiled form: once, whole or not at all, and never needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright.compiler.compiled import library as module
from gatewright.compiler.files.cache import clear, entries

fresh = module.library.__wrapped__


def compiler(folder: Path, script: str) -> None:
    """Put a program named g++ into a folder."""
    path = folder / "g++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(folder))
    return folder


def test_without_a_compiler_it_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    made = fresh()
    assert (made.run, made.reason) == (None, "no g++ on the path")


def test_a_compiler_that_fails_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, "exit 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    made = fresh()
    assert made.run is None and "exit status 3" in made.reason
    assert not entries()


def test_a_file_that_is_no_library_is_reported(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, 'while [ "$1" != -o ]; do shift; done; echo no > "$2"')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    made = fresh()
    assert made.run is None and "g++ did not make the library" in made.reason


def test_a_cache_that_cannot_be_made_is_reported(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder should be")
    made = fresh()
    assert made.run is None and "g++ did not make the library" in made.reason


@pytest.mark.skipif(module.library().run is None, reason=module.library().reason)
def test_it_is_built_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLAGS", ("-O0", *(f for f in module.FLAGS if f != "-O3")))
    first = fresh()
    assert first.run is not None
    (entry,) = entries()
    path = entry.path / module.NAME
    assert first.reason == str(path)
    before = path.stat().st_mtime_ns
    assert fresh().reason == str(path) and path.stat().st_mtime_ns == before
    monkeypatch.setattr(module, "FLAGS", ("-DOTHER", *module.FLAGS))
    assert fresh().reason != str(path)


@pytest.mark.skipif(module.library().run is None, reason=module.library().reason)
def test_the_cache_that_doctor_clears_holds_it(cache: Path) -> None:
    assert fresh().run is not None and len(entries()) == 1
    assert clear() > 0
    assert not list(cache.iterdir())


def test_commands_that_do_not_evaluate_do_not_build(cache: Path) -> None:
    code = "import gatewright.compiler.golden"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not cache.exists()
