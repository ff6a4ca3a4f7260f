"""Imitate a radio power amplifier: a published model, its measured data, and its error.

The model (TRes-GRU of OpenDPD) predicts the output of a 200 MHz amplifier from its input, both
complex baseband signals. It is a sum of two paths::

    features(iq) -> GRU 6 -> 37 -> Linear 37 -> 2     the core, which goes to hardware
    iq -> two small convolutions                      the skip, computed here

Errors are tiny (one part in 10,000 of the power), so coarse weights show at once.

Run ``python -m gatewright.examples.opendpd.amplifier -o FOLDER`` for the files that the
``gatewright`` commands take, and again with ``--score Y`` for the error of their output.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from ...compiler.errors import InputError
from ...compiler.files.recording import read_x
from ...compiler.ir.model import Linear, Model, Recurrent

__all__ = [
    "SETTLING",
    "Samples",
    "core_model",
    "features",
    "load_recording",
    "main",
    "nmse_db",
    "skip",
]

FloatArray = npt.NDArray[np.float64]

FOLDER = Path(__file__).parent
REACH = 16
"""Samples that the skip looks ahead, and back."""
SETTLING = 100
"""First samples that a score may leave out: there the GRU still comes from state 0."""


class Samples(NamedTuple):
    """The recording, trimmed.

    Parameters
    ----------
    test : numpy.ndarray of float64, shape (20016, 2)
        Amplifier input, I and Q: the first 20,000 samples of the test part and
        :data:`REACH` more, which the features and the skip of the last ones need.
    target : numpy.ndarray of float64, shape (20000, 2)
        Measured amplifier output for the first 20,000 of ``test``.
    calibration : numpy.ndarray of float64, shape (8000, 2)
        Amplifier input: the first samples of the training part.
    """

    test: FloatArray
    target: FloatArray
    calibration: FloatArray


def load_recording() -> Samples:
    """Read the trimmed recording."""
    with np.load(FOLDER / "recording.npz") as file:
        parts = (file[key].astype(np.float64) for key in ("x_test", "y_test", "x_train"))
        return Samples(*parts)


def features(iq: npt.ArrayLike) -> FloatArray:
    """Make the inputs of the core: I, Q, a, a**3 and the next sample's I, Q; a = abs(I + jQ).

    Parameters
    ----------
    iq : array_like, shape (T, 2)

    Returns
    -------
    numpy.ndarray, shape (T, 6)
        The last sample's "next" is the first one, as in training; to score a cut from a longer
        signal, give at least one sample more and drop the last row.
    """
    iq = np.asarray(iq, dtype=np.float64)
    a = np.hypot(iq[:, :1], iq[:, 1:])
    return np.concatenate([iq, a, a**3, np.roll(iq, -1, axis=0)], axis=1)


def skip(iq: npt.ArrayLike) -> FloatArray:
    """Compute the path around the core.

    A convolution 2 -> 3 over samples k-16, k and k+16 (zeros beyond the ends), then 3 -> 2 on
    each sample; hard swish, v * clip(v + 3, 0, 6) / 6, after both. No biases.

    Parameters
    ----------
    iq : array_like, shape (T, 2)

    Returns
    -------
    numpy.ndarray, shape (T, 2)
        The last :data:`REACH` rows of a cut lack the samples that follow.
    """
    iq = np.asarray(iq, dtype=np.float64)
    weights = _weights()
    first, second = weights["backbone.tcn.0.weight"], weights["backbone.tcn.2.weight"]
    padded = np.pad(iq, ((REACH, REACH), (0, 0)))
    taps = (padded[tap * REACH :][: len(iq)] @ first[:, :, tap].T for tap in range(3))
    return _hard_swish(_hard_swish(sum(taps, np.zeros(1))) @ second[:, :, 0].T)


def _hard_swish(v: FloatArray) -> FloatArray:
    return v * np.clip(v + 3, 0, 6) / 6


def nmse_db(prediction: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """Give the power of the error over the power of the target, in dB.

    Parameters
    ----------
    prediction, target : array_like, shape (T, 2)
    """
    target = np.asarray(target, dtype=np.float64)
    error = np.asarray(prediction, dtype=np.float64) - target
    return float(10 * np.log10((error**2).sum() / (target**2).sum()))


def core_model() -> Model:
    """Give the recurrent path: GRU 6 -> 37 and Linear 37 -> 2, both without biases."""
    weights = _weights()
    # PyTorch stacks the gates' rows in this order.
    w, u = (
        dict(zip("rzn", np.split(weights[f"backbone.rnn.weight_{part}_l0"], 3), strict=True))
        for part in ("ih", "hh")
    )
    head = weights["backbone.fc_out.weight"]
    return Model(
        input_size=6,
        layers=(
            Recurrent("gru", "gru", ("x",), size=37, input_size=6, w=w, u=u),
            Linear("head", ("gru",), head),
        ),
        source="OpenDPD apa-200mhz-b-pa-v6",
    )


def _weights() -> dict[str, FloatArray]:
    with np.load(FOLDER / "apa-200mhz-b-pa-v6.npz") as file:
        return {key: file[key].astype(np.float64) for key in file.files}


def main(arguments: list[str] | None = None) -> None:
    """Write the core and its data as files that gatewright reads, or score an output."""
    parser = argparse.ArgumentParser(description="The power amplifier example.")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("-o", "--output", type=Path, help="folder to write to")
    task.add_argument("--score", type=Path, metavar="Y", help="outputs for test.npy, .npy or .csv")
    given = parser.parse_args(arguments)

    samples = load_recording()
    steps = len(samples.target)
    if given.score:
        try:
            core = read_x(given.score, 2).x
            if core.shape != samples.target.shape:
                raise InputError(f"{given.score} has shape {core.shape}, not {(steps, 2)}")
        except InputError as error:
            parser.error(str(error))
        prediction = core + skip(samples.test)[:steps]
        print(
            f"NMSE {nmse_db(prediction, samples.target):.2f} dB over {steps} samples, "
            f"{nmse_db(prediction[SETTLING:], samples.target[SETTLING:]):.2f} dB "
            f"without the first {SETTLING}"
        )
        return

    given.output.mkdir(parents=True, exist_ok=True)
    np.save(given.output / "calibration.npy", features(samples.calibration))
    np.save(given.output / "test.npy", features(samples.test)[:steps])
    weights = _weights()
    names = {
        "gru.weight_ih_l0": "backbone.rnn.weight_ih_l0",
        "gru.weight_hh_l0": "backbone.rnn.weight_hh_l0",
        "head.weight": "backbone.fc_out.weight",
    }
    tensors = {new: weights[old].astype(np.float32) for new, old in names.items()}
    save_file(tensors, given.output / "model.safetensors")


if __name__ == "__main__":
    main()
