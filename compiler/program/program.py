"""A program: a quantized network laid out on an engine, and its folder on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray, IntArray
from ..config import LANES_MAX, Config
from ..errors import InputError
from ..files.budget import one_import
from ..files.npy import write_npz
from ..ir.network import QNetwork
from ..layout.choice import choose_geometry, choose_lanes, fewest_lanes
from ..layout.core_spec import CoreSpec, layout_json
from ..layout.core_spec import digest as hardware_digest
from ..layout.geometry import Geometry, shapes
from ..layout.images import MemoryImages, hex_files
from ..layout.schedule import Schedule
from ..numerics.fixed import Format
from ..shown import Shown
from .folder import (
    SCHEMA,
    check_digest,
    check_files,
    check_summary,
    damaged,
    quality_digest,
    read_arrays,
    read_description,
    read_quality,
)
from .inputs import encode, read_exponents
from .network_file import arrays, build_network, describe_network
from .states import StateLike, encode_state

__all__ = ["Program"]

DEFAULT_LANES = 24


class Program(Shown):
    """A quantized network on an engine.

    Parameters
    ----------
    network : QNetwork
    config : Config
        ``lanes`` 0 chooses: enough for ``rate`` steps per second at ``clock`` where a rate is
        given, else the best number up to 24.
    quality : dict, optional
        What the quantizer measured (error against float, saturations), for reports.
    hardware : CoreSpec, optional
        Widths to use in place of the fewest that the network needs.
    exponents : tuple of int
        Feature i of x is divided by ``2**exponents[i]`` before it is quantized; empty: none is.
    geometry : Geometry, optional
        Shape of the engine in place of the one that is chosen for ``config.lanes``.

    Attributes
    ----------
    geometry : Geometry
    schedule : Schedule
    hardware : CoreSpec
        Widths of the datapath and of the beat table's fields.
    """

    def __init__(
        self,
        network: QNetwork,
        config: Config,
        quality: dict[str, Any] | None = None,
        hardware: CoreSpec | None = None,
        exponents: tuple[int, ...] = (),
        geometry: Geometry | None = None,
    ) -> None:
        self.network, self.config = network, config
        self.exponents = exponents
        self.quality = quality or {}
        self._given = hardware
        if geometry is None:
            lanes = config.lanes or self._choose_lanes()
            geometry = choose_geometry(network, lanes, config.streams)
        self.geometry = geometry
        self.schedule = Schedule(network, geometry, config.streams)

    def with_lanes(self, lanes: int) -> Program:
        """Return the same network on another engine; its outputs are the same."""
        config = replace(self.config, lanes=lanes)
        return Program(self.network, config, self.quality, exponents=self.exponents)

    def _choose_lanes(self) -> int:
        if not self.config.rate:
            return choose_lanes(self.network, DEFAULT_LANES, self.streams)
        budget = self.config.clock / self.config.rate
        if lanes := fewest_lanes(self.network, budget, LANES_MAX, self.streams):
            return lanes
        raise InputError(
            f"{self.config.rate:g} steps per second at {self.config.clock:g} Hz leave {budget:.0f} cycles "
            "a step, too few for this network on any engine; lower the rate or raise the clock"
        )

    @property
    def streams(self) -> int:
        """Sequences that a core takes in turn."""
        return self.config.streams

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
    def hardware(self) -> CoreSpec:
        """Widths of the datapath: the network's own, unless they were given."""
        return self._given or CoreSpec.of(self.network, self.schedule, self.config.spare)

    @cached_property
    def images(self) -> MemoryImages:
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
        for name, array in arrays(self.network).items():
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

    def run(
        self,
        x: npt.ArrayLike,
        state: StateLike | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> FloatArray:
        """Evaluate the golden model on values.

        Parameters
        ----------
        x : array_like, shape (N, T, I) or (T, I)
        state : State, mapping or array_like, optional
            State before the first step, as codes or as values (:data:`~.states.StateLike`);
            default zero.
        lengths : array_like of int, shape (N,), optional
            As for a chain of programs; see :meth:`evaluate`.

        Returns
        -------
        ndarray of float64, shape (N, T, outputs) or (T, outputs)
        """
        codes = self.encode(x)
        start = None if state is None else encode_state(state, [self.network], len(codes))
        out = self.decode(self.evaluate(codes, start, lengths).outputs)
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
            **({"streams": self.streams} if self.streams > 1 else {}),
            "utilization": round(self.network.macs / (self.geometry.lanes * steady), 4),
            "weight_rom_bits": images.weight_bits,
            "beat_rom_bits": len(images.beats) * images.beat_bits,
            "accumulator_bits": self.hardware.acc_bits,
            "sum_bits": self.hardware.sum_bits,
            **self.quality,
        }

    def facts(self) -> dict[str, str]:
        """Return sizes, widths, cycles and digest."""
        s, n = self.summary, self.network.numbers
        return {
            "vectors": f"{self.input_size} -> {self.output_size}",
            "widths": f"{n.weight_bits}-bit weights, {self.config.activation_bits}-bit operands",
            "engine": f"{s['lanes']} lanes, {s['cycles_per_step']:,} cycles a step",
            "use": f"lanes {100 * s['utilization']:.0f} % busy",
            "memory": f"{s['weight_rom_bits']:,} bits of weights",
            "digest": self.digest[:16],
        }

    # -- disk -----------------------------------------------------------------

    def _describe(self) -> dict[str, Any]:
        given = {"hardware": self._given.to_json()} if self._given else {}
        return given | {
            "schema": SCHEMA,
            "config": self.config.to_json(),
            "geometry": self.geometry._asdict(),
            **describe_network(self.network, self.exponents),
        }

    def save(self, folder: str | Path) -> None:
        """Write ``program.json``, ``weights.npz`` and the memory images (:func:`~.images.hex_files`).

        The folder appears whole or not at all, with the same bytes for the same program.
        """
        from ..files.recording import atomic_folder

        description = self._describe() | {
            "digest": self.digest,
            "quality_digest": quality_digest(self.digest, self.quality),
            "summary": self.summary,
            "beat_layout": layout_json(self.images.layout),
        }
        with atomic_folder(folder) as tmp:
            (tmp / "program.json").write_text(
                json.dumps(description, indent=1, sort_keys=True) + "\n"
            )
            write_npz(tmp / "weights.npz", arrays(self.network))
            for name, text in hex_files(self.images).items():
                (tmp / name).write_text(text)

    @classmethod
    @one_import()
    def load(cls, folder: str | Path) -> Program:
        """Read what :meth:`save` wrote, and check its digest.

        Raises
        ------
        InputError
            Missing, damaged or edited file, another schema, a digest that does not match.
        """
        folder = Path(folder)
        data = read_description(folder)
        if "passes" in data:
            raise InputError(
                f"{folder} holds a program of {len(data['passes'])} passes, for layers that walk "
                f"sequences from their end; name one of them, such as {folder / 'pass0'}"
            )
        weights = read_arrays(folder, data)
        with damaged(folder):
            network, config = build_network(data, weights), Config.from_json(data["config"])
            geometry = Geometry(*(data["geometry"][name] for name in Geometry._fields))
            if geometry not in shapes(geometry.lanes):
                raise ValueError(f"no engine has the shape {geometry}")
            program = cls(
                network.with_argmax() if config.argmax else network,
                config,
                None,
                CoreSpec.from_json(data["hardware"]) if "hardware" in data else None,
                read_exponents(data),
                geometry,
            )
            digest = program.digest
        check_digest(folder, digest, data)
        program.quality = read_quality(folder, data)
        with damaged(folder):
            check_summary(folder, data, "summary", program.summary)
            check_summary(folder, data, "beat_layout", layout_json(program.images.layout))
            check_files(folder, hex_files(program.images))
        return program
