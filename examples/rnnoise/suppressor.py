"""Suppress noise in speech: RNNoise v0.1, its shipped 8-bit weights untouched, in fixed point.

The network reads 42 features of a 10 ms frame and gives gains of 22 bands and a voice
probability; the signal processing around it stays on the host. States reach 17.8 and features
51, so every vector gets its own range from calibration.

Run ``python -m gatewright.examples.rnnoise.suppressor -o FOLDER``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...compiler.config import Config
from ...compiler.errors import GatewrightError
from ...compiler.frontends.rnnoise import load_rnnoise
from ...compiler.ir.model import Model
from ...compiler.quantizer.pipeline import quantize_stream
from ...compiler.report.style import need_plots

__all__ = [
    "BANDS",
    "WIDTHS",
    "Errors",
    "Recording",
    "calibration",
    "errors",
    "load_recordings",
    "main",
    "network",
    "plot",
]

FloatArray = npt.NDArray[np.float64]

FOLDER = Path(__file__).parent
BANDS = 22
RATE = 100  # frames per second
WIDTHS = Config(activation_bits=14)
"""The least widths with a gain error of at most 0.025, in the mean 0.0015, and no voice flip."""
# Where bands are centred, in kHz (eband5ms of RNNoise's denoise.c, in units of 200 Hz).
CENTRES = np.array(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 34, 40, 48, 60, 78, 100]
) / 5  # fmt: skip
COLOURS = ("#d9772b", "#2563a8", "#4a9d6f", "#9aa4b2")


class Recording(NamedTuple):
    """Result of the C reference on one recording.

    Parameters
    ----------
    features : numpy.ndarray of float64, shape (T, 42)
        Input of the network.
    gains : numpy.ndarray of float64, shape (T, 22)
        Gains of the bands, 0 to 1.
    vad : numpy.ndarray of float64, shape (T,)
        Voice probability.
    """

    features: FloatArray
    gains: FloatArray
    vad: FloatArray


class Errors(NamedTuple):
    """Distance to the reference.

    Parameters
    ----------
    gain : numpy.ndarray, shape (T, 22)
        Absolute error of every gain.
    vad : numpy.ndarray, shape (T,)
        Absolute error of the voice probability.
    flips : int
        Frames that are voice (above 0.5) on one side only.
    """

    gain: FloatArray
    vad: FloatArray
    flips: int

    def __str__(self) -> str:
        return (
            f"gain error max {self.gain.max():.4f} mean {self.gain.mean():.5f}, "
            f"voice probability error max {self.vad.max():.4f}, {self.flips} voice flips"
        )


def network() -> Model:
    """Give the network with the weights as shipped."""
    return load_rnnoise(FOLDER / "rnnoise_v0.1_int8.npz")


def load_recordings() -> dict[str, Recording]:
    """Read the recordings, ``speech`` and ``noisy``."""
    with np.load(FOLDER / "recording.npz") as file:
        return {
            name: Recording(
                *(file[f"{name}_{part}"].astype(np.float64) for part in Recording._fields)
            )
            for name in ("speech", "noisy")
        }


def calibration(recordings: Mapping[str, Recording]) -> FloatArray:
    """Give the features of all recordings: ranges must cover every recording that will come."""
    return np.concatenate([recording.features for recording in recordings.values()])


def errors(outputs: npt.ArrayLike, recording: Recording) -> Errors:
    """Compare outputs, shape (T, 23), gains first, with a recording."""
    y = np.asarray(outputs, dtype=np.float64)
    gains, vad = y[:, :BANDS], y[:, BANDS]
    return Errors(
        np.abs(gains - recording.gains),
        np.abs(vad - recording.vad),
        int(((vad > 0.5) != (recording.vad > 0.5)).sum()),
    )


def plot(found: Mapping[str, Errors], path: str | Path) -> None:
    """Draw the gain error over time and per band.

    Parameters
    ----------
    found : mapping of str -> Errors
        By what the legend says of them, on one recording.
    path : path
        Ends in ``.png`` or ``.svg``.

    Raises
    ------
    MissingToolError
        Matplotlib is not installed.
    """
    need_plots()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    time, band = figure.subplots(2, 1)
    style: Any = {"linewidth": 1.2, "alpha": 0.9}
    for (name, each), colour in zip(found.items(), COLOURS, strict=False):
        t = np.arange(len(each.gain)) / RATE
        time.semilogy(t, each.gain.max(axis=1), color=colour, label=name, **style)
        band.semilogy(each.gain.max(axis=0), ".-", color=colour, **style)
        band.semilogy(each.gain.mean(axis=0), ".:", color=colour, **style)
    time.set(
        title="Gain error of each frame, largest of 22 bands", xlabel="time, s", ylabel="error"
    )
    title = "Gain error of each band: largest (solid) and mean (dotted) of all frames"
    band.set(title=title, xlabel="band centre, kHz", ylabel="error")
    band.set_xticks(range(BANDS), [f"{centre:g}" for centre in CENTRES])
    for axes in (time, band):
        axes.grid(color="#e6e9ee")
        axes.spines[["top", "right"]].set_visible(False)
    time.legend(title="operands", frameon=False, fontsize=8, ncols=4, loc="lower right")
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> None:
    """Quantize, compare with the C reference, write a plot and the files for the commands."""
    parser = argparse.ArgumentParser(description="The noise suppression example.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    recordings = load_recordings()
    features = calibration(recordings)
    shutil.copy(FOLDER / "rnnoise_v0.1_int8.npz", given.output / "model.npz")
    np.save(given.output / "features.npy", features)
    found: dict[str, dict[str, Errors]] = {name: {} for name in recordings}
    for bits in (12, 14, 16):
        program = quantize_stream(
            network(), features, Config(activation_bits=bits, rounding="nearest")
        )
        print(f"operands of {bits} bits, {program.schedule.cycles()[0]} cycles a frame on "
              f"{program.geometry.lanes} lanes")  # fmt: skip
        for name, recording in recordings.items():
            each = errors(program.run(recording.features), recording)
            found[name][f"{bits} bits"] = each
            print(f"  {name}: {each}")
    for name, by_width in found.items():
        try:
            plot(by_width, given.output / f"{name}.png")
        except GatewrightError as error:
            parser.exit(3, f"error: {error}\n")
        print(f"wrote {given.output / name}.png")


if __name__ == "__main__":
    main()
