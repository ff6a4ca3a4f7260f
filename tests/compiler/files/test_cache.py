"""The cache: one build for all processes, whole entries, nothing of others removed."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from gatewright.cli import environment
from gatewright.cli.main import main
from gatewright.compiler.files import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(path))
    return path


def put(target: Path, key: str, text: str = "built") -> bool:
    """Obtain an entry of one file; return whether it came from the cache."""

    def build() -> list[str]:
        (target / "simulator").write_text(text)
        return ["simulator"]

    target.mkdir(exist_ok=True)
    return cache.obtain(key, target, build)


def test_the_second_of_two_equal_builds_is_a_copy(tmp_path: Path) -> None:
    key = cache.digest("one")
    assert not put(tmp_path / "a", key, "first")
    assert put(tmp_path / "b", key, "second")
    assert (tmp_path / "b" / "simulator").read_text() == "first"
    assert not put(tmp_path / "c", cache.digest("two"), "second")


def test_digests_tell_parts_apart() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc")
    assert cache.digest("a") == cache.digest(b"a")


def test_a_damaged_entry_is_built_again(tmp_path: Path, folder: Path) -> None:
    key = cache.digest("one")
    put(tmp_path / "a", key)
    for damage in ("cut", "", '{"files": {"simulator": "x"}}'):
        (folder / key / "simulator").write_text("cut")
        if damage != "cut":
            (folder / key / cache.MARK).write_text(damage)
        assert not put(tmp_path / "b", key), damage
        assert put(tmp_path / "b", key)
        assert (tmp_path / "b" / "simulator").read_text() == "built"


def test_a_failed_build_leaves_no_entry(tmp_path: Path, folder: Path) -> None:
    def fail() -> list[str]:
        raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match="no compiler"):
        cache.obtain(cache.digest("one"), tmp_path, fail)
    assert not cache.entries()
    assert not put(tmp_path / "a", cache.digest("one"))


def race(key: str, target: str, counter: str) -> None:
    def build() -> list[str]:
        with Path(counter).open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        (Path(target) / "simulator").write_text("built")
        return ["simulator"]

    cache.obtain(key, Path(target), build)


def test_processes_at_once_build_one_thing_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    targets = [tmp_path / str(k) for k in range(4)]
    processes = []
    for target in targets:
        target.mkdir()
        arguments = (cache.digest("one"), str(target), str(tmp_path / "builds"))
        processes.append(context.Process(target=race, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len((tmp_path / "builds").read_text().splitlines()) == 1
    assert all((target / "simulator").read_text() == "built" for target in targets)


def test_the_oldest_entries_go_when_the_cache_is_full(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [cache.digest(str(k)) for k in range(4)]
    for k, key in enumerate(keys[:3]):
        put(tmp_path / "a", key, 5000 * "x")
        os.utime(folder / key / cache.MARK, (k, k))
    assert put(tmp_path / "a", keys[0])  # a use makes it the newest
    monkeypatch.setattr(cache, "LIMIT", 12_000)
    put(tmp_path / "a", keys[3], 5000 * "x")
    assert {entry.path.name for entry in cache.entries()} == {keys[0], keys[3]}


def test_only_what_was_written_here_is_removed(tmp_path: Path, folder: Path) -> None:
    put(tmp_path / "a", cache.digest("one"))
    (folder / "notes.txt").write_text("mine")
    other = folder / cache.digest("other")  # a name like ours without our mark
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    (folder / cache.digest("link")).symlink_to(folder / cache.digest("one"))
    assert [entry.path.name for entry in cache.entries()] == [cache.digest("one")]
    assert cache.clear() > 0
    assert not cache.entries()
    assert (other / "thesis.tex").exists() and (folder / "notes.txt").exists()
    assert (folder / cache.digest("link")).is_symlink()


def test_a_cache_that_cannot_be_written_is_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert not put(tmp_path / "a", cache.digest("one"))
    assert (tmp_path / "a" / "simulator").read_text() == "built"
    assert not cache.entries() and not cache.clear()


def test_the_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("HOME", "/anywhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/quick")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache.cache_folder() == Path("/var/quick/gatewright")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path("/anywhere/.cache/gatewright")
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache.cache_folder() == Path("/anywhere/Library/Caches/gatewright")


def test_doctor_shows_and_clears_the_cache(
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "_start", lambda command: ("1.2", ""))
    put(tmp_path / "a", cache.digest("one"), 3000 * "x")
    main(["doctor", "--json"])
    there = json.loads(capsys.readouterr().out)["cache"]
    assert there["path"] == str(folder) and there["entries"] == 1
    assert 3000 < there["bytes"] < there["limit_bytes"]
    main(["doctor"])
    assert f"{folder}, 1 entries" in capsys.readouterr().out
    main(["doctor", "--clear-cache", "--json"])
    cleared = json.loads(capsys.readouterr().out)["cache"]
    assert cleared["entries"] == 0 and cleared["freed_bytes"] == there["bytes"]
    assert not put(tmp_path / "b", cache.digest("one"))
