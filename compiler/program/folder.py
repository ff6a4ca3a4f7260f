"""Reading and writing a program's folder: what is damaged, and what is the same bytes twice."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import IntArray
from ..errors import InputError

__all__ = ["SCHEMA", "check_digest", "damaged", "read_description", "write_npz"]

SCHEMA = 2


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
    except (
        ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError,
        zipfile.BadZipFile, MemoryError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{folder} is damaged ({type(error).__name__}: {error}); {_again(folder)}"
        ) from error


def read_description(folder: Path) -> dict[str, Any]:
    """Read the ``program.json`` of a folder, of the schema that this version writes."""
    path = folder / "program.json"
    if not path.is_file():
        raise InputError(
            f"{folder} is not a program folder: it has no program.json; {_again(folder)}"
        )
    with damaged(folder):
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data.get("schema") != SCHEMA:
            raise InputError(
                f"{path} has schema {data.get('schema')!r}, this version reads {SCHEMA}; "
                f"{_again(folder)}"
            )
    return data


def check_digest(folder: Path, digest: str, data: dict[str, Any]) -> None:
    """Refuse a folder whose ``program.json`` states another digest than its contents have."""
    if digest != data.get("digest"):
        raise InputError(
            f"{folder} is damaged: its digest is {digest[:16]}, program.json says "
            f"{str(data.get('digest'))[:16]}; {_again(folder)}"
        )


def write_npz(path: Path, arrays: dict[str, IntArray]) -> None:
    """Write an ``.npz`` with no dates in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as file:
                small = array.astype(np.int16) if name.endswith(("/w", "/u")) else array
                np.lib.format.write_array(file, np.ascontiguousarray(small), allow_pickle=False)
