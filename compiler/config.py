"""Every knob of the quantizer and the engine, in one checked, serializable object."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from .errors import InputError
from .numerics.activation import KINDS

__all__ = ["Config", "parse_weight_bits"]

LANES_MAX = 4096
STREAMS_MAX = 64
THRESHOLD_MAX = 65535
WEIGHT_BITS = (2, 16)


@dataclass(frozen=True)
class Config:
    """Widths of the fixed-point network and shape of the engine.

    Parameters
    ----------
    weight_bits : int
        Width of a weight, 2 to 16. Every output row has its own power-of-two scale.
    weight_widths : mapping of str -> int
        Widths of the weights of single layers (``gru0``) and gates (``gru0.n``; the one gate of a
        linear layer is ``y``), where they are not ``weight_bits``. A gate's width goes before
        its layer's.
    activation_bits : int
        Width of an input element and of the operand made from a state, 2 to 16.
    state_bits : int
        Width of a state, ``activation_bits`` to 16.
    gate_bits : int
        Width of a gate, 2 to 16.
    lanes : int
        Multiply-accumulate lanes, 1 to 4096; 0 lets the compiler choose.
    activation : str
        ``interpolated``, ``direct`` or ``hard`` (see ``docs/numerics.md``).
    rounding : str
        How weights are rounded: ``compensated`` (each column's rounding error is made up
        for by the columns after it, weighed by the calibration data) or ``nearest``.
    calibration_method : str
        How formats are chosen on the calibration data: ``error`` (by the error of the outputs over
        time), ``minmax``, ``percentile`` or ``mse`` (by the values of each vector).
    rate : float
        Steps per second the engine must reach at ``clock``; 0 asks for nothing. Used
        where ``lanes`` is 0.
    clock : float
        Clock in hertz that ``rate`` is counted against.
    argmax : bool
        Emit the index of the largest output of each step instead of the outputs.
    engine : str
        ``dense``, or ``delta``: a column whose operand has not changed is skipped. There is no
        gateware for skipping yet; what it would save is reported.
    threshold : int
        Delta engine: an operand made from a state is passed on only where its code differs by
        more than this from the one passed on last. 0 changes no output.
    threshold_input : int
        The same for the elements of x; -1: as ``threshold``.
    spare : int
        Bits of head room in accumulators, sums, biases and shifts, 0 to 8, so that the weights of
        a model that is trained again fit in the same hardware.
    streams : int
        Sequences that share a core, 1 to 64. They take steps in turn, so that a step need not wait
        for the results of the one before it. No output depends on it.
    """

    weight_bits: int = 8
    activation_bits: int = 12
    state_bits: int = 16
    gate_bits: int = 16
    lanes: int = 0
    activation: str = "interpolated"
    rounding: str = "compensated"
    rate: float = 0.0
    clock: float = 12e6
    argmax: bool = False
    engine: str = "dense"
    threshold: int = 0
    threshold_input: int = -1
    spare: int = 0
    calibration_method: str = "error"
    weight_widths: Mapping[str, int] = field(default_factory=dict)
    streams: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight_widths", _flat(self.weight_widths))
        widths = [(f"weight_widths[{name}]", *WEIGHT_BITS) for name in self.weight_widths]
        for name, low, high in (
            ("weight_bits", *WEIGHT_BITS),
            ("activation_bits", 2, 16),
            ("state_bits", 2, 16),
            ("gate_bits", 2, 16),
            ("lanes", 0, LANES_MAX),
            ("threshold", 0, THRESHOLD_MAX),
            ("threshold_input", -1, THRESHOLD_MAX),
            ("spare", 0, 8),
            ("streams", 1, STREAMS_MAX),
            *widths,
        ):
            own = "[" not in name
            value = getattr(self, name) if own else self.weight_widths[name[14:-1]]
            whole = isinstance(value, Integral if own else int) and not isinstance(value, bool)
            if not whole or not low <= int(value) <= high:
                raise InputError(f"{name} is a whole number from {low} to {high}, not {value!r}")
            if own:
                object.__setattr__(self, name, int(value))  # NumPy has integers of its own
        if self.state_bits < self.activation_bits:
            raise InputError(
                f"state_bits is {self.state_bits}, less than activation_bits {self.activation_bits}: "
                "an operand is a rounded state, so raise state_bits or lower activation_bits"
            )
        for name, choices in (
            ("activation", tuple(KINDS)),
            ("rounding", ("compensated", "nearest")),
            ("calibration_method", ("error", "minmax", "percentile", "mse")),
            ("engine", ("dense", "delta")),
        ):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name} is one of {', '.join(choices)}, not {getattr(self, name)!r}"
                )
        if self.engine != "delta" and (self.threshold, self.threshold_input) != (0, -1):
            raise InputError(
                f"a threshold of {max(self.threshold, self.threshold_input)} needs the delta engine, "
                f"and engine is {self.engine!r}: set engine to delta or leave the threshold out"
            )
        if not isinstance(self.argmax, bool):
            raise InputError(f"argmax is true or false, not {self.argmax!r}")
        for name in ("rate", "clock"):
            value = getattr(self, name)
            if (
                not isinstance(value, int | float)
                or isinstance(value, bool)
                or not 0 <= value <= 1e12
            ):
                raise InputError(f"{name} is a number from 0 to 1e12, not {value!r}")

    @property
    def thresholds(self) -> tuple[int, int]:
        """Thresholds of x and of states; -1 where the engine is dense."""
        if self.engine != "delta":
            return -1, -1
        own = self.threshold_input
        return self.threshold if own < 0 else own, self.threshold

    def weight_width(self, layer: str, gate: str) -> int:
        """Return the width of the weights of a gate."""
        given = self.weight_widths
        return given.get(f"{layer}.{gate}", given.get(layer, self.weight_bits))

    def only(self, layers: Collection[str]) -> Config:
        """Return the configuration of a part of a model: without widths of other layers."""
        kept = {
            name: width
            for name, width in self.weight_widths.items()
            if name in layers or name.rpartition(".")[0] in layers
        }
        return replace(self, weight_widths=kept)

    def to_json(self) -> dict[str, Any]:
        """Return every knob by name; one stream goes without saying, for the sake of older digests."""
        made = asdict(self)
        return made if self.streams > 1 else {k: v for k, v in made.items() if k != "streams"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Config:
        """Build from knobs by name; missing ones take their default, unknown ones are errors."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise InputError(
                f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        return cls(**data)

    def to_toml(self) -> str:
        """Return a complete TOML file with every knob."""
        lines = ["# gatewright quantize --config FILE"]
        for key, value in asdict(self).items():
            if key != "weight_widths":
                text = f'"{value}"' if isinstance(value, str) else str(value)
                lines.append(f"{key} = {text.lower() if isinstance(value, bool) else text}")
        lines += ["", '[weight_widths] # of single layers and gates: gru0 = 6, "gru0.n" = 4']
        lines += [f"{json.dumps(name)} = {width}" for name, width in self.weight_widths.items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, path: str | Path) -> Config:
        """Read a TOML file; its table ``[model]`` is for whoever reads the model.

        Raises
        ------
        InputError
            Missing or broken file, unknown key, value out of range.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read configuration {path}: {error.strerror}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"configuration {path} is not TOML: {error}") from error
        data.pop("model", None)
        try:
            return cls.from_json(data)
        except InputError as error:
            raise InputError(f"configuration {path}: {error}") from error


def _flat(widths: Any, prefix: str = "") -> dict[str, Any]:
    """Return widths by full name, sorted; in TOML ``gru0.n = 4`` without quotes is a table."""
    if not isinstance(widths, Mapping):
        raise InputError(
            f"weight_widths is a table of widths by layer or gate, as gru0 = 6, not {widths!r}"
        )
    made: dict[str, Any] = {}
    for name, value in widths.items():
        if isinstance(value, Mapping):
            made |= _flat(value, f"{prefix}{name}.")
        else:
            made[f"{prefix}{name}"] = value
    return dict(sorted(made.items()))


def parse_weight_bits(text: str) -> dict[str, Any]:
    """Read ``8``, ``8,gru0=6,gru0.n=4`` or ``gru0=6``: the knobs ``weight_bits`` and ``weight_widths``.

    Raises
    ------
    InputError
        Not of that form.
    """
    made: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, number = (part.strip() for part in item.rpartition("="))
        if not number.isdecimal() or bool(name) != bool(equals):
            raise InputError(
                f"weight widths are like 8 or 8,gru0=6,gru0.n=4, and {item.strip()!r} is not"
            )
        known = made.setdefault("weight_widths", {}) if equals else made
        key = name if equals else "weight_bits"
        if key in known:
            raise InputError(f"weight widths {text!r} give {key} twice")
        known[key] = int(number)
    return made
