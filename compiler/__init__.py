"""From trained weights to a quantized program: import, calibrate, quantize, lay out, emulate."""

from __future__ import annotations

from .chain import Chain, load_program
from .config import Config
from .errors import CheckError, GatewrightError, InputError, MissingToolError
from .load import load
from .model import Linear, Model, Recurrent
from .program import Program, quantize

__all__ = [
    "Chain",
    "CheckError",
    "Config",
    "GatewrightError",
    "InputError",
    "Linear",
    "MissingToolError",
    "Model",
    "Program",
    "Recurrent",
    "load",
    "load_program",
    "quantize",
]
