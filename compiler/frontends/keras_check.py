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
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import CheckError
from ..ir.model import Model, Recurrent
from .graph_output import Output
from .keras_cells import plain_weights
from .keras_config import CELLS, CONSTANTS, CUDNN, MODELS
from .keras_file import KerasFile
from .noise import FLOAT32, FLOAT64, Precision, bounds, difference

__all__ = ["check_file"]

SEQUENCES, STEPS = 2, 40
HARD_SIGMOID = 0.2  # slope before Keras 3, which has 1/6
PLAIN = {
    *(f"{kind}Cell" for kind in CELLS),
    "StackedRNNCells",
    "InputLayer",
    *MODELS,
    *CONSTANTS,
    "__keras_tensor__",
    "__slice__",
    "__tuple__",
    "__ellipsis__",
    "DTypePolicy",
    "function",
}
SETTINGS = ("keras.initializers", "keras.regularizers", "keras.constraints")


def _harmless(config: Any, known: frozenset[str]) -> bool:
    """Return whether Keras would build nothing from a configuration but its own layers and settings."""
    if isinstance(config, list):
        return all(_harmless(value, known) for value in config)
    if not isinstance(config, dict):
        return True
    kind, module = config.get("class_name"), config.get("module")
    ours = module is None or str(module).split(".")[0] in ("keras", "builtins")
    if kind is not None and not (ours and kind in known | PLAIN) and module not in SETTINGS:
        return False
    return all(_harmless(value, known) for key, value in config.items() if key != "compile_config")


def _double(config: Any, old: bool) -> Any:
    """Copy a configuration for float64 and any number of sequences, with what old files leave out."""
    if isinstance(config, list):
        return [_double(value, old) for value in config]
    if not isinstance(config, dict):
        return config
    # Layers with time_major have been refused; Keras 3 does not know the setting.
    made = {key: _double(value, old) for key, value in config.items() if key != "time_major"}
    if made.get("dtype") is not None:
        made["dtype"] = "float64"
    for key in ("batch_shape", "batch_input_shape"):
        if isinstance(made.get(key), list) and len(made[key]) > 1:
            _, steps, *rest = made[key]
            made[key] = [None, None if steps == 1 else steps, *rest]
    if "stateful" in made:
        made["stateful"] = False
    kind, settings = made.get("class_name"), made.get("config")
    if kind in CUDNN and isinstance(settings, dict):
        made["class_name"] = CUDNN[kind]
        made["config"] = settings | ({"reset_after": True} if kind == "CuDNNGRU" else {})
    elif old and kind == "GRU" and isinstance(settings, dict):
        settings.setdefault("reset_after", False)
    return made


def _copy(path: pathlib.Path, file: KerasFile, folder: str) -> pathlib.Path:
    """Write the float64 copy of a file."""
    config = json.dumps(_double(file.config, file.old))
    if not zipfile.is_zipfile(path):
        import h5py  # type: ignore[import-untyped]

        copy = pathlib.Path(folder) / "copy.h5"
        shutil.copy(path, copy)
        with h5py.File(copy, "r+") as data:
            data.attrs["model_config"] = config
            for layer in file.model.leaves():
                for k, name in enumerate(layer.stored if layer.kind in CUDNN else ()):
                    del data[name]
                    data[name] = plain_weights(layer.kind, layer.weights)[k]
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


def _begins(
    keras: Any, reference: Any, model: Model, given: Any, x: FloatArray, precision: Precision
) -> str:
    """Name the first recurrent layer whose outputs differ, and the step."""
    ours = {layer.name: layer for layer in model.layers if isinstance(layer, Recurrent)}
    if any(layer.reverse for layer in ours.values()):
        return ""
    trace: dict[str, list[FloatArray]] = {}
    model.run(x, trace=trace)
    limits = bounds(model, x, precision)
    for layer in reference.layers:
        if (
            layer.name in ours
            and not isinstance(layer.output, list)
            and len(layer.output.shape) == 3
        ):
            part = keras.Model(reference.inputs, layer.output)
            theirs = np.asarray(part.predict_on_batch(given), dtype=np.float64)
            got = np.stack(trace[layer.name], axis=1)
            if theirs.shape == got.shape:
                found = difference(got, theirs, limits[layer.name])
                if not found.fits:
                    return f"; the difference begins in {layer.name} at step {found.step}"
    return ""


def _input(steps: int | None, features: list[int], model: Model) -> tuple[Any, FloatArray]:
    """Draw an input as Keras takes it, and as the model takes it."""
    rng = np.random.default_rng(0)
    size = (SEQUENCES, steps or STEPS)
    if features:
        # Keras may hand an input on in float32 whatever its layers compute in
        x = rng.normal(size=(*size, *features)).astype(np.float32).astype(np.float64)
        return x, x
    if model.input_size == 1:
        x = rng.normal(size=size).astype(np.float32).astype(np.float64)
        return x, x[..., None]
    tokens = rng.integers(1, model.input_size, size)  # a token 0 may be masked
    return tokens, np.eye(model.input_size)[tokens]


def check_file(
    path: pathlib.Path,
    file: KerasFile,
    model: Model,
    known: frozenset[str],
    steps: int | None,
    features: list[int],
    outputs: Callable[[tuple[int, ...]], Output],
) -> tuple[str, tuple[str, ...]]:
    """Run the file in Keras on random input.

    Parameters
    ----------
    path, file, model
        The file, what it says, and what was made of it.
    known : frozenset of str
        Classes of layers that Keras may build.
    steps : int or None
        Of the input; None where any number is taken.
    features : list of int
        Sizes of the input's axes behind the steps.
    outputs : callable
        Says what the file's own output holds for an input of a shape.

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
        return not_checked("the file names objects that are not Keras' own layers")
    where = ""
    given, x = _input(steps, features, model)
    try:
        import keras  # type: ignore[import-not-found]

        with _float64(keras), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = keras.saving.load_model(
                _copy(path, file, folder), compile=False, safe_mode=True
            )
            if file.old:
                _set_hard_sigmoid(keras, reference)
            answer = reference.predict_on_batch(given)
            while isinstance(answer, (list, tuple, dict)):
                answer = next(iter(answer.values() if isinstance(answer, dict) else answer))
            expected = np.asarray(answer, dtype=np.float64)
            precision = _precision(keras)
            y, limit = model.run(x), bounds(model, x, precision)[""]
            output = outputs(given.shape)
            if output.elements.shape != expected.shape:
                raise CheckError(
                    f"{path.name}: the imported model gives shape {output.elements.shape}, Keras "
                    f"{expected.shape}; please report the file"
                )
            got, want = (output.arranged(v, y) for v in (output.expected(y), expected))
            found = difference(got, want, limit)
            if not found.fits:
                where = _begins(keras, reference, model, given, x, precision)
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
