"""The compiled form's library: built once by a C++ compiler, kept in a cache folder of the user.

Nothing here is needed: where the library cannot be had, :func:`library` says why and the golden
model runs in NumPy, with equal codes.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["Library", "library"]

SOURCE = Path(__file__).with_name("run.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC")
SECONDS = 120  # after which a compiler is given up


class Library:
    """The loaded library, or the reason why there is none.

    Attributes
    ----------
    run : callable or None
        ``gatewright_run`` of ``run.cpp``.
    reason : str
        Path of the library, or what is missing.
    """

    def __init__(self, path: Path | None, reason: str) -> None:
        self.reason, self.run = reason, None
        if path is not None:
            self.run = ctypes.CDLL(str(path)).gatewright_run
            self.run.restype = None


@cache
def library() -> Library:
    """Load the library, built before if it must be; at most once in a process."""
    compiler = shutil.which("g++")
    if os.name != "posix" or compiler is None:
        return Library(None, "no g++ on the path")
    try:
        folder = _cache_folder()
        path = folder / f"golden-{_key(compiler)}.so"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _build(compiler, path)
        return Library(path, str(path))
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        return Library(None, f"g++ did not make the library: {error}")


def _build(compiler: str, path: Path) -> None:
    """Compile beside the path and move it there whole: processes may build at the same time."""
    with tempfile.TemporaryDirectory(prefix=".golden-", dir=path.parent) as temporary:
        made = Path(temporary) / path.name
        subprocess.run(  # noqa: S603
            [compiler, *FLAGS, str(SOURCE), "-o", str(made)],
            check=True, capture_output=True, timeout=SECONDS,
        )  # fmt: skip
        os.replace(made, path)


def _key(compiler: str) -> str:
    """Return the digest of all that the library depends on: source, compiler, kind of processor."""
    whole = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode())
    real = Path(compiler).resolve()
    whole.update(f"{real} {real.stat().st_size} {platform.machine()} {sys.platform}".encode())
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    kept = ("model name", "flags", "Features", "CPU part", "isa")
    whole.update("\n".join(sorted({line for line in lines if line.startswith(kept)})).encode())
    return whole.hexdigest()[:32]


def _cache_folder() -> Path:
    """Return the folder of the cache: ``GATEWRIGHT_CACHE``, or the platform's place for caches."""
    if named := os.environ.get("GATEWRIGHT_CACHE"):
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/gatewright").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gatewright"
