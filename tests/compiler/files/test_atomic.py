"""Files and folders appear whole or not at all, whatever fails and when."""

import errno
import json
import os
from pathlib import Path

import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.files.atomic import atomic_folder, atomic_write
from gatewright.compiler.files.owned import PROGRAM, verilog_kind

OURS = json.dumps({"schema": 2, "digest": "0" * 64})


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
        (folder / "program.json").write_text(OURS)
        assert folder.parent == target.parent
        assert not target.exists()
    assert left_in(target) == ["program.json"]
    with atomic_folder(target) as folder:
        (folder / "program.json").write_text(OURS + " ")
        (folder / "weights.npz").touch()
        assert (target / "program.json").read_text() == OURS
    assert left_in(target) == ["program.json", "weights.npz"]
    assert left_in(target.parent) == ["program"]
    target = tmp_path / "empty"
    target.mkdir()
    with atomic_folder(target, verilog_kind()) as folder:
        (folder / "core.v").touch()
    assert left_in(target) == ["core.v"]


def test_foreign_folder_is_not_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"has files but no core\.v, so it is not replaced"):
        with atomic_folder(tmp_path, verilog_kind()):
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
    (target / "program.json").write_text(OURS)
    with pytest.raises(expected, match=message), atomic_folder(target) as folder:
        (folder / "program.json").write_text("half")
        raise error
    assert (target / "program.json").read_text() == OURS
    assert left_in(tmp_path) == ["program"]


@pytest.mark.parametrize("failing", [1, 2], ids=["old aside", "new in place"])
def test_refused_folder_rename_restores_the_old_one(tmp_path, monkeypatch, failing):
    target = tmp_path / "program"
    target.mkdir()
    (target / "program.json").write_text(OURS)
    rename, calls = Path.rename, []

    def refuse(self, other):
        calls.append(other)
        if len(calls) == failing:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match="Permission denied"), atomic_folder(target) as folder:
        (folder / "program.json").write_text("new")
    assert (target / "program.json").read_text() == OURS
    assert left_in(tmp_path) == ["program"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"program.json": "{}", "thesis.txt": ""}, "program.json that gatewright did not write"),
        ({"program.json": "{"}, "program.json that gatewright did not write"),
        ({"program.json": OURS, "thesis.txt": ""}, "also holds thesis.txt"),
        ({"program.json": OURS, "weights_x.hex": ""}, "also holds weights_x.hex"),
        ({"program.json": OURS, "pass0/notes": ""}, "also holds pass0/notes"),
        ({"program.json": OURS, ".git/HEAD": ""}, r"also holds \.git/HEAD"),
        ({"weights.npz": ""}, "has files but no program.json"),
    ],
)
def test_nothing_that_we_did_not_write_is_removed(tmp_path, files, message):
    target = tmp_path / "web"
    for name, text in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)
    with pytest.raises(InputError, match=message), atomic_folder(target):
        pytest.fail("the block must not run")
    left = {
        p.relative_to(target).as_posix(): p.read_text() for p in target.rglob("*") if p.is_file()
    }
    assert left == files


def test_links_and_empty_folders_of_others_are_kept(tmp_path):
    target = tmp_path / "web"
    target.mkdir()
    (target / "program.json").write_text(OURS)
    (target / "weights.npz").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(InputError, match=r"also holds weights\.npz@"),
        atomic_folder(target, PROGRAM),
    ):
        pytest.fail("the block must not run")
    (target / "weights.npz").unlink()
    (target / "drafts").mkdir()
    with pytest.raises(InputError, match="also holds drafts/"), atomic_folder(target, PROGRAM):
        pytest.fail("the block must not run")
    assert left_in(target) == ["drafts", "program.json"]
