"""Reads the RNNoise v0.1 noise suppressor: 8-bit weights in ``rnn_data.c`` or an ``.npz`` of it.

Layout and network: ``rnn.c``, ``rnn_data.c`` and ``rnn_train.py`` of RNNoise v0.1 (BSD-3). An array
``weights[j * 3N + g * N + i]`` holds input j, gate g in the order z r h, and neuron i, in 1/256.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files.npy import npz_keys, read_npz
from ..ir.model import Layer, Linear, Model, Recurrent
from .format import Format
from .kernels import gate_columns

__all__ = ["FORMAT", "load_rnnoise"]

FILE_LIMIT = 16 << 20
SCALE = 256.0
ACTIVATIONS = {"TANH": "tanh", "SIGMOID": "sigmoid", "RELU": "relu"}

# layer, kind, vectors it reads, activation where the file does not say (that of v0.1)
LAYERS = (
    ("input_dense", "dense", ("x",), "TANH"),
    ("vad_gru", "gru", ("input_dense",), "RELU"),
    ("vad_output", "dense", ("vad_gru",), "SIGMOID"),
    ("noise_gru", "gru", ("input_dense", "vad_gru", "x"), "RELU"),
    ("denoise_gru", "gru", ("vad_gru", "noise_gru", "x"), "RELU"),
    ("denoise_output", "dense", ("denoise_gru",), "SIGMOID"),
)

ARRAY = re.compile(r"\b(\w+)\s*\[\s*(\d{1,9})\s*\]\s*=\s*\{([-+\d\s,]*)\}")
STRUCT = re.compile(r"\b(?:DenseLayer|GRULayer)\s+(\w+)\s*=\s*\{[^{}]*?\bACTIVATION_(\w+)\s*\}")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)

Arrays = dict[str, npt.NDArray[np.float64]]


def _read_c(path: pathlib.Path) -> tuple[Arrays, dict[str, str]]:
    text = COMMENT.sub(" ", path.read_text("utf-8", errors="replace"))
    arrays: Arrays = {}
    for name, length, body in ARRAY.findall(text):
        try:
            values = [int(word) for word in body.rstrip().removesuffix(",").split(",")]
            arrays[name] = np.array(values, dtype=np.float64)
        except (ValueError, OverflowError):
            raise InputError(f"{path.name}: {name} is not a list of integers") from None
        if len(values) != int(length):
            raise InputError(
                f"{path.name}: {name} is declared with {length} entries but has {len(values)}; "
                "the file is cut or edited, get it again"
            )
    return arrays, dict(STRUCT.findall(text))


def _read_npz(path: pathlib.Path) -> Arrays:
    names = [n for n in npz_keys(path, path.name) if n.endswith(("_weights", "_bias"))]
    arrays = read_npz(path, names, path.name, limit=FILE_LIMIT // 8)
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def load_rnnoise(
    path: pathlib.Path, *, check: bool = True, activations: Mapping[str, str] | None = None
) -> Model:
    """Read an RNNoise v0.1 network.

    Parameters
    ----------
    path : pathlib.Path
        ``rnn_data.c`` as C text, or an ``.npz`` with its arrays under their names.
    check : bool
        Accepted for symmetry with the other importers; there is no framework to run.
    activations : mapping of str -> str, optional
        Activation of a layer by its name, where the file does not say it: an ``.npz`` never does.

    Returns
    -------
    Model
        Reads 42 features a step; outputs the band gains, then the voice probability.

    Raises
    ------
    InputError
        An array is missing, cut, not 8-bit, or does not fit its neighbours.
    """
    path = pathlib.Path(path)
    size = path.stat().st_size
    if size > FILE_LIMIT:
        raise InputError(f"{path.name}: {size} bytes; RNNoise weights have up to {FILE_LIMIT}")
    arrays, stated = (_read_npz(path), {}) if path.suffix == ".npz" else _read_c(path)

    said = {name: word.upper() for name, word in (activations or {}).items()}
    unknown = sorted(set(said) - {name for name, *_ in LAYERS})
    if unknown:
        raise InputError(
            f"{path.name}: activations names {unknown}; the layers are "
            f"{', '.join(name for name, *_ in LAYERS)}"
        )
    stated = {**said, **stated}

    def take(name: str) -> npt.NDArray[np.float64]:
        if name not in arrays:
            raise InputError(
                f"{path.name}: no array {name!r}; this reads RNNoise v0.1 (rnn_data.c of its 0.1.x "
                "branch), not later versions"
            )
        array = arrays[name].ravel()
        codes = np.abs(array) <= 128
        if not array.size or not (codes & (array == np.rint(array))).all():
            raise InputError(f"{path.name}: {name} holds no 8-bit integers (-128 to 127)")
        return array / SCALE

    assumed = [f"{name} {word}" for name, _, _, word in LAYERS if name not in stated]
    layers: list[Layer] = []
    sizes: dict[str, int] = {}
    for name, kind, inputs, default in LAYERS:
        bias, weights = take(f"{name}_bias"), take(f"{name}_weights")
        if weights.size % bias.size:
            raise InputError(f"{name}: {weights.size} weights do not divide by {bias.size} biases")
        matrix = weights.reshape(-1, bias.size)
        sizes.setdefault("x", len(matrix))
        word = stated.get(name, default)
        if word not in ACTIVATIONS:
            raise InputError(
                f"{name}: ACTIVATION_{word} is not supported; use {', '.join(ACTIVATIONS)}"
            )
        activation = ACTIVATIONS[word]
        if kind == "dense":
            layers.append(Linear(name, inputs, matrix.T, bias, activation))
            sizes[name] = bias.size
            continue
        recurrent = take(f"{name}_recurrent_weights")
        neurons = bias.size // 3
        if bias.size != 3 * neurons or recurrent.size != neurons * bias.size:
            raise InputError(
                f"{name}: {bias.size} biases and {recurrent.size} recurrent weights make no GRU "
                "of three gates"
            )
        w, u, b = (
            gate_columns(("z", "r", "n"), a, name)
            for a in (matrix, recurrent.reshape(neurons, -1), bias)
        )
        layers.append(
            Recurrent(
                name, "gru_reset_before", inputs, neurons, len(matrix), w, u, b,
                candidate=activation,
            )
        )  # fmt: skip
        sizes[name] = neurons
    words = ", ".join(assumed)
    open_ = f"that the activations are {words}, as in RNNoise 0.1: {path.name} does not say them"
    return Model(
        sizes["x"], tuple(layers), outputs=("denoise_output", "vad_output"), source="RNNoise v0.1",
        notes=("weights are integers / 256; outputs: band gains, then voice probability",),
        not_compared=(open_,) if assumed else (),
    )  # fmt: skip


def _matches(path: pathlib.Path) -> bool:
    """Return whether an archive holds RNNoise's arrays; damaged ones are told by their reader."""
    try:
        return "vad_gru_weights" in npz_keys(path, path.name)
    except InputError:
        return False


FORMAT = Format("RNNoise 0.1", (".npz",), "", load_rnnoise, _matches)
