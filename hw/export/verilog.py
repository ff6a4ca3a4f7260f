"""A program as plain Verilog: the core, the memory images it reads, and wrappers for systems."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amaranth.back import verilog as back

from ...compiler.files.atomic import atomic_folder
from ...compiler.files.owned import CHAIN_VERILOG, VERILOG
from ...compiler.layout.images import hex_files
from ...compiler.program.program import Program
from ..blocks.memory import TABLE_VERILOG
from ..engine.core import Core
from .wrappers import AXIS, WISHBONE, axis_verilog, fusesoc_core, wishbone_verilog

if TYPE_CHECKING:
    from ...compiler.program.chain import Chain

__all__ = ["TOP", "core_verilog", "write_verilog"]

TOP = "gatewright_core"


def core_verilog(program: Program, **options: Any) -> str:
    """Return the Verilog of a program's core; it reads the files of :func:`~.images.hex_files`.

    The same program gives the same text, byte for byte.

    Parameters
    ----------
    program : Program
    **options
        ``family`` and ``loadable``, as for :class:`~.core.Core`.
    """
    program.network.check_hardware()  # before there is a component that Amaranth misses
    return _convert(Core(program, rom_files=True, **options))


def _convert(core: Core) -> str:
    """Return the Verilog of a core."""
    text = back.convert(core, name=TOP, emit_src=False, strip_internal_attrs=True)
    # Yosys makes combinational blocks run at time 0 by a register with an initial value. In
    # Icarus such a value is there before the blocks wait for it; an initial statement is not.
    text = re.sub(r"reg (\\\$auto\$verilog_backend\S*) += 0;", r"reg \1 ; initial \1 = 0;", text)
    header = (
        f"// gatewright core, program {core.program.digest[:16]}\n"
        f"// The simulator or synthesizer must find {' '.join(hex_files(core.program.images))} in "
        "its working folder.\n"
    )
    return header + TABLE_VERILOG + "\n" + text


def write_verilog(program: Program | Chain, folder: str | Path, **options: Any) -> list[str]:
    """Write ``core.v``, the memories it reads, and what fits it into other systems into a folder.

    The memories are :func:`~.images.hex_files`; ``gatewright_axis.v`` and ``gatewright_wishbone.v``, the core behind
    AXI4-Stream names and behind registers; and ``gatewright_core.core`` for FuseSoC.

    Parameters
    ----------
    program : Program or Chain
        A chain makes such a folder for every pass, ``pass0`` and so on, beside a
        ``program.json`` that says what each pass is fed with and in which order.
    folder : path
        Appears whole or not at all.
    **options
        ``family`` and ``loadable``, as for :class:`~.core.Core`.

    Returns
    -------
    list of str
        Names of the files.
    """
    if isinstance(program, Program):
        files = _files(program, options)
    else:
        files = {"program.json": program.describe()}
        for k, each in enumerate(program.passes):
            files |= {f"pass{k}/{name}": text for name, text in _files(each, options).items()}
    with atomic_folder(folder, VERILOG if "core.v" in files else CHAIN_VERILOG) as tmp:
        for name, text in files.items():
            (tmp / name).parent.mkdir(exist_ok=True)
            (tmp / name).write_text(text)
    return list(files)


def _files(program: Program, options: dict[str, Any]) -> dict[str, str]:
    """Return the text of every file by its name."""
    program.network.check_hardware()
    images, core = hex_files(program.images), Core(program, rom_files=True, **options)
    return {
        "core.v": _convert(core),
        f"{AXIS}.v": axis_verilog(core, TOP),
        f"{WISHBONE}.v": wishbone_verilog(core, TOP),
        f"{TOP}.core": fusesoc_core(TOP, images),
        **images,
    }
