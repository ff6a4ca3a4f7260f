"""Opens Keras files as data: the layers of a graph, their settings and weights.

Two containers: ``.keras`` (Keras 3: a zip of ``config.json`` and ``model.weights.h5``) and the
older ``.h5``. Nothing in a file is executed, and Keras itself is not needed.
"""

from __future__ import annotations

import contextlib
import io
import math
import pathlib
import re
import signal
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import InputError, MissingToolError
from ..files.boundary import parsing
from ..files.budget import FILE_LIMIT, spend
from ..files.json_file import read_json

__all__ = ["KerasFile", "KerasLayer", "read_keras"]

CONFIG_LIMIT = 16 << 20
CPU_SECONDS, CPU_RATE = 5, 10 << 20  # of a first reading: seconds, and bytes for each more
ARRAY_LIMIT = 1 << 27  # elements
NAMES_LIMIT = 64  # arrays of one layer
DEFLATE = 1032  # bytes that one byte of deflated data can become
FILTERS = (1, 2, 3)  # of HDF5: deflate, shuffle, checksum

# Where Keras 3 puts the arrays of a layer, below the layer's own group
PLACES = {
    "Bidirectional": ("forward_layer/cell/vars", "backward_layer/cell/vars"),
    "TimeDistributed": ("layer/vars",),
    "GRU": ("cell/vars",),
    "RNN": ("cell/vars",),
    "LSTM": ("cell/vars",),
    "SimpleRNN": ("cell/vars",),
}
USED = {"Normalization": 2}  # arrays of a layer that count; its third is how many samples it saw


@dataclass(frozen=True)
class KerasLayer:
    """A layer as the file states it.

    Parameters
    ----------
    kind, name : str
        Class and name.
    config : dict
        Settings.
    weights : tuple of ndarray
        In Keras' order.
    inputs : tuple of str
        Layers that it reads; none for the first.
    """

    kind: str
    name: str
    config: dict[str, Any]
    weights: tuple[FloatArray, ...]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class KerasFile:
    """A graph of layers with one input and one output.

    Parameters
    ----------
    version : str
        Keras version that wrote the file; '' where it does not say.
    config : dict
        The whole model configuration.
    layers : tuple of KerasLayer
        In the order of evaluation.
    output : str
        The layer that gives the output.
    """

    version: str
    config: dict[str, Any]
    layers: tuple[KerasLayer, ...]
    output: str


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


def _origins(node: Any) -> list[str]:
    """Names of the layers that an ``inbound_nodes`` entry reads, in Keras 2 or 3 notation."""
    if isinstance(node, dict):
        config = node.get("config")
        if node.get("class_name") == "__keras_tensor__" and isinstance(config, dict):
            history = config.get("keras_history") or [None]
            return [str(history[0])]
        return [name for value in node.values() for name in _origins(value)]
    if isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            return [node[0]]
        return [name for value in node for name in _origins(value)]
    return []


def _entries(model: dict[str, Any]) -> tuple[list[dict[str, Any]], list[tuple[str, ...]], str]:
    """Return the layer entries of a model, the layers that each reads, and the output's name."""
    kind, config = model.get("class_name"), model.get("config")
    if not isinstance(config, dict):  # a Sequential model of early Keras 2 has a plain list
        config = {"layers": config}
    layers = config.get("layers")
    if kind not in ("Sequential", "Functional", "Model") or not isinstance(layers, list):
        raise InputError(
            f"the model is of class {kind!r}; Sequential and Functional models are supported"
        )
    if not layers or not all(isinstance(layer, dict) for layer in layers):
        raise InputError("the model's list of layers is empty or damaged; save the model again")
    names = [_name(layer) for layer in layers]
    if kind == "Sequential":
        return layers, [(), *((name,) for name in names[:-1])], names[-1]
    reads: list[tuple[str, ...]] = []
    for k, layer in enumerate(layers):
        nodes = layer.get("inbound_nodes") or []
        origins = _origins(nodes)
        if len(nodes) > 1:
            raise InputError(f"layer {names[k]!r} is used {len(nodes)} times; use each layer once")
        if (not origins) != (k == 0) or not set(origins) <= set(names[:k]):
            raise InputError(
                f"layer {names[k]!r} reads {', '.join(origins) or 'nothing'}, expected layers before "
                "it: one input, and the order of the data"
            )
        reads.append(tuple(origins))
    outputs = [n for n in _origins([config.get("output_layers")]) if n in names]
    outputs = outputs or [n for n in (config.get("output_layers") or [])[:1] if n in names]
    output = outputs[0] if outputs else names[-1]
    unused = [n for n in names if n != output and not any(n in each for each in reads)]
    if len(outputs) > 1 or unused:
        raise InputError(
            f"the model has outputs {config.get('output_layers')}; one is supported"
            + (f", and {', '.join(unused)} would not be used" if unused else "")
        )
    return layers, reads, output


def _name(entry: dict[str, Any]) -> str:
    config = entry.get("config")
    named = config.get("name") if isinstance(config, dict) else None
    return str(entry.get("name") or named or _group_name(str(entry.get("class_name"))))


def _group_name(kind: str) -> str:
    """Keras' snake case of a class name: ReLU is ``re_lu``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()


def _read_h5(stream: Any) -> Any:
    try:
        return _h5py().File(stream, "r")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"the weights are not a readable HDF5 file ({error})") from None


def _file(version: str, model: dict[str, Any], arrays: Any) -> KerasFile:
    entries, reads, output = _entries(model)
    layers = []
    for entry, inputs in zip(entries, reads, strict=True):
        kind, config, name = str(entry.get("class_name")), entry.get("config"), _name(entry)
        if not isinstance(config, dict):
            raise InputError(f"a layer of class {kind} has no settings; save the model again")
        layers.append(KerasLayer(kind, name, config, arrays(kind, name), inputs))
    return KerasFile(version, model, tuple(layers), output)


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
    seen: Counter[str] = Counter()
    with _read_h5(io.BytesIO(members["model.weights.h5"])) as file:

        def arrays(kind: str, name: str) -> tuple[FloatArray, ...]:
            # Keras numbers the groups by class and ignores the layers' own names.
            group = _group_name(kind)
            number = seen[group]
            seen[group] += 1
            group += f"_{number}" if number else ""
            found: list[FloatArray] = []
            for place in PLACES.get(kind, ("vars",)):
                base = f"layers/{group}/{place}"
                count = min(len(file[base]), NAMES_LIMIT) if base in file else 0
                found += [_array(file, f"{base}/{k}") for k in range(count)[: USED.get(kind)]]
            return tuple(found)

        return _file(version, config, arrays)


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

        def arrays(kind: str, name: str) -> tuple[FloatArray, ...]:
            base = f"model_weights/{name}"
            if base not in file or "weight_names" not in file[base].attrs:
                return ()
            attributes = file[base].attrs
            if math.prod(attributes.get_id("weight_names").shape) > NAMES_LIMIT:
                raise InputError(f"{base} has more than {NAMES_LIMIT} arrays; save the model again")
            names = attributes["weight_names"]
            return tuple(_array(file, f"{base}/{_text(n)}") for n in names[: USED.get(kind)])

        version = _text(file.attrs.get("keras_version", ""))
        return _file(version, config, arrays)


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
