"""The cache of what takes long to build: one folder of the user, shared by all processes.

Simulators, the library of the golden model, netlists and routes of bitstreams are its entries.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["LIMIT", "VARIABLE", "Entry", "cache_folder", "clear", "digest", "entries", "obtain"]

VARIABLE = "GATEWRIGHT_CACHE"
LIMIT = 1 << 30
"""Bytes that the cache may hold; the entries that were used longest ago go first."""
MARK = "gatewright-cache.json"
"""File of every entry that names its files and their digests. A folder without it is not ours."""


@dataclass(frozen=True)
class Entry:
    """An entry of the cache: its folder, size in bytes, and time of its last use in seconds."""

    path: Path
    size: int
    used: float


def cache_folder() -> Path:
    """Return the folder of the cache: ``GATEWRIGHT_CACHE``, or the platform's place for caches."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gatewright"


def digest(*parts: str | bytes) -> str:
    """Return the SHA-256 of parts, each with its length, in hexadecimal."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


def obtain(
    key: str, target: Path, build: Callable[[], Iterable[str]], *, required: bool = False
) -> bool:
    """Put the files of an entry into a folder; build them there if there is no such entry.

    Only one process at a time builds an entry; the others wait for it and copy. An entry appears whole
    or not at all. An entry whose files do not have the digests in its mark is built again. A cache
    that cannot be written is left aside, unless it is required.

    Parameters
    ----------
    key : str
        Digest of all that the files depend on, 64 hexadecimal digits.
    target : path
        Existing folder.
    build : callable
        Builds in the target and returns the names of the files to keep.
    required : bool
        Raise ``OSError`` where the cache cannot be written.

    Returns
    -------
    bool
        Whether the files came from the cache.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = FileLock(folder / f"{key}.lock").acquire()
    except OSError:
        if required:
            raise
        build()
        return False
    with held:
        entry = folder / key
        if _copy(entry, target):
            return True
        names = list(build())
        # A full disk costs the entry, not what was built.
        with contextlib.suppress(OSError):
            _keep(entry, target, names)
    _evict(key)
    return False


def entries() -> list[Entry]:
    """Return the entries, the one that was used longest ago first."""
    found = []
    for path in _ours(cache_folder()):
        with contextlib.suppress(OSError):  # another process may remove it
            size = sum(file.stat().st_size for file in path.iterdir())
            found.append(Entry(path, size, (path / MARK).stat().st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def clear() -> int:
    """Remove every entry and nothing else; return the number of bytes that were freed."""
    return sum(entry.size for entry in entries() if _remove(entry.path))


def _ours(folder: Path) -> Iterator[Path]:
    """Yield the folders that :func:`obtain` wrote."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        named = len(path.name) == 64 and set(path.name) <= set("0123456789abcdef")
        if named and not path.is_symlink() and (path / MARK).is_file():
            yield path


def _copy(entry: Path, target: Path) -> bool:
    """Copy an entry's files to a folder and note the use, if the entry is whole."""
    try:
        names = json.loads((entry / MARK).read_text())["files"]
        for name, expected in names.items():
            if digest((entry / name).read_bytes()) != expected:
                return False
        for name in names:
            shutil.copy(entry / name, target)
        os.utime(entry / MARK)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _keep(entry: Path, target: Path, names: Iterable[str]) -> None:
    """Make an entry of files in a folder, in place of a damaged one."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=entry.parent) as temporary:
        new = Path(temporary) / entry.name
        new.mkdir()
        for name in names:
            shutil.copy(target / name, new)
        files = {name: digest((new / name).read_bytes()) for name in names}
        (new / MARK).write_text(json.dumps({"files": files}))
        if (entry / MARK).is_file():
            shutil.rmtree(entry)
        os.replace(new, entry)


def _evict(kept: str) -> None:
    """Remove what was used longest ago until the cache is within its limit."""
    there = entries()
    size = sum(entry.size for entry in there)
    for entry in there:
        if size <= LIMIT:
            return
        if entry.path.name != kept and _remove(entry.path):
            size -= entry.size


def _remove(path: Path) -> bool:
    """Remove an entry unless a process builds or copies it now; return whether it did."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(path)
            lock.unlink(missing_ok=True)
    except (OSError, Timeout):
        return False
    return True
