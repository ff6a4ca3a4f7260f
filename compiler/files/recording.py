"""Recordings in, results out: ``.npy``, ``.npz`` and ``.csv``.

A recording is data from anywhere: nothing in it is executed, sizes are checked before
memory is taken, and what is not plainly a table of finite real numbers is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .atomic import atomic_folder, atomic_write, reason
from .budget import one_import, spend
from .npy import npz_keys, read_npy, read_npz

__all__ = ["Recording", "atomic_folder", "atomic_write", "read_pair", "read_x", "write_y"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

VALUES_LIMIT = 1 << 27
"""Values in one recording: 1 GiB as float64."""
CSV_BYTES_LIMIT = 1 << 28
CSV_EXPANSION = 16
"""Text is parsed into Python numbers, which take up to 16 times its size."""
COPIES = 3
"""Arrays of 64 bits that a recording becomes: values, their codes, outputs."""
SUFFIXES = (".npy", ".npz", ".csv")


@dataclass(frozen=True, eq=False)
class Recording:
    """Input data of a network.

    Parameters
    ----------
    x : numpy.ndarray of float64, shape (N, T, I) or (T, I)
        Finite values: sequences, steps, features.
    lengths : numpy.ndarray of int64, shape (N,), optional
        Steps of each sequence before its zero padding, 1 to T.
    labels : numpy.ndarray of int64, shape (N,), optional
        Class of each sequence, 0 or more.
    classes : tuple of str
        Where the labels were text: the text of class 0, 1 and so on, in sorted order.
    """

    x: FloatArray
    lengths: IntArray | None = None
    labels: IntArray | None = None
    classes: tuple[str, ...] = ()


@one_import()
def read_x(path: str | Path, features: int | None = None) -> Recording:
    """Read a recording.

    Parameters
    ----------
    path : path
        ``.npy``: one array. ``.npz``: key ``x``, and where present ``len`` (true lengths)
        and ``y`` (labels, as numbers or as text); other keys are not read. ``.csv``: one step a line, comma-separated,
        with or without a line of names at the top; empty lines do not count.
    features : int, optional
        Features of a step that the network takes; checked.

    Raises
    ------
    InputError
        Missing, empty, truncated or damaged file; not a table of finite real numbers of 2 or
        3 dimensions; more than :data:`VALUES_LIMIT` values; another number of features.
    """
    path = Path(path)
    suffix = _suffix(path)
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file; give a {_one_of(SUFFIXES)} file")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes); record or export it again")
        if suffix == ".csv":
            arrays: dict[str, npt.NDArray[Any]] = {"x": _read_csv(path)}
        elif suffix == ".npz":
            arrays = _read_npz(path)
        else:
            arrays = {"x": read_npy(path, limit=VALUES_LIMIT, copies=COPIES)}
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    x = _checked(arrays["x"], str(path), features)
    classes: tuple[str, ...] = ()
    if "y" in arrays and arrays["y"].dtype.kind == "U":
        names, arrays["y"] = np.unique(arrays["y"], return_inverse=True)
        classes = tuple(names.tolist())
    return Recording(
        x,
        _companion(arrays.get("len"), x, f"{path}: len", "lengths", 1, x.shape[-2]),
        _companion(arrays.get("y"), x, f"{path}: y", "labels", 0, np.iinfo(np.int64).max),
        classes,
    )


def read_pair(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Read ``x``, ``y`` and, where present, ``len`` of an ``.npz`` as they are.

    Raises
    ------
    InputError
        As :func:`read_x` does.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path.name}: x and y are recorded in one .npz: np.savez(path, x=x, y=y)")
    try:
        return _read_npz(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error


def _checked(array: npt.NDArray[Any], what: str, features: int | None) -> FloatArray:
    """Turn what a file holds into finite float64 of the right shape, or refuse it."""
    shape = array.shape
    if array.ndim not in (2, 3):
        hint = "; a single feature is x[:, None]" if array.ndim == 1 else ""
        raise InputError(
            f"{what} has shape {shape}, expected (steps, features) or "
            f"(sequences, steps, features){hint}"
        )
    if 0 in shape:
        raise InputError(f"{what} holds no values: its shape is {shape}")
    if features is not None and shape[-1] != features:
        swapped = "; are the last two axes swapped?" if shape[-2] == features else ""
        raise InputError(
            f"{what} has {shape[-1]} features a step (shape {shape}), "
            f"the network takes {features}{swapped}"
        )
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(array, dtype=np.float64)
    finite = np.isfinite(x)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), shape)
        raise InputError(
            f"{what} holds {array[index]} at index {[int(i) for i in index]}; every value must be "
            "a finite float64: repair the recording or leave that part out"
        )
    return x


def _companion(
    array: npt.NDArray[Any] | None, x: FloatArray, what: str, name: str, low: int, high: int
) -> IntArray | None:
    if array is None:
        return None
    if x.ndim != 3 or array.dtype.kind not in "iu" or array.shape != x.shape[:1]:
        raise InputError(
            f"{what} ({name}, {array.dtype}, shape {array.shape}) must be one integer for each "
            f"sequence of x (shape {x.shape}); rename the key if it means something else"
        )
    bad = np.flatnonzero((array < low) | (array > high))
    if len(bad):
        raise InputError(f"{what}[{bad[0]}] is {array[bad[0]]}; {name} are {low} to {high}")
    return array.astype(np.int64)


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the keys ``x``, ``len`` and ``y``."""
    keys = npz_keys(path)
    if "x" not in keys:
        raise InputError(
            f"{path} has no key 'x', only {keys[:8]}; save it with np.savez(path, x=x)"
        )
    arrays = read_npz(path, {"x", "len"}, limit=VALUES_LIMIT, copies=COPIES)
    return arrays | read_npz(path, {"y"}, kinds="fiuU", limit=VALUES_LIMIT, copies=COPIES)


def _read_csv(path: Path) -> FloatArray:
    size = path.stat().st_size
    if size > CSV_BYTES_LIMIT:
        raise InputError(
            f"{path} has {size} bytes; the limit of a .csv is {CSV_BYTES_LIMIT}: use .npy"
        )
    spend(CSV_EXPANSION * size, f"{path} ({size:,} bytes of text)")
    rows: list[list[float]] = []
    width = lines = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                fields = [field.strip() for field in line.split(",")]
                if fields == [""]:
                    continue
                lines += 1
                values = [_number(field) for field in fields]
                if lines == 1 and all(value is None for value in values):
                    continue  # the line of names
                if None in values:
                    raise InputError(
                        f"{path}, line {number}: {fields[values.index(None)][:40]!r} is not a "
                        "number; fields are separated by commas, decimals by a point"
                    )
                width = width or len(fields)
                if len(fields) != width:
                    raise InputError(
                        f"{path}, line {number}: {len(fields)} fields, the lines before have "
                        f"{width}; every step has the same features"
                    )
                rows.append([value for value in values if value is not None])
                if len(rows) * width > VALUES_LIMIT:
                    raise InputError(
                        f"{path}, line {number}: more than {VALUES_LIMIT} values: use .npy"
                    )
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8 ({error.reason}): is it a .csv?") from error
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)


def _number(field: str) -> float | None:
    try:
        # Python takes 1_000, no other reader of a .csv does.
        return None if "_" in field else float(field)
    except ValueError:
        return None


def write_y(path: str | Path, y: npt.ArrayLike) -> None:
    """Write outputs as ``.npy``, ``.npz`` (key ``y``) or ``.csv`` (2 dimensions; exact decimals).

    The file appears whole or not at all.

    Raises
    ------
    InputError
        Another suffix, a shape that a ``.csv`` cannot hold, or the file cannot be written.
    """
    path, array = Path(path), np.asarray(y)
    suffix = _suffix(path)
    if suffix == ".csv" and array.ndim != 2:
        raise InputError(f"{path}: a .csv holds 2 dimensions, not shape {array.shape}: use .npy")

    def write(file: IO[bytes]) -> None:
        if suffix == ".npy":
            np.save(file, array, allow_pickle=False)
        elif suffix == ".npz":
            np.savez(file, allow_pickle=False, y=array)
        else:
            for row in array.tolist():
                file.write((",".join(map(repr, row)) + "\n").encode())

    atomic_write(path, write)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: data files end in {_one_of(SUFFIXES)}, not {suffix!r}")
    return suffix


def _one_of(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
