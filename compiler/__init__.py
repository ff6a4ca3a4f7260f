"""From trained weights to a quantized program: import, calibrate, quantize, lay out, emulate.

A name is loaded when it is first used: an error class costs a command nothing more.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config
    from .door import quantize
    from .errors import CheckError, GatewrightError, InputError, MissingToolError
    from .frontends.registry import load
    from .ir.model import Linear, Model, Recurrent
    from .program.chain import Chain, load_program
    from .program.program import Program

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

_PLACES = {
    "Chain": ".program.chain",
    "CheckError": ".errors",
    "Config": ".config",
    "GatewrightError": ".errors",
    "InputError": ".errors",
    "Linear": ".ir.model",
    "MissingToolError": ".errors",
    "Model": ".ir.model",
    "Program": ".program.program",
    "Recurrent": ".ir.model",
    "load": ".frontends.registry",
    "load_program": ".program.chain",
    "quantize": ".door",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)
