"""Every knob of the quantizer and the engine, in one checked, serializable object."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .activation import KINDS
from .errors import InputError

__all__ = ["Config"]

LANES_MAX = 4096


@dataclass(frozen=True)
class Config:
    """Widths of the fixed-point network and shape of the engine.

    Parameters
    ----------
    weight_bits : int
        Width of a weight, 2 to 16. Every output row has its own power-of-two scale.
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
    rate : float
        Steps per second the engine must reach at ``clock``; 0 asks for nothing. Used
        where ``lanes`` is 0.
    clock : float
        Clock in hertz that ``rate`` is counted against.
    argmax : bool
        Emit the index of the largest output of each step instead of the outputs.
    engine : str
        ``dense``.
    spare : int
        Bits of head room in accumulators, sums, biases and shifts, 0 to 8, so that the weights of
        a model that is trained again fit in the same hardware.
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
    spare: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("weight_bits", 2, 16),
            ("activation_bits", 2, 16),
            ("state_bits", 2, 16),
            ("gate_bits", 2, 16),
            ("lanes", 0, LANES_MAX),
            ("spare", 0, 8),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise InputError(f"{name} is a whole number from {low} to {high}, not {value!r}")
        if self.state_bits < self.activation_bits:
            raise InputError(
                f"state_bits is {self.state_bits}, less than activation_bits {self.activation_bits}: "
                "an operand is a rounded state, so raise state_bits or lower activation_bits"
            )
        for name, choices in (
            ("activation", tuple(KINDS)),
            ("rounding", ("compensated", "nearest")),
            ("engine", ("dense",)),
        ):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name} is one of {', '.join(choices)}, not {getattr(self, name)!r}"
                )
        if not isinstance(self.argmax, bool):
            raise InputError(f"argmax is true or false, not {self.argmax!r}")
        for name in ("rate", "clock"):
            value = getattr(self, name)
            if (
                not isinstance(value, int | float)
                or isinstance(value, bool)
                or not 0 <= value < 1e12
            ):
                raise InputError(f"{name} is a number from 0 to 1e12, not {value!r}")

    def to_json(self) -> dict[str, Any]:
        """Return every knob by name."""
        return asdict(self)

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
            text = f'"{value}"' if isinstance(value, str) else str(value)
            lines.append(f"{key} = {text.lower() if isinstance(value, bool) else text}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, path: str | Path) -> Config:
        """Read a TOML file.

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
        try:
            return cls.from_json(data)
        except InputError as error:
            raise InputError(f"configuration {path}: {error}") from error
