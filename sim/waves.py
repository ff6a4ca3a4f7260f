"""Waveforms that one can read: which signals and steps are in them, and how a viewer shows them."""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..compiler.errors import InputError, MissingToolError
from ..compiler.program.program import Program
from ..hw.engine.trace import NUMBER, TEXT, tracks
from ..hw.export.verilog import TOP

__all__ = [
    "DEPTH",
    "LIMIT",
    "NO_WAVES",
    "Waves",
    "affordable",
    "check_limit",
    "layout",
    "readable",
    "rename_vcd",
    "waveforms",
]

DEPTH = 2
"""Levels of the hierarchy in a waveform: the core and its parts."""
LIMIT = 100.0
"""Megabytes that a waveform may take."""
OFF, ON = "/*verilator tracing_off*/", "/*verilator tracing_on*/"
BYTES = {".vcd": 0.6, ".fst": 0.2}
"""Bytes that a bit of a named signal takes in a cycle, at most, in runs that were measured."""
ENDINGS = {"verilator": (".vcd", ".fst"), "icarus": (".fst",), "amaranth": (".vcd",)}


@dataclass(frozen=True)
class Waves:
    """Kind of a waveform.

    Parameters
    ----------
    ending : str
        ``.vcd`` or ``.fst``; empty: none is written.
    depth : int
        Levels of the hierarchy; 0: all.
    """

    ending: str = ""
    depth: int = DEPTH

    @classmethod
    def of(cls, path: Path, simulator: str, depth: int) -> Waves:
        """Return the kind of a file.

        Raises
        ------
        InputError
            The simulator does not write such a file, or the depth is negative.
        """
        if simulator not in ENDINGS:
            raise InputError(f"{simulator} writes no waveform; take verilator, icarus or amaranth")
        if path.suffix not in ENDINGS[simulator]:
            kinds = " or ".join(ENDINGS[simulator])
            raise InputError(f"{path}: {simulator} writes waveforms as {kinds}; name the file so")
        if depth < 0:
            raise InputError(f"the depth of a waveform is 0 (everything) or more, not {depth}")
        if simulator == "verilator" and path.suffix == ".fst" and not has_header("lz4.h"):
            raise MissingToolError(
                "FST of Verilator needs the header of lz4: apt-get install liblz4-dev zlib1g-dev; or "
                "name the file .vcd, or take --simulator icarus"
            )
        return cls(path.suffix, depth if simulator == "verilator" else 0)

    @property
    def verilator(self) -> list[str]:
        """Options that Verilator builds a model with."""
        if not self.ending:
            return []
        kind = "--trace-fst" if self.ending == ".fst" else "--trace-vcd"
        return [kind, "--trace-structs"]


NO_WAVES = Waves()


def has_header(name: str) -> bool:
    """Return whether the C++ compiler finds a header."""
    compiler = shutil.which("g++")
    if compiler is None:
        return False
    command = [compiler, "-x", "c++", "-E", "-o", os.devnull, "-"]
    text = f"#include <{name}>\n"
    return not subprocess.run(command, input=text, text=True, capture_output=True).returncode  # noqa: S603


def readable(verilog: str, depth: int = 0) -> str:
    """Return Verilog whose nameless signals begin with an underscore, which waveforms leave out.

    A name with a dollar sign is one that a tool made up, or the second of a name. Modules below
    ``depth`` levels (0: none) are marked so that Verilator leaves them out as well.
    """

    def mark(module: re.Match[str]) -> str:
        name = module[1].lstrip("\\")
        level = name.count(".") + 1 if name.startswith(TOP) else depth + 1
        return f"{OFF}\n{module[0]}\n{ON}" if depth and level > depth else module[0]

    marked = re.sub(r"^module (\S+?) ?\(.*?^endmodule", mark, verilog, flags=re.M | re.S)
    return re.sub(r"\\(\S*\$\S*)", lambda m: "_" + re.sub(r"\W", "_", m[1]) + "_", marked)


def rename_vcd(path: Path) -> None:
    """Give the nameless signals of a VCD names that begin with an underscore."""

    def name(match: re.Match[str]) -> str:
        return f"{match[1]}_{match[2].replace('$', '_')}_ $end"

    whole = path.with_name(f".{path.name}.tmp")
    with path.open() as old, whole.open("w") as new:
        for line in old:
            new.write(re.sub(r"^( *\$(?:var|scope) .* )(\S*\$\S*) \$end", name, line))
            if line.startswith("$enddefinitions"):
                break
        shutil.copyfileobj(old, new)
    whole.replace(path)


def waveforms(folder: Path) -> list[Path]:
    """Return the waveforms in a folder."""
    return sorted(path for path in folder.glob("*") if path.suffix in (".fst", ".vcd"))


def affordable(
    verilog: str, waves: Waves, cycles: int, steps: int, limit: float
) -> tuple[int, float]:
    """Return how many steps fit into a number of megabytes, and the size of those.

    Parameters
    ----------
    verilog : str
        Of the core.
    waves : Waves
    cycles : int
        Of a step.
    steps : int
        That there are.
    limit : float
        Megabytes.

    Raises
    ------
    InputError
        Not one step fits.
    """
    shown = re.sub(f"{re.escape(OFF)}.*?{re.escape(ON)}", "", verilog, flags=re.S)
    names = re.findall(r"^ +(?:input|output|wire|reg) (?:\[(\d+):0\] )?(\S+)", shown, re.M)
    bits = sum(int(high or 0) + 1 for high, name in names if not name.startswith("_"))
    size = bits * cycles * BYTES[waves.ending] / 1e6
    kept = min(steps, int(limit / size)) if size else steps
    if not kept:
        least = math.ceil(100 * size) / 100
        raise InputError(
            f"one step's waveform takes up to {least:g} MB, --wave-limit allows {limit:g}: give at least "
            f"--wave-limit {least:g}, or show less with --wave-depth"
        )
    return kept, kept * size


def check_limit(limit: float) -> None:
    """Refuse a limit that is no size."""
    if not limit > 0:
        raise InputError(f"the limit of a waveform is a size above 0 MB, not {limit:g}")


def layout(program: Program, wave: Path, simulator: str) -> Path:
    """Write a layout for GTKWave beside a waveform, and return its path."""
    from vcd.gtkw import GTKWFlag, GTKWSave

    scope = "bench.top" if simulator == "amaranth" else TOP
    text = io.StringIO()
    save = GTKWSave(text)
    save.dumpfile(wave.name, abspath=False)
    with save.group("ports"):
        for name in ("clk", "rst"):
            save.trace(f"{scope}.{name}", datafmt="bin")
        for port in ("i", "o"):
            for part in ("valid", "ready", "payload"):
                save.trace(f"{scope}.{port}__{part}")
    with save.group("network"):
        for track in tracks(program.schedule):
            name = f"{scope}.trace.{track.name}"
            if track.fraction == TEXT:
                save.trace(name, datafmt="ascii")
            elif track.fraction == NUMBER:
                save.trace(name, datafmt="dec")
            else:
                text.write(f"[fpshift_count] {track.fraction}\n")
                save.trace(name, datafmt="signed", extraflags=GTKWFlag.fpdecshift)
    path = wave.with_suffix(".gtkw")
    path.write_text(text.getvalue())
    return path
