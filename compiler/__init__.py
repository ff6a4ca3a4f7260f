"""From trained weights to a quantized program: import, calibrate, quantize, lay out, emulate."""

from __future__ import annotations

from .config import Config
from .errors import CheckError, GatewrightError, InputError, MissingToolError
from .frontends.registry import load
from .ir.model import Linear, Model, Recurrent
from .program.chain import Chain, load_program
from .program.program import Program
from .quantizer.pipeline import quantize

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
