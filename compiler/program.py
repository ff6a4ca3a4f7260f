"""A program: a quantized network laid out on an engine, and its folder on disk."""

from __future__ import annotations

import hashlib
import json
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import golden
from .cells import CELLS
from .config import Config
from .errors import InputError
from .fixed import Format, IntArray
from .images import Images, build, hex_lines
from .model import FloatArray, Model
from .network import Network, Numbers, QGate, QLayer
from .quantizer import LINEAR_GATE, RECIPES, calibrate, quantize_network
from .schedule import Geometry, Schedule, choose_geometry, choose_lanes

__all__ = ["SCHEMA", "Program", "quantize"]

SCHEMA = 1
DEFAULT_LANES = 24
TRIAL_STEPS = 10_000  # calibration steps on which rounding recipes are compared
ARRAYS = (
    "w",
    "u",
    "w_frac",
    "u_frac",
    "shift_input",
    "shift_recurrent",
    "bias_input",
    "bias_recurrent",
)


class Program:
    """A quantized network on an engine.

    Parameters
    ----------
    network : Network
    config : Config
        ``lanes`` 0 chooses: enough for ``rate`` steps per second at ``clock`` where a rate is
        given, else the best number up to 24.
    quality : dict, optional
        What the quantizer measured (error against float, saturations), for reports.

    Attributes
    ----------
    geometry : Geometry
    schedule : Schedule
    """

    def __init__(
        self, network: Network, config: Config, quality: dict[str, Any] | None = None
    ) -> None:
        self.network, self.config = network, config
        self.quality = quality or {}
        lanes = config.lanes or self._choose_lanes()
        self.geometry: Geometry = choose_geometry(network, lanes)
        self.schedule = Schedule(network, self.geometry)

    def _choose_lanes(self) -> int:
        if not self.config.rate:
            return choose_lanes(self.network, DEFAULT_LANES)
        budget = self.config.clock / self.config.rate
        lanes = max(1, int(np.ceil(self.network.macs / max(budget, 1.0))))
        while lanes <= 4096:
            if Schedule(self.network, choose_geometry(self.network, lanes)).cycles()[0] <= budget:
                return lanes
            lanes = max(lanes + 1, int(lanes * 1.05))
        raise InputError(
            f"{self.config.rate:g} steps per second at {self.config.clock:g} Hz leave {budget:.0f} cycles "
            "a step, too few for this network on any engine; lower the rate or raise the clock"
        )

    @cached_property
    def images(self) -> Images:
        """Memory contents."""
        return build(self.schedule)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides the hardware's behaviour, in hex."""
        text = json.dumps(self._describe(), sort_keys=True)
        sha = hashlib.sha256(text.encode())
        for name, array in self._arrays().items():
            sha.update(name.encode() + str(array.shape).encode())
            sha.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return sha.hexdigest()

    # -- running --------------------------------------------------------------

    def encode(self, x: npt.ArrayLike) -> IntArray:
        """Quantize input values, shape (N, T, I) or (T, I), to codes (N, T, I)."""
        data = np.asarray(x, dtype=np.float64)
        data = data[None] if data.ndim == 2 else data
        if data.ndim != 3 or data.shape[2] != self.network.input_size:
            raise InputError(
                f"x has shape {np.shape(x)}, expected (steps, {self.network.input_size}) or "
                f"(sequences, steps, {self.network.input_size})"
            )
        if not np.isfinite(data).all():
            index = [int(i) for i in np.argwhere(~np.isfinite(data))[0]]
            raise InputError(f"x holds {data[tuple(index)]} at {index}; inputs must be finite")
        return self.network.input_format.quantize(data)

    def decode(self, codes: IntArray) -> FloatArray:
        """Return the values of output codes, shape (..., outputs)."""
        return codes * self.network.output_steps

    def run(self, x: npt.ArrayLike, state: golden.State | None = None) -> FloatArray:
        """Evaluate the golden model on values.

        Parameters
        ----------
        x : array_like, shape (N, T, I) or (T, I)
        state : State, optional
            Default zero.

        Returns
        -------
        ndarray of float64, shape (N, T, outputs) or (T, outputs)
        """
        out = self.decode(golden.run(self.network, self.encode(x), state).outputs)
        return out[0] if np.ndim(x) == 2 else out

    # -- summary --------------------------------------------------------------

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Sizes and cycles, as ``quantize --json`` prints them."""
        steady, latency = self.schedule.cycles()
        images = self.images
        return {
            "digest": self.digest,
            "macs_per_step": self.network.macs,
            "cycles_per_step": steady,
            "latency_cycles": latency,
            "lanes": self.geometry.lanes,
            "split": self.geometry.split,
            "beat": self.geometry.beat,
            "utilization": round(self.network.macs / (self.geometry.lanes * steady), 4),
            "weight_rom_bits": len(images.weights) * images.weight_width,
            "beat_rom_bits": len(images.beats) * images.beat_width,
            "accumulator_bits": self.network.bounds()[0],
            "sum_bits": self.network.bounds()[1],
            **self.quality,
        }

    # -- disk -----------------------------------------------------------------

    def _describe(self) -> dict[str, Any]:
        net, n = self.network, self.network.numbers
        return {
            "schema": SCHEMA,
            "config": self.config.to_json(),
            "geometry": self.geometry._asdict(),
            "input": {"size": net.input_size, "format": net.input_format.to_json()},
            "outputs": list(net.outputs),
            "numbers": {name: getattr(n, name) for name in n.__dataclass_fields__},
            "layers": [
                {
                    "name": layer.name, "cell": layer.cell, "size": layer.size,
                    "inputs": list(layer.inputs), "frac": layer.frac,
                    "activations": {g.gate.name: g.act for g in layer.gates},
                }
                for layer in net.layers
            ],
        }  # fmt: skip

    def _arrays(self) -> dict[str, IntArray]:
        out = {}
        for layer in self.network.layers:
            for g in layer.gates:
                for name in ARRAYS:
                    array = getattr(g, name)
                    if array is not None:
                        out[f"{layer.name}/{g.gate.name}/{name}"] = array
        return out

    def save(self, folder: str | Path) -> None:
        """Write ``program.json``, ``weights.npz``, ``weights.hex`` and ``beats.hex``.

        The folder appears whole or not at all, with the same bytes for the same program.
        """
        from .data import atomic_folder

        description = self._describe() | {
            "digest": self.digest,
            "summary": self.summary,
            "beat_layout": {
                k: [f.offset, f.width, f.base, int(f.signed)] for k, f in self.images.layout.items()
            },
        }
        with atomic_folder(folder, marker="program.json") as tmp:
            (tmp / "program.json").write_text(
                json.dumps(description, indent=1, sort_keys=True) + "\n"
            )
            _write_npz(tmp / "weights.npz", self._arrays())
            (tmp / "weights.hex").write_text(
                hex_lines(self.images.weights, self.images.weight_width)
            )
            (tmp / "beats.hex").write_text(hex_lines(self.images.beats, self.images.beat_width))

    @classmethod
    def load(cls, folder: str | Path) -> Program:
        """Read what :meth:`save` wrote, and check its digest.

        Raises
        ------
        InputError
            Missing or damaged file, another schema, a digest that does not match.
        """
        folder = Path(folder)
        path = folder / "program.json"
        again = f"write the program again with: gatewright quantize MODEL -o {folder}"
        if not path.is_file():
            raise InputError(f"{folder} is not a program folder: it has no program.json; {again}")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.get("schema") != SCHEMA:
                raise InputError(
                    f"{path} has schema {data.get('schema')!r}, this version reads {SCHEMA}; {again}"
                )
            with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
                program = cls._build(data, {name: arrays[name] for name in arrays.files})
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"cannot read {folder}: {error}; {again}") from error
        except (
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            AttributeError,
            OverflowError,
            zipfile.BadZipFile,
            MemoryError,
        ) as error:
            raise InputError(
                f"{folder} is damaged ({type(error).__name__}: {error}); {again}"
            ) from error
        if program.digest != data.get("digest"):
            raise InputError(
                f"{folder} is damaged: its digest is {program.digest[:16]}, program.json says "
                f"{str(data.get('digest'))[:16]}; {again}"
            )
        return program

    @classmethod
    def _build(cls, data: dict[str, Any], arrays: dict[str, IntArray]) -> Program:
        layers = []
        for item in data["layers"]:
            if item["cell"] == "linear":
                gates = (LINEAR_GATE,)
            elif item["cell"] in CELLS:
                gates = CELLS[item["cell"]].gates
            else:
                raise InputError(
                    f"layer {item['name']!r} has cell {item['cell']!r}, which this version lacks"
                )
            made = []
            for gate in gates:
                found = {n: arrays.get(f"{item['name']}/{gate.name}/{n}") for n in ARRAYS}
                made.append(QGate(gate, item["activations"][gate.name], **found))
            layers.append(
                QLayer(
                    item["name"],
                    item["cell"],
                    int(item["size"]),
                    tuple(item["inputs"]),
                    tuple(made),
                    int(item["frac"]),
                )
            )
        network = Network(
            int(data["input"]["size"]), Format.from_json(data["input"]["format"]), tuple(layers),
            tuple(data["outputs"]), Numbers(**data["numbers"]),
        )  # fmt: skip
        config = Config.from_json(data["config"])
        summary = data.get("summary", {})
        quality = {k: summary[k] for k in ("error", "saturations", "calibration") if k in summary}
        return cls(network, config, quality)


def _write_npz(path: Path, arrays: dict[str, IntArray]) -> None:
    """Write an ``.npz`` with no dates in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as file:
                small = array.astype(np.int16) if name.endswith(("/w", "/u")) else array
                np.lib.format.write_array(file, np.ascontiguousarray(small), allow_pickle=False)


def quantize(
    model: Model,
    calibration: npt.ArrayLike | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
) -> Program:
    """Quantize a float model and lay it out on an engine.

    Parameters
    ----------
    model : Model
    calibration : array_like, shape (N, T, I) or (T, I), optional
        Data the formats are chosen on. Without it, normally distributed input is assumed
        and ``program.quality['calibration']`` says so.
    config : Config, optional
        Default: every default of :class:`~.config.Config`.
    lengths : array_like of int, shape (N,), optional
        True length of each zero-padded calibration sequence.

    Returns
    -------
    Program
        With ``quality``: ``error`` (max and mean of the difference to the float model on the
        calibration data), ``saturations`` by place, and ``calibration``.

    """
    config = config or Config()
    measured = calibrate(model, calibration, lengths)
    x, valid, reference = measured.data, measured.valid, model.run(measured.data)
    part = slice(None, max(1, TRIAL_STEPS // max(1, x.shape[1])))
    tried: list[tuple[float, Network]] = []
    for recipe in RECIPES[config.rounding]:
        network = quantize_network(model, config, measured, recipe)
        trial = golden.run(network, network.input_format.quantize(x[part]))
        off = (trial.outputs * network.output_steps - reference[part])[valid[part]]
        tried.append((float(np.mean(off**2)) if off.size else 0.0, network))
    network = min(tried, key=lambda pair: pair[0])[1]
    result = golden.run(network, network.input_format.quantize(x))
    difference = np.abs(result.outputs * network.output_steps - reference)[valid]
    places = sorted(result.saturations)
    quality = {
        "calibration": "synthetic" if measured.synthetic else "data",
        "error": {"max": float(difference.max(initial=0.0)), "mean": float(difference.mean())},
        "saturations": {p: [result.saturations[p], result.narrowings[p]] for p in places},
    }
    return Program(network, config, quality)
