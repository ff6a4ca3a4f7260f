"""Arrays of ``.npy`` and ``.npz`` files: judged by their headers before memory is taken."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .boundary import brief, parsing
from .budget import one_import, spend

__all__ = ["npz_keys", "read_array", "read_npy", "read_npz", "write_npz"]

Array = npt.NDArray[Any]

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
DEFLATE = 1032
"""Bytes that one byte of deflated data can become."""


def read_array(
    file: IO[bytes], what: str, there: int, *, kinds: str = "fiu", copies: int = 1,
    limit: int | None = None, way_out: str = "save it with x.astype(float)",
) -> Array:  # fmt: skip
    """Read one array.

    Parameters
    ----------
    file : binary file
        At the start of the array.
    what : str
        For messages.
    there : int
        Bytes that the file can give, header included.
    kinds : str
        Kinds of dtypes that are read; another one is refused.
    copies : int
        Float64 copies that will be made of it, for the budget.
    limit : int, optional
        Values at most.
    way_out : str
        For what is of another dtype.

    Returns
    -------
    ndarray
        Read-only; owns as many bytes as its shape says.

    Raises
    ------
    InputError
        Damaged, of another dtype, or larger than the file or the budget.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"format version {version} is for structured data")
        shape, fortran, dtype = HEADERS[version](file)
    except InputError:
        raise
    except Exception as error:  # its header is Python source, and fails in as many ways
        raise InputError(f"{what} is no NumPy array or is damaged: {brief(error)}") from error
    if dtype.hasobject or dtype.kind not in kinds:
        raise InputError(
            f"{what} has dtype {str(dtype)[:80]}; only real floats and integers are read: {way_out}"
        )
    if min(shape, default=1) < 0 or max(shape, default=1) > 1 << 62 or len(shape) > 32:
        raise InputError(f"{what} is damaged: it announces shape {str(shape[:4])[:80]}")
    values = math.prod(shape)
    if limit is not None and values > limit:
        raise InputError(
            f"{what} announces shape {shape}, {values} values; the limit is {limit}: "
            "split the recording"
        )
    size, there = values * dtype.itemsize, max(0, there - file.tell())
    if size > there:
        raise InputError(
            f"{what} is damaged: shape {shape} of {dtype} takes {size} bytes, the file has only "
            f"{there}; copy or save it again"
        )
    spend(size + 8 * copies * values, f"{what}, shape {shape} of {dtype},")
    data = file.read(size)
    # Reading past the end also makes a zip file check its sum.
    if len(data) < size or file.read(1):
        have = f"only {len(data)}" if len(data) < size else "more"
        raise InputError(
            f"{what} is damaged: shape {shape} of {dtype} takes {size} bytes, the file has {have}; "
            "copy or save it again"
        )
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_npy(path: Path, **options: Any) -> Array:
    """Read a ``.npy`` file; options are those of :func:`read_array`."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a folder or a device, not a file")
    with parsing(str(path), "a .npy file", "save it again"), path.open("rb") as file:
        return read_array(file, str(path), path.stat().st_size, **options)


def read_npz(
    path: Path, keys: Collection[str] | None = None, name: str = "", **options: Any
) -> dict[str, Array]:
    """Read arrays of a ``.npz`` file.

    Parameters
    ----------
    path : pathlib.Path
    keys : collection of str, optional
        Arrays to read, where they are there; default all.
    name : str
        For messages; default the path.
    **options
        Of :func:`read_array`.

    Raises
    ------
    InputError
        No such file, damaged, encrypted, or larger than the budget.
    """
    name = name or str(path)
    arrays = {}
    with one_import(), parsing(name, "a file of plain arrays (.npz)", "copy or save it again"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                if keys is not None and key not in keys:
                    continue
                if info.flag_bits & 1 or info.compress_type not in (0, 8):
                    raise InputError(
                        f"{name}: {key} is encrypted or compressed in a way that NumPy does not "
                        "write; save it with np.savez or np.savez_compressed"
                    )
                there = min(info.file_size, DEFLATE * info.compress_size)
                with archive.open(info) as file:
                    arrays[key] = read_array(file, f"{name}: {key}", there, **options)
    return arrays


def npz_keys(path: Path, name: str = "") -> list[str]:
    """Return the names of the arrays of a ``.npz`` file."""
    with parsing(name or str(path), "a file of plain arrays (.npz)", "copy or save it again"):
        with zipfile.ZipFile(path) as archive:
            return [info.filename.removesuffix(".npy") for info in archive.infolist()]


def write_npz(file: Path | IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write an ``.npz`` with no dates in it: the same arrays give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
