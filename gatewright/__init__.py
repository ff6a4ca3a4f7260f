"""Compile trained recurrent networks to verified FPGA hardware.

Every name below is imported when it is first used, so ``import gatewright`` is quick and needs no
package but those of the step you use::

    import gatewright as gw

    program = gw.quantize("model.pt", x, lanes=24)
    y = program.run(x)
    assert gw.simulate(program, x).bit_exact
    gw.write_verilog(program, "rtl")
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiler import Chain as Chain
    from .compiler import CheckError as CheckError
    from .compiler import Config as Config
    from .compiler import GatewrightError as GatewrightError
    from .compiler import InputError as InputError
    from .compiler import Linear as Linear
    from .compiler import MissingToolError as MissingToolError
    from .compiler import Model as Model
    from .compiler import Program as Program
    from .compiler import Recurrent as Recurrent
    from .compiler import load as load
    from .compiler import load_program as load_program
    from .compiler import quantize as quantize
    from .compiler.analysis.figures import analyze as analyze
    from .compiler.target.estimate import estimate as estimate
    from .compiler.training.finetune import finetune as finetune
    from .compiler.training.network import trainable as trainable
    from .compiler.tuning.search import tune as tune
    from .host.device import Device as Device
    from .hw import Core as Core
    from .hw import System as System
    from .hw import verilog as verilog
    from .hw import write_verilog as write_verilog
    from .hw.bitstream.build import build as build
    from .hw.bitstream.profile import profile as profile
    from .hw.boards import find_board as find_board
    from .sim import simulate as simulate

_HOME = {
    # From a trained network to a program.
    "load": "compiler",
    "quantize": "compiler",
    "load_program": "compiler",
    "Config": "compiler",
    "Model": "compiler",
    "Recurrent": "compiler",
    "Linear": "compiler",
    "Program": "compiler",
    "Chain": "compiler",
    "tune": "compiler.tuning.search",
    "trainable": "compiler.training.network",
    "finetune": "compiler.training.finetune",
    "analyze": "compiler.analysis.figures",
    "estimate": "compiler.target.estimate",
    # From a program to hardware.
    "Core": "hw",
    "System": "hw",
    "verilog": "hw",
    "write_verilog": "hw",
    "simulate": "sim",
    "profile": "hw.bitstream.profile",
    "build": "hw.bitstream.build",
    "find_board": "hw.boards",
    "Device": "host.device",
    # The three ways to fail.
    "GatewrightError": "compiler",
    "InputError": "compiler",
    "CheckError": "compiler",
    "MissingToolError": "compiler",
}
"""Public names, in the order of the data, and where each lives."""

__all__ = [*sorted(_HOME), "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("gatewright")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
