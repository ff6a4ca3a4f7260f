"""Opens Keras files as data: settings and weights of a tree of layers.

Two containers: ``.keras`` (Keras 3: a zip of ``config.json`` and ``model.weights.h5``) and the
older ``.h5``. Nothing in a file is executed, and Keras itself is not needed.
"""

from __future__ import annotations

import contextlib
import io
import math
import pathlib
import signal
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError, MissingToolError
from ..files.boundary import parsing
from ..files.budget import FILE_LIMIT, spend
from ..files.json_file import read_json
from .keras_config import CELLS, KerasLayer, layer_tree

__all__ = ["KerasFile", "read_keras"]

CONFIG_LIMIT = 16 << 20
CPU_SECONDS, CPU_RATE = 5, 10 << 20  # of a first reading: seconds, and bytes for each more
ARRAY_LIMIT = 1 << 27  # elements
NAMES_LIMIT = 64  # arrays of one layer
DEFLATE = 1032  # bytes that one byte of deflated data can become
FILTERS = (1, 2, 3)  # of HDF5: deflate, shuffle, checksum


@dataclass(frozen=True)
class KerasFile:
    """A model as a file states it.

    Parameters
    ----------
    version : str
        Keras version that wrote the file; '' where it does not say.
    config : dict
        The whole model configuration.
    model : KerasLayer
        The same as a tree of layers, with their arrays.
    """

    version: str
    config: dict[str, Any]
    model: KerasLayer

    @property
    def old(self) -> bool:
        """True if it was written before Keras 3."""
        major = self.version.partition(".")[0]
        return not (major.isdigit() and int(major) >= 3)


def _h5py() -> Any:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise MissingToolError(
            "reading Keras files needs h5py: pip install 'gatewright[keras]'"
        ) from None
    return h5py


def _array(group: Any, path: str) -> FloatArray:
    """Read one dataset; links that lead out of the file are refused."""
    h5py = _h5py()
    node = group
    for part in path.split("/"):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"weights {path!r} are not stored in the file; save the model again")
        node = node[part]
    if not isinstance(node, h5py.Dataset) or node.is_virtual or node.external:
        raise InputError(f"weights {path!r} are not stored as a plain array; save the model again")
    if node.dtype.kind != "f":
        raise InputError(f"weights {path!r} are {node.dtype}, expected floating point")
    if node.size is None or node.size > ARRAY_LIMIT:
        raise InputError(f"weights {path!r} have {node.size} elements, up to {ARRAY_LIMIT} allowed")
    _check_stored(node, path)
    return np.asarray(node[()], dtype=np.float64)


def _check_stored(node: Any, path: str) -> None:
    """Refuse a dataset that says more than is stored: HDF5 would make the rest up."""
    stored, plan = node.id.get_storage_size(), node.id.get_create_plist()
    filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    if set(filters) - set(FILTERS):
        raise InputError(
            f"weights {path!r} are packed by filters {filters}; gzip, shuffle and checksums are read"
        )
    chunk = math.prod(node.chunks or ())
    if node.chunks:
        whole = math.prod(-(-n // k) for n, k in zip(node.shape, node.chunks, strict=True))
        missing = node.id.get_num_chunks() < whole or node.nbytes > DEFLATE * stored
    else:
        missing = node.nbytes > stored
    if missing:
        raise InputError(
            f"weights {path!r} take {node.nbytes} bytes, only {stored} are stored; save the model "
            "again"
        )
    spend(node.nbytes + 8 * node.size + chunk * node.dtype.itemsize, f"weights {path!r}")


def _json(text: str | bytes, what: str) -> dict[str, Any]:
    if len(text) > CONFIG_LIMIT:
        raise InputError(f"{what} has {len(text)} bytes, up to {CONFIG_LIMIT} allowed")
    data = read_json(text, what, "save the model again")
    if not isinstance(data, dict):
        raise InputError(f"{what} is not a JSON object; save the model again")
    return data


def _read_h5(stream: Any) -> Any:
    try:
        return _h5py().File(stream, "r")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the weights are not a readable HDF5 file ({error})") from None


def _read_archive(path: pathlib.Path) -> KerasFile:
    limits = {"config.json": CONFIG_LIMIT, "metadata.json": CONFIG_LIMIT}
    limits["model.weights.h5"] = FILE_LIMIT
    members: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name, limit in limits.items():
                size = archive.getinfo(name).file_size
                if size > limit:
                    raise InputError(f"{path.name}: {name} unpacks to {size} bytes, not to {limit}")
                spend(size, f"{path.name}: {name}")
                members[name] = archive.read(name)
    except KeyError as error:
        raise InputError(f"{path.name}: not a complete .keras file ({error.args[0]})") from None
    except (OSError, EOFError, RuntimeError, zipfile.error, zlib.error) as error:
        raise InputError(f"{path.name}: not a readable .keras file ({error})") from None
    config = _json(members["config.json"], "config.json")
    version = str(_json(members["metadata.json"], "metadata.json").get("keras_version", ""))
    model = layer_tree(config, model=True)
    with _read_h5(io.BytesIO(members["model.weights.h5"])) as file:
        for layer in model.leaves():
            base = f"{layer.place}/cell/vars" if layer.kind in CELLS else f"{layer.place}/vars"
            count = min(len(file[base]), layer.used, NAMES_LIMIT) if base in file else 0
            layer.stored = tuple(f"{base}/{k}" for k in range(count))
            layer.weights = tuple(_array(file, path) for path in layer.stored)
    return KerasFile(version, config, model)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _read_legacy(path: pathlib.Path) -> KerasFile:
    with _read_h5(path) as file:
        if "model_config" not in file.attrs:
            raise InputError(
                f"{path.name}: holds weights only, not the layers; save the whole model "
                "with model.save('model.keras')"
            )
        config = _json(_text(file.attrs["model_config"]), "model_config")

        model = layer_tree(config, model=True)
        for layer in model.inner:
            base = f"model_weights/{layer.name}"
            if base not in file or "weight_names" not in file[base].attrs:
                continue
            attributes, leaves = file[base].attrs, list(layer.leaves())
            if math.prod(attributes.get_id("weight_names").shape) > NAMES_LIMIT * len(leaves):
                raise InputError(f"{base} has more than {NAMES_LIMIT} arrays; save the model again")
            names = [f"{base}/{_text(n)}" for n in attributes["weight_names"]]
            for each, stored in zip(leaves, _shares(layer, leaves, names), strict=True):
                each.stored = tuple(stored[: each.used])
                each.weights = tuple(_array(file, path) for path in each.stored)
        return KerasFile(_text(file.attrs.get("keras_version", "")), config, model)


def _shares(layer: KerasLayer, leaves: list[KerasLayer], names: list[str]) -> list[list[str]]:
    """Deal the arrays of a wrapper or an inner model out: first all trained ones, then the others."""
    if len(leaves) == 1:
        return [names]
    frozen = {leaf for each in layer.branches() if not each.trainable for leaf in each.leaves()}
    counts = [(0, sum(leaf.counts)) if leaf in frozen else leaf.counts for leaf in leaves]
    if sum(map(sum, counts)) != len(names):
        raise InputError(
            f"{layer.name}: {len(names)} weight arrays in the file, expected {sum(map(sum, counts))}; "
            "save the built model again, as .keras of Keras 3 or as .h5"
        )
    rest = iter(names)
    first = [[next(rest) for _ in range(count)] for count, _ in counts]
    return [
        have + [next(rest) for _ in range(n)] for have, (_, n) in zip(first, counts, strict=True)
    ]


def _try_apart(path: pathlib.Path, size: int) -> None:
    """Read a file in a process of its own first: a damaged one can hang or crash HDF5's library."""
    _h5py()
    seconds = CPU_SECONDS + size // CPU_RATE
    code = "import sys; from gatewright.compiler.frontends.keras_file import read_limited as r; r(*sys.argv[1:])"
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, str(path.resolve()), str(seconds)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * seconds, check=False,
        )  # fmt: skip
        failed = "crashes the HDF5 library" if done.returncode < 0 else ""
        if -done.returncode in (getattr(signal, "SIGXCPU", 0), getattr(signal, "SIGKILL", 0)):
            failed = f"keeps the HDF5 library busy for more than {seconds} s"
    except subprocess.TimeoutExpired:
        failed = "keeps the HDF5 library busy without end"
    if failed:
        raise InputError(f"{path.name}: is damaged, it {failed}; save the model again")


def read_limited(path: str, seconds: str) -> None:
    """Read a file with the time of this process limited, and keep nothing of it."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    with contextlib.suppress(Exception):  # the reader outside says it
        _read(pathlib.Path(path))


def read_keras(path: pathlib.Path) -> KerasFile:
    """Read the layers of a Keras file.

    Parameters
    ----------
    path : pathlib.Path
        ``.keras`` or ``.h5``, up to 1 GiB; recognized by content.

    Raises
    ------
    InputError
        Damaged, too large, or not a graph of one input and one output.
    MissingToolError
        h5py is not installed.
    """
    size = path.stat().st_size
    if size > FILE_LIMIT:
        raise InputError(f"{path.name}: {size} bytes; a model may have up to {FILE_LIMIT}")
    _try_apart(path, size)
    return _read(path)


def _read(path: pathlib.Path) -> KerasFile:
    with parsing(path.name, "a Keras model", "save the model again"):
        return _read_archive(path) if zipfile.is_zipfile(path) else _read_legacy(path)
