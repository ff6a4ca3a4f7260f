"""A program: a quantized network laid out on an engine, and its folder on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import golden
from .calibration import calibrate, calibration_data
from .cells import CELLS, Gate
from .config import Config
from .errors import InputError
from .fixed import Format, IntArray
from .geometry import Geometry, choose_geometry, choose_lanes
from .hardware import Hardware, differences
from .hardware import digest as hardware_digest
from .images import Images, hex_files
from .model import FloatArray, Model, check_lengths
from .network import Network, Numbers, QGate, QLayer
from .program_file import SCHEMA, check_digest, damaged, read_description, write_npz
from .quantizer import LINEAR_GATE, Like
from .schedule import Schedule
from .trials import Trials

if TYPE_CHECKING:
    from .chain import Chain

__all__ = ["Program", "quantize", "quantize_stream", "scale_features"]

DEFAULT_LANES = 24
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
    exponents : tuple of int
        Feature i of x is divided by ``2**exponents[i]`` before it is quantized; empty: none is.
    geometry : Geometry
    schedule : Schedule
    hardware : Hardware
        Widths of the datapath and of the beat table's fields.
    """

    def __init__(
        self,
        network: Network,
        config: Config,
        quality: dict[str, Any] | None = None,
        hardware: Hardware | None = None,
    ) -> None:
        self.network, self.config = network, config
        self.exponents: tuple[int, ...] = ()
        self.quality = quality or {}
        self._given = hardware
        lanes = config.lanes or self._choose_lanes()
        self.geometry: Geometry = choose_geometry(network, lanes)
        self.schedule = Schedule(network, self.geometry)

    def with_lanes(self, lanes: int) -> Program:
        """Return the same network on another engine; its outputs are the same."""
        program = Program(self.network, replace(self.config, lanes=lanes), self.quality)
        program.exponents = self.exponents
        return program

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

    @property
    def passes(self) -> tuple[Program, ...]:
        """The programs that sequences are walked through: this one. See :class:`~.chain.Chain`."""
        return (self,)

    @property
    def input_size(self) -> int:
        """Number of features of x."""
        return self.network.input_size

    @property
    def input_format(self) -> Format:
        """Format of one element of x."""
        return self.network.input_format

    @property
    def output_size(self) -> int:
        """Number of outputs of a step."""
        return self.network.output_size

    @cached_property
    def hardware(self) -> Hardware:
        """Widths of the datapath: the network's own, unless they were given."""
        return self._given or Hardware.of(self.network, self.schedule, self.config.spare)

    @cached_property
    def images(self) -> Images:
        """Memory contents."""
        return self.hardware.images(self.network, self.schedule)

    @cached_property
    def hardware_digest(self) -> str:
        """SHA-256, in hex, over all that the gateware depends on except its memories' contents.

        Programs of one hardware digest can be exchanged in a loadable core.
        """
        return hardware_digest(self)

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
        return encode(x, self.network.input_size, self.network.input_format, self.exponents)

    def decode(self, codes: IntArray) -> FloatArray:
        """Return the values of output codes, shape (..., outputs)."""
        return codes * self.network.output_steps

    def evaluate(
        self,
        codes: IntArray,
        state: golden.State | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> golden.Result:
        """Run the golden model on input codes (N, T, I).

        ``lengths`` changes nothing: a stream does not see the padding behind a sequence.
        """
        return golden.run(self.network, codes, state)

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
        out = self.decode(self.evaluate(self.encode(x), state).outputs)
        return out[0] if np.ndim(x) == 2 else out

    # -- summary --------------------------------------------------------------

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Sizes and cycles, as ``quantize --json`` prints them."""
        steady, latency = self.schedule.cycles()
        images = self.images
        return {
            "digest": self.digest,
            "hardware_digest": self.hardware_digest,
            "macs_per_step": self.network.macs,
            "cycles_per_step": steady,
            "latency_cycles": latency,
            "lanes": self.geometry.lanes,
            "split": self.geometry.split,
            "beat": self.geometry.beat,
            "utilization": round(self.network.macs / (self.geometry.lanes * steady), 4),
            "weight_rom_bits": images.weight_bits,
            "beat_rom_bits": len(images.beats) * images.beat_bits,
            "accumulator_bits": self.hardware.acc_bits,
            "sum_bits": self.hardware.sum_bits,
            **self.quality,
        }

    # -- disk -----------------------------------------------------------------

    def _describe(self) -> dict[str, Any]:
        net, n = self.network, self.network.numbers
        given = {"hardware": self._given.to_json()} if self._given else {}
        return given | {
            "schema": SCHEMA,
            "config": self.config.to_json(),
            "geometry": self.geometry._asdict(),
            "input": {
                "size": net.input_size, "format": net.input_format.to_json(),
                "exponents": list(self.exponents),
            },
            "outputs": list(net.outputs),
            "numbers": {name: getattr(n, name) for name in n.__dataclass_fields__},
            "layers": [
                {
                    "name": layer.name, "cell": layer.cell, "size": layer.size,
                    "inputs": list(layer.inputs), "frac": layer.frac,
                    "activations": {g.gate.name: g.act for g in layer.gates},
                    "weight_bits": {g.gate.name: g.bits for g in layer.gates},
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
        """Write ``program.json``, ``weights.npz`` and the memory images (:func:`~.images.hex_files`).

        The folder appears whole or not at all, with the same bytes for the same program.
        """
        from .data import atomic_folder

        description = self._describe() | {
            "digest": self.digest,
            "summary": self.summary,
            "beat_layout": {
                k: [f.offset, f.width, f.base, int(f.signed), f.part]
                for k, f in self.images.layout.items()
            },
        }
        with atomic_folder(folder, marker="program.json") as tmp:
            (tmp / "program.json").write_text(
                json.dumps(description, indent=1, sort_keys=True) + "\n"
            )
            write_npz(tmp / "weights.npz", self._arrays())
            for name, text in hex_files(self.images).items():
                (tmp / name).write_text(text)

    @classmethod
    def load(cls, folder: str | Path) -> Program:
        """Read what :meth:`save` wrote, and check its digest.

        Raises
        ------
        InputError
            Missing or damaged file, another schema, a digest that does not match.
        """
        folder = Path(folder)
        data = read_description(folder)
        if "passes" in data:
            raise InputError(
                f"{folder} holds a program of {len(data['passes'])} passes, for layers that walk "
                f"sequences from their end; name one of them, such as {folder / 'pass0'}"
            )
        with damaged(folder), np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            program = cls._build(data, {name: arrays[name] for name in arrays.files})
        check_digest(folder, program.digest, data)
        return program

    @classmethod
    def _build(cls, data: dict[str, Any], arrays: dict[str, IntArray]) -> Program:
        layers = []
        for item in data["layers"]:
            if item["cell"] == "linear":
                gates: tuple[Gate, ...] = (LINEAR_GATE,)
            elif item["cell"] in CELLS:
                gates = CELLS[item["cell"]].gates
            else:
                raise InputError(
                    f"layer {item['name']!r} has cell {item['cell']!r}, which this version lacks"
                )
            made = []
            for gate in gates:
                found: dict[str, Any] = {
                    n: arrays.get(f"{item['name']}/{gate.name}/{n}") for n in ARRAYS
                }
                bits = int(item["weight_bits"][gate.name])
                for weights in (found["w"], found["u"]):
                    limit = 1 << max(0, bits - 1)
                    if (
                        weights is not None
                        and not (-limit <= weights).all() & (weights < limit).all()
                    ):
                        raise ValueError(f"weights of {item['name']}.{gate.name} pass {bits} bits")
                made.append(QGate(gate, item["activations"][gate.name], bits=bits, **found))
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
        if config.argmax:
            network = network.with_argmax()
        summary = data.get("summary", {})
        quality = {k: summary[k] for k in ("error", "saturations", "calibration") if k in summary}
        given = Hardware.from_json(data["hardware"]) if "hardware" in data else None
        program = cls(network, config, quality, given)
        program.exponents = read_exponents(data)
        return program


def read_exponents(data: dict[str, Any]) -> tuple[int, ...]:
    """Read the exponents of the features from a description."""
    exponents = tuple(int(e) for e in data["input"]["exponents"])
    if len(exponents) not in (0, int(data["input"]["size"])):
        raise ValueError(f"{len(exponents)} exponents for {data['input']['size']} features")
    return exponents


def choose_exponents(x: FloatArray) -> tuple[int, ...]:
    """Choose binary points for features of very different range, shape (samples, features).

    One format serves all features unless their ranges differ by more than 2**8; then each is
    divided by the power of two above its largest magnitude. Empty: one format is enough.
    """
    largest = np.abs(x).max(axis=0, initial=0.0)
    if not largest.any():
        return ()
    integer = np.ceil(np.log2(np.where(largest > 0, largest, largest.max()))).astype(int)
    return tuple(integer.tolist()) if np.ptp(integer) > 8 else ()


def encode(x: npt.ArrayLike, size: int, fmt: Format, exponents: tuple[int, ...] = ()) -> IntArray:
    """Quantize values (N, T, size) or (T, size) to codes (N, T, size).

    Feature i is divided by ``2**exponents[i]`` first, where there are exponents.

    Raises
    ------
    InputError
        Another shape, or a value that is not finite.
    """
    data = np.asarray(x, dtype=np.float64)
    data = data[None] if data.ndim == 2 else data
    if data.ndim != 3 or data.shape[2] != size:
        raise InputError(
            f"x has shape {np.shape(x)}, expected (steps, {size}) or (sequences, steps, {size})"
        )
    if not np.isfinite(data).all():
        index = [int(i) for i in np.argwhere(~np.isfinite(data))[0]]
        raise InputError(f"x holds {data[tuple(index)]} at {index}; inputs must be finite")
    return fmt.quantize(data * 2.0 ** -np.array(exponents) if exponents else data)


def quantize(
    model: Model,
    calibration: npt.ArrayLike | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
    like: Program | None = None,
) -> Program | Chain:
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
    state : mapping of layer -> (h, c), shapes (N, H), optional
        State before the first step of each calibration sequence, as a decoder has it.
    like : Program, optional
        Take over formats, shifts and field widths of this program, so that the new one has the
        same ``hardware_digest`` and can be loaded into its core. ``config`` then defaults to its.
        Head room comes from the first program's ``Config(spare=...)``.

    Raises
    ------
    InputError
        The model does not fit in the hardware of ``like``, among others.

    Returns
    -------
    Program, or Chain where a layer walks sequences from their end
        With ``quality``: ``error`` (max and mean of the difference to the float model on the
        calibration data), ``saturations`` by place, and ``calibration``.
    """
    exponents: tuple[int, ...] = ()
    if calibration is not None:
        model, calibration, exponents = scale_features(model, calibration, lengths)
    if like is not None:
        config = config or like.config
        if not model.streams or not isinstance(like, Program):
            raise InputError(
                "like takes the place of one program; a model that walks sequences from their end "
                "has several: quantize it without"
            )
        program: Program | Chain = quantize_stream(
            model, calibration, config, lengths=lengths, state=state, like=like
        )
    else:
        program = _quantize_scaled(model, calibration, config, lengths, state)
    program.exponents = exponents
    return program


def scale_features(
    model: Model, calibration: npt.ArrayLike, lengths: npt.ArrayLike | None
) -> tuple[Model, FloatArray, tuple[int, ...]]:
    """Divide features of very different range by powers of two, see :func:`choose_exponents`.

    Returns
    -------
    (model, data, exponents)
        The model that reads scaled features, and the calibration data it reads, (N, T, I).
    """
    data = calibration_data(model, calibration)
    real = check_lengths(lengths, *data.shape[:2])
    valid = np.arange(data.shape[1]) < (data.shape[1] if real is None else real[:, None])
    exponents = choose_exponents(data[np.broadcast_to(valid, data.shape[:2])])
    if not exponents:
        return model, data, ()
    return model.with_input_scale(exponents), data * 2.0 ** -np.array(exponents), exponents


def _quantize_scaled(
    model: Model,
    calibration: npt.ArrayLike | None,
    config: Config | None,
    lengths: npt.ArrayLike | None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None,
) -> Program | Chain:
    """Quantize a model whose features are of like range."""
    if model.streams:
        return quantize_stream(model, calibration, config, lengths=lengths, state=state)
    if state is not None:
        raise InputError(
            "a model with a layer that walks sequences from their end starts from zero states; "
            "drop state="
        )
    from .passes import quantize_chain

    return quantize_chain(model, calibration, config, lengths=lengths)


def quantize_stream(
    model: Model,
    calibration: npt.ArrayLike | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
    input_format: Format | None = None,
    like: Program | None = None,
) -> Program:
    """Quantize a model that streams, as :func:`quantize` does.

    Parameters
    ----------
    input_format : Format, optional
        Format of x, where it is not to be chosen on the calibration data.
    like : Program, optional
        See :func:`quantize`.
    """
    config = config or Config()
    fixed = None
    if like is not None:
        config = replace(config, lanes=like.geometry.lanes)
        shifts = [f.base for name, f in like.hardware.layout.items() if "shift" in name]
        fixed = Like(like.network, max(shifts))
    measured = calibrate(model, calibration, lengths, state)
    network = Trials(model, measured, input_format, fixed).network(config)
    start = golden.State.encode(network, measured.state)
    result = golden.run(network, network.input_format.quantize(measured.data), start)
    difference = np.abs(result.outputs * network.output_steps - measured.reference)[measured.valid]
    if config.argmax:
        network = network.with_argmax()
    inputs = clipped_inputs(measured.data, network.input_format, measured.valid)
    quality = measured_quality(difference, result, measured.synthetic, inputs)
    if like is None:
        return Program(network, config, quality)
    program = Program(network, config, quality, like.hardware)
    unlike = differences(program, like)
    if unlike:
        raise InputError(
            f"the model does not fit in the hardware of the program: {'; '.join(unlike[:3])}; build a "
            "new bitstream"
        )
    return program


def clipped_inputs(
    x: FloatArray, fmt: Format, valid: npt.NDArray[np.bool_], exponents: tuple[int, ...] = ()
) -> dict[str, list[int]]:
    """Count the elements of x beyond the input format, as saturations are: ``{"x": [clipped, of]}``.

    Parameters
    ----------
    x : ndarray of float64, shape (N, T, I)
    fmt : Format
    valid : ndarray of bool, shape (N, T)
        Steps that are not padding.
    exponents : tuple of int
        As for :func:`encode`.

    Returns
    -------
    dict
        Empty where nothing is clipped.
    """
    codes = (x * 2.0 ** -np.array(exponents) if exponents else x)[valid] / fmt.step
    clipped = int(((codes < fmt.low - 0.5) | (codes >= fmt.high + 0.5)).sum())
    return {"x": [clipped, codes.size]} if clipped else {}


def measured_quality(
    difference: FloatArray,
    result: golden.Result,
    synthetic: bool,
    inputs: dict[str, list[int]],
) -> dict[str, Any]:
    """Say how far outputs are from the float model, and what was clipped on the way.

    ``inputs`` are those of :func:`clipped_inputs`.
    """
    return {
        "calibration": "synthetic" if synthetic else "data",
        "error": {"max": float(difference.max(initial=0.0)), "mean": float(difference.mean())},
        "saturations": {
            p: [result.saturations[p], result.narrowings[p]] for p in sorted(result.saturations)
        }
        | inputs,
    }
