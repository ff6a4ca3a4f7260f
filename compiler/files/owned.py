"""Which folders are ours to replace: those that hold nothing but what gatewright wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

__all__ = ["BUILD", "PROGRAM", "Kind", "refuse_foreign", "refuse_taken", "verilog_kind"]

MARKER_LIMIT = 1 << 26
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Kind:
    """A kind of folder that gatewright writes.

    Parameters
    ----------
    marker : str
        File that every folder of the kind has.
    mark : callable
        Whether the text of the marker is one that gatewright wrote.
    files : str
        Regular expression of the files of such a folder, by their path in it.
    """

    marker: str
    mark: Callable[[str], bool]
    files: str


def _json(**checks: Callable[[object], bool]) -> Callable[[str], bool]:
    """Return a check for a JSON object that has these entries."""

    def check(text: str) -> bool:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(data, dict) and all(f(data.get(name)) for name, f in checks.items())

    return check


def _digest(value: object) -> bool:
    return isinstance(value, str) and HEX.fullmatch(value) is not None


_MEMORY = r"(weights|beats)(_\d+)?\.hex"
_PASSES = r"(pass\d+/)?"
_CORE = "// gatewright core, program "
_PROGRAM = rf"{_PASSES}(program\.json|weights\.npz|{_MEMORY})"
PROGRAM = Kind("program.json", _json(schema=lambda v: type(v) is int, digest=_digest), _PROGRAM)
BUILD = Kind(
    "build.json",
    _json(board=lambda v: isinstance(v, str), program=_digest, key=_digest),
    rf"build\.json|top\.(bin|bit|fs)|weights\.bin|gatewright(_host)?\.h|logs/[^/]+\.log|program/({_PROGRAM})",
)
"""Folders of a program and of a build."""


def verilog_kind(name: str = "", *, chain: bool = False) -> Kind:
    """Return the kind of a folder of Verilog.

    Parameters
    ----------
    name : str
        What the names of its files begin with, if not with ``gatewright`` or nothing.
    chain : bool
        Whether it has a folder for each of several passes, whose names are numbered.
    """
    own = (name or "gatewright") + r"\d+" * bool(chain and name)
    prefix = f"{own}_" if name else ""
    files = (
        rf"{prefix}(core\.v|vectors\.hex|{_MEMORY})"
        rf"|{own}(_axis\.v|_wishbone\.v|_core\.core|_tb\.sv|\.(sv)?h)"
    )
    if chain:
        return Kind("program.json", PROGRAM.mark, rf"program\.json|pass\d+/({files})")
    return Kind(f"{prefix}core.v", lambda text: text.startswith(_CORE), files)


def refuse_foreign(target: Path, path: str | Path, kind: Kind) -> None:
    """Refuse to replace what is not wholly ours.

    Parameters
    ----------
    target : Path
        Where ``path`` leads.
    path : path
        As the user wrote it.
    kind : Kind
        What is to take its place.

    Raises
    ------
    InputError
        No folder, or one with a file that gatewright does not write, or without the marker.
    """
    if target.exists() and not target.is_dir():
        raise InputError(f"{path} exists and is not a folder; give another name")
    if not target.is_dir() or not any(target.iterdir()):
        return
    marker = target / kind.marker
    way_out = "give a new or an empty folder, or remove it"
    if not marker.is_file() or marker.is_symlink():
        raise InputError(f"{path} has files but no {kind.marker}, so it is not replaced; {way_out}")
    if marker.stat().st_size > MARKER_LIMIT or not kind.mark(marker.read_text(errors="replace")):
        raise InputError(
            f"{path} has a {kind.marker} that gatewright did not write, so it is not replaced; "
            f"{way_out}"
        )
    for name in _names(target, ""):
        if not re.fullmatch(kind.files, name):
            raise InputError(
                f"{path} also holds {name}, which gatewright did not write, so it is not replaced; "
                f"move that elsewhere, or {way_out}"
            )


def _names(folder: Path, prefix: str) -> Iterator[str]:
    """Yield what a folder holds: files, links, and folders that hold nothing."""
    for path in sorted(folder.iterdir()):
        name = f"{prefix}{path.name}"
        if path.is_dir() and not path.is_symlink():
            yield from _names(path, f"{name}/")
            if not any(path.iterdir()):
                yield f"{name}/"
        else:
            yield f"{name}@" if path.is_symlink() else name


def refuse_taken(folder: Path, marker: str, marked: Mapping[str, str]) -> None:
    """Refuse to write into a folder that has files of these names, but not the marker.

    Parameters
    ----------
    folder : Path
        Where several files are written one by one, as a search does.
    marker : str
        File that the first run writes there.
    marked : mapping of str to str
        Names of the other files, and what each is, for the message.
    """
    if (folder / marker).exists():
        return
    for name, what in marked.items():
        if (folder / name).exists():
            raise InputError(
                f"{folder} has a {name} but no {marker}: that is not the {what} of gatewright and "
                "is not replaced; give a new or an empty folder, or move it elsewhere"
            )
