"""Comparison of an imported file with Keras, in float64 and with the functions of its version.

A copy of the file whose layers are of type float64 is run, so that neither the training's precision
nor mixed_float16 counts. Where Keras still multiplies matrices in float32, as on PyTorch, the bound
is that of float32. Files from before Keras 3 get the hard sigmoid of their time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CheckError
from ..ir.model import Model, Recurrent
from .expected import log_softmax
from .keras_file import KerasFile
from .noise import FLOAT32, FLOAT64, Precision, bounds, difference

__all__ = ["check_file"]

STEPS = 40
HARD_SIGMOID = 0.2  # slope before Keras 3, which has 1/6
PLAIN = {
    "GRUCell",
    "LSTMCell",
    "SimpleRNNCell",
    "Sequential",
    "Functional",
    "Model",
    "__keras_tensor__",
    "DTypePolicy",
}
SETTINGS = ("keras.initializers", "keras.regularizers", "keras.constraints")


def _harmless(config: Any, known: frozenset[str]) -> bool:
    """Return whether Keras would build nothing from a configuration but its own layers and settings."""
    if isinstance(config, list):
        return all(_harmless(value, known) for value in config)
    if not isinstance(config, dict):
        return True
    kind, module = config.get("class_name"), config.get("module")
    if kind is not None and kind not in known | PLAIN and module not in SETTINGS:
        return False
    return all(_harmless(value, known) for key, value in config.items() if key != "compile_config")


def _double(config: Any, old: bool) -> Any:
    """Copy a configuration with every type float64, and what old files leave to their defaults."""
    if isinstance(config, list):
        return [_double(value, old) for value in config]
    if not isinstance(config, dict):
        return config
    made = {key: _double(value, old) for key, value in config.items()}
    if made.get("dtype") is not None:
        made["dtype"] = "float64"
    settings = made.get("config")
    if old and made.get("class_name") == "GRU" and isinstance(settings, dict):
        settings.setdefault("reset_after", False)
    return made


def _copy(path: pathlib.Path, file: KerasFile, folder: str, old: bool) -> pathlib.Path:
    """Write the float64 copy of a file."""
    config = json.dumps(_double(file.config, old))
    if not zipfile.is_zipfile(path):
        import h5py  # type: ignore[import-untyped]

        copy = pathlib.Path(folder) / "copy.h5"
        shutil.copy(path, copy)
        with h5py.File(copy, "r+") as data:
            data.attrs["model_config"] = config
        return copy
    copy = pathlib.Path(folder) / "copy.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in ("metadata.json", "model.weights.h5"):
            target.writestr(name, source.read(name))
        target.writestr("config.json", config)
    return copy


@contextmanager
def _float64(keras: Any) -> Iterator[None]:
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _precision(keras: Any) -> Precision:
    """Find out what Keras makes of float64: on some backends its products are float32."""
    a = np.random.default_rng(0).normal(size=(4, 4))
    away = np.abs(keras.ops.convert_to_numpy(keras.ops.matmul(a, a)) - a @ a).max()
    return FLOAT64 if away < FLOAT64.floor / 100 else FLOAT32


def _set_hard_sigmoid(keras: Any, reference: Any) -> None:
    """Give every layer the hard sigmoid that its file was trained with."""

    def hard_sigmoid(x: Any) -> Any:
        return keras.ops.clip(HARD_SIGMOID * x + 0.5, 0.0, 1.0)

    for layer in reference._flatten_layers():
        part = getattr(layer, "cell", layer)
        for name in ("activation", "recurrent_activation"):
            if getattr(part, name, None) is keras.activations.hard_sigmoid:
                setattr(part, name, hard_sigmoid)


def _begins(keras: Any, reference: Any, model: Model, x: FloatArray, precision: Precision) -> str:
    """Name the first recurrent layer whose outputs differ, and the step."""
    ours = {layer.name: layer for layer in model.layers if isinstance(layer, Recurrent)}
    if any(layer.reverse for layer in ours.values()):
        return ""
    trace: dict[str, list[FloatArray]] = {}
    model.run(x, trace=trace)
    limits = bounds(model, x, precision)
    for layer in reference.layers:
        if layer.name in ours and layer.output.shape[1:2] != layer.output.shape[-1:]:
            part = keras.Model(reference.inputs, layer.output)
            theirs = np.asarray(part.predict_on_batch(x), dtype=np.float64)
            got = np.stack(trace[layer.name], axis=1)
            if theirs.shape == got.shape:
                found = difference(got, theirs, limits[layer.name])
                if not found.fits:
                    return f"; the difference begins in {layer.name} at step {found.step}"
    return ""


def check_file(
    path: pathlib.Path,
    file: KerasFile,
    model: Model,
    known: frozenset[str],
    *,
    softmax: bool,
    flipped: bool,
    first: bool,
) -> tuple[str, tuple[str, ...]]:
    """Run the file in Keras on random input.

    Parameters
    ----------
    path, file, model
        The file, what it says, and what was made of it.
    known : frozenset of str
        Classes of layers that Keras may build.
    softmax : bool
        The file's model ends in a softmax that ours leaves out.
    flipped, first : bool
        It gives the sequence end first; where it gives one step, that is our first.

    Returns
    -------
    (note, not_compared)

    Raises
    ------
    CheckError
        Keras gives something else.
    """

    def not_checked(reason: str, warning: str = "warning: ") -> tuple[str, tuple[str, ...]]:
        return f"{warning}not checked against Keras: {reason}", (
            f"the import with Keras: {reason}",
        )

    # Never start TensorFlow by surprise: use what the caller runs already, or PyTorch.
    if "keras" not in sys.modules:
        if not (importlib.util.find_spec("keras") and importlib.util.find_spec("torch")):
            return not_checked("Keras with PyTorch is not installed", "")
        os.environ.setdefault("KERAS_BACKEND", "torch")
    if not _harmless(file.config, known):
        return not_checked("the file names objects of other modules")
    major = file.version.partition(".")[0]
    old = not (major.isdigit() and int(major) >= 3)
    where = ""
    try:
        import keras  # type: ignore[import-not-found]

        with _float64(keras), tempfile.TemporaryDirectory() as folder:
            reference = keras.saving.load_model(
                _copy(path, file, folder, old), compile=False, safe_mode=True
            )
            if old:
                _set_hard_sigmoid(keras, reference)
            shape = reference.input_shape
            size = (shape[0] or 2, shape[1] or STEPS, model.input_size)
            # Keras may hand an input on in float32 whatever its layers compute in
            x = np.random.default_rng(0).normal(size=size).astype(np.float32).astype(np.float64)
            expected = np.asarray(reference.predict_on_batch(x), dtype=np.float64)
            precision = _precision(keras)
            y, limit = model.run(x), bounds(model, x, precision)[""]
            if softmax:
                y = np.exp(log_softmax(y))
            if expected.ndim == 2:
                step = 0 if first else -1
                y, expected, limit = y[:, [step]], expected[:, None], limit[[step]]
            elif flipped:
                y, limit = y[:, ::-1], limit[::-1]
            if y.shape != expected.shape:
                raise CheckError(
                    f"{path.name}: the imported model gives shape {y.shape}, Keras {expected.shape}; "
                    "please report the file"
                )
            found = difference(y, expected, limit)
            if not found.fits:
                where = _begins(keras, reference, model, x, precision)
    except CheckError:
        raise
    except Exception as error:  # whatever a broken installation or an older file brings
        return not_checked(f"{type(error).__name__}: {error}"[:250])
    if not found.fits:
        report = "; please report the file" if found.step == 0 else ""
        raise CheckError(
            f"{path.name}: compared with Keras in {precision.name} on random input, the imported model {found}"
            f"{where}{report}"
        )
    return f"checked against Keras {keras.__version__} in {precision.name}: {found}", ()
