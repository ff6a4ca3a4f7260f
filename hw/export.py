"""A program as plain Verilog: one file, and the two memory images it reads."""

from __future__ import annotations

import re
from pathlib import Path

from amaranth.back import verilog as back

from ..compiler.data import atomic_folder
from ..compiler.images import hex_lines
from ..compiler.program import Program
from .core import Core
from .memory import ROM_VERILOG

__all__ = ["TOP", "core_verilog", "write_verilog"]

TOP = "gatewright_core"


def core_verilog(program: Program) -> str:
    """Return the Verilog of a program's core; it reads ``weights.hex`` and ``beats.hex``.

    The same program gives the same text, byte for byte.
    """
    core = Core(program, rom_files=True)
    text = back.convert(core, name=TOP, emit_src=False, strip_internal_attrs=True)
    # Yosys makes combinational blocks run at time 0 by a register with an initial value. In
    # Icarus such a value is there before the blocks wait for it; an initial statement is not.
    text = re.sub(r"reg (\\\$auto\$verilog_backend\S*) += 0;", r"reg \1 ; initial \1 = 0;", text)
    header = (
        f"// gatewright core, program {program.digest[:16]}\n"
        "// The simulator or synthesizer must find weights.hex and beats.hex in its working folder.\n"
    )
    return header + ROM_VERILOG + "\n" + text


def write_verilog(program: Program, folder: str | Path) -> list[str]:
    """Write ``core.v``, ``weights.hex`` and ``beats.hex`` into a folder.

    Parameters
    ----------
    program : Program
    folder : path
        Appears whole or not at all.

    Returns
    -------
    list of str
        Names of the files.
    """
    images = program.images
    files = {
        "core.v": core_verilog(program),
        "weights.hex": hex_lines(_padded(images.weights), images.weight_width),
        "beats.hex": hex_lines(_padded(images.beats), images.beat_width),
    }
    with atomic_folder(folder, marker="core.v") as tmp:
        for name, text in files.items():
            (tmp / name).write_text(text)
    return list(files)


def _padded(words: list[int]) -> list[int]:
    """Return at least two words, the smallest memory the Verilog describes."""
    return words if len(words) > 1 else [*words, 0]
