"""The compiled form's library: built once by a C++ compiler, kept in the cache.

Nothing here is needed: where the library cannot be had, :func:`library` says why and the golden
model runs in NumPy, with equal codes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from ..files.cache import cache_folder, digest, obtain
from ..files.process import run_in_group

__all__ = ["Library", "library"]

SOURCE = Path(__file__).with_name("run.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-shared", "-fPIC")
NAME = "golden.so"
SECONDS = 120  # after which a compiler is given up


class Library:
    """The loaded library, or the reason why there is none.

    Attributes
    ----------
    run : callable or None
        ``gatewright_run`` of ``run.cpp``.
    reason : str
        Where the cache keeps the library, or what is missing.
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
        key = _key(compiler)
        # Linux and macOS keep a loaded library when its file is removed.
        with tempfile.TemporaryDirectory(prefix="gatewright-") as folder:
            path = Path(folder) / NAME
            obtain(key, path.parent, lambda: _build(compiler, path), required=True)
            return Library(path, str(cache_folder() / key / NAME))
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        return Library(None, f"g++ did not make the library: {error}")


def _build(compiler: str, path: Path) -> list[str]:
    """Compile the library and return its name."""
    done = run_in_group(
        [compiler, *FLAGS, str(SOURCE), "-o", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS,
    )  # fmt: skip
    done.check_returncode()
    return [path.name]


def _key(compiler: str) -> str:
    """Return the digest of all that the library depends on: source, compiler, kind of processor."""
    real = Path(compiler).resolve()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    kept = ("model name", "flags", "Features", "CPU part", "isa")
    processor = sorted({line for line in lines if line.startswith(kept)})
    machine = [str(real), str(real.stat().st_size), platform.machine(), sys.platform]
    return digest("golden", SOURCE.read_bytes(), *FLAGS, *machine, *processor)
