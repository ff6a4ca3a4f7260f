"""Reading and writing a program's folder: what is damaged, and what is the same bytes twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..arrays import IntArray
from ..errors import InputError
from ..files.json_file import read_json
from ..files.npy import read_npz
from .schema import QUALITY, check_arrays, check_chain, check_program

__all__ = [
    "SCHEMA", "check_digest", "check_files", "check_summary", "damaged", "quality_digest", "read_arrays",
    "read_description", "read_quality",
]  # fmt: skip

SCHEMA = 3


def _again(folder: Path) -> str:
    return f"write the program again with: gatewright quantize MODEL -o {folder}"


@contextmanager
def damaged(folder: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes the code inside raise into an input error."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error}; {_again(folder)}") from error
    except Exception as error:  # what was edited may fail anywhere
        raise InputError(
            f"{folder} is damaged ({type(error).__name__}: {error}); {_again(folder)}"
        ) from error


def read_description(folder: Path) -> dict[str, Any]:
    """Read the ``program.json`` of a folder, of the schema that this version writes."""
    path = folder / "program.json"
    if folder.is_file():
        raise InputError(
            f"{folder} is a file, and a program is a folder; make it from a model with: "
            f"gatewright quantize {folder.name} --calibration X -o program"
        )
    if not path.is_file():
        raise InputError(
            f"{folder} is not a program folder: it has no program.json; {_again(folder)}"
        )
    with damaged(folder):
        data = read_json(path.read_bytes(), str(path), _again(folder))
        if not isinstance(data, dict):
            raise ValueError("program.json holds no object")
        if data.get("schema") != SCHEMA:
            raise InputError(
                f"{path} has schema {str(data.get('schema'))[:40]}, this version reads {SCHEMA}; "
                f"{_again(folder)}"
            )
        (check_chain if "passes" in data else check_program)(data)
    return data


def read_arrays(folder: Path, data: dict[str, Any]) -> dict[str, IntArray]:
    """Read ``weights.npz``, which must hold what ``program.json`` says, in its sizes."""
    with damaged(folder):
        arrays = read_npz(folder / "weights.npz", kinds="i", way_out=_again(folder))
        check_arrays(data, arrays)
    return arrays


def quality_digest(digest: str, quality: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what the quantizer measured of a program of this digest, in hex."""
    measured = {key: quality[key] for key in QUALITY if key in quality}
    return hashlib.sha256(json.dumps([digest, measured], sort_keys=True).encode()).hexdigest()


def read_quality(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return what the quantizer measured, which cannot be made anew, if it is as it was written.

    Where the digest of it is not in the file, nothing is known of the figures: none is returned.
    """
    quality = {key: data["summary"][key] for key in QUALITY if key in data.get("summary", {})}
    if not quality or "quality_digest" not in data:
        return {}
    if data["quality_digest"] != quality_digest(data["digest"], quality):
        raise InputError(
            f"{folder / 'program.json'} was edited: summary has other {', '.join(QUALITY)} than "
            f"were measured; {_again(folder)}"
        )
    return quality


def check_summary(
    folder: Path, data: dict[str, Any], key: str, expected: Mapping[str, Any]
) -> None:
    """Refuse an entry of ``program.json`` that the digest does not cover and that was edited."""
    whole = json.loads(json.dumps(expected))
    for name, stated in data.get(key, {}).items():
        if name in whole and stated != whole[name]:
            raise InputError(
                f"{folder / 'program.json'} was edited: {key}.{name} says {str(stated)[:60]}, the "
                f"program has {str(whole[name])[:60]}; {_again(folder)}"
            )


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse memory images that were edited; one that is not there is none."""
    for name, text in files.items():
        path = folder / name
        if not path.exists():
            continue
        if path.stat().st_size != len(text) or path.read_bytes() != text.encode():
            raise InputError(
                f"{path} was edited or is damaged: it is not what the program has; {_again(folder)}"
            )


def check_digest(folder: Path, digest: str, data: dict[str, Any]) -> None:
    """Refuse a folder whose ``program.json`` states another digest than its contents have."""
    if digest != data.get("digest"):
        raise InputError(
            f"{folder} is damaged: its digest is {digest[:16]}, program.json says "
            f"{str(data.get('digest'))[:16]}; {_again(folder)}"
        )
