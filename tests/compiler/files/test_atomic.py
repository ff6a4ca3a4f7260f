"""Files and folders appear whole or not at all, whatever fails and when."""

import errno
import os
from pathlib import Path

import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.files.atomic import atomic_folder, atomic_write


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(file):
    file.write(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "y.npy"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="No space left on device; nothing was written"):
        atomic_write(path, full_disk)
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["y.npy"]


def test_refused_rename_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        atomic_write(tmp_path / "y.npy", lambda file: file.write(b"new"))
    assert left_in(tmp_path) == []


def test_interrupted_write_leaves_nothing(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "y.npy", interrupted)
    assert left_in(tmp_path) == []


def test_link_is_followed(tmp_path):
    (tmp_path / "real.npy").touch()
    (tmp_path / "y.npy").symlink_to("real.npy")
    atomic_write(tmp_path / "y.npy", lambda file: file.write(b"new"))
    assert (tmp_path / "y.npy").is_symlink()
    assert (tmp_path / "real.npy").read_bytes() == b"new"


def test_folder_appears_whole(tmp_path):
    target = tmp_path / "above" / "program"
    with atomic_folder(target) as folder:
        (folder / "program.json").write_text("1")
        assert folder.parent == target.parent
        assert not target.exists()
    assert left_in(target) == ["program.json"]
    with atomic_folder(target) as folder:
        (folder / "program.json").write_text("2")
        (folder / "inner").mkdir()
        assert (target / "program.json").read_text() == "1"
    assert left_in(target) == ["inner", "program.json"]
    assert left_in(target.parent) == ["program"]
    target = tmp_path / "empty"
    target.mkdir()
    with atomic_folder(target, marker="core.v") as folder:
        (folder / "core.v").touch()
    assert left_in(target) == ["core.v"]


def test_foreign_folder_is_not_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"has files but no core\.v, so it is not replaced"):
        with atomic_folder(tmp_path, marker="core.v"):
            pytest.fail("the block must not run")
    with pytest.raises(InputError, match="is not a folder"):
        with atomic_folder(tmp_path / "notes.txt"):
            pytest.fail("the block must not run")
    assert left_in(tmp_path) == ["notes.txt"]
    target = tmp_path / "late"
    with pytest.raises(InputError, match="not replaced"), atomic_folder(target):
        target.mkdir()  # someone else takes the name while the block runs
        (target / "theirs").touch()
    assert left_in(target) == ["theirs"]
    assert left_in(tmp_path) == ["late", "notes.txt"]


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), InputError, "No space left on device"),
        (InputError("refused"), InputError, "refused"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_failed_folder_leaves_the_old_one(tmp_path, error, expected, message):
    target = tmp_path / "program"
    target.mkdir()
    (target / "program.json").write_text("old")
    with pytest.raises(expected, match=message), atomic_folder(target) as folder:
        (folder / "program.json").write_text("half")
        raise error
    assert (target / "program.json").read_text() == "old"
    assert left_in(tmp_path) == ["program"]


@pytest.mark.parametrize("failing", [1, 2], ids=["old aside", "new in place"])
def test_refused_folder_rename_restores_the_old_one(tmp_path, monkeypatch, failing):
    target = tmp_path / "program"
    target.mkdir()
    (target / "program.json").write_text("old")
    rename, calls = Path.rename, []

    def refuse(self, other):
        calls.append(other)
        if len(calls) == failing:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match="Permission denied"), atomic_folder(target) as folder:
        (folder / "program.json").write_text("new")
    assert (target / "program.json").read_text() == "old"
    assert left_in(tmp_path) == ["program"]
