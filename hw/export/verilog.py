"""A program as plain Verilog: the core, the memory images it reads, and wrappers for systems."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from amaranth.back import verilog as back
from amaranth.lib import wiring

from ...compiler.arrays import IntArray
from ...compiler.errors import InputError, check_type
from ...compiler.files.atomic import atomic_folder
from ...compiler.files.owned import verilog_kind
from ...compiler.layout.images import hex_files
from ...compiler.program.chain import check_program
from ...compiler.program.interface import interface
from ...compiler.program.program import Program
from ..blocks.memory import TABLE_VERILOG
from ..engine.core import Core
from .headers import c_header, sv_header
from .testbench import Vectors, random_codes, testbench
from .wrappers import AXIS, WISHBONE, axis_verilog, fusesoc_core, wishbone_verilog

if TYPE_CHECKING:
    from ...compiler.program.chain import Chain

__all__ = ["TOP", "component_verilog", "core_verilog", "write_verilog"]

TOP = "gatewright_core"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
OURS = re.compile(r"\bgatewright(?=_(?:core|table|axis|wishbone|fifo|tb)\b|\.svh\b)")
FILES = re.compile(r"(?<![\w.])(?=(?:core\.v|vectors\.hex|(?:weights|beats)(?:_\d+)?\.hex)\b)")
GENERATED = (
    "CASEINCOMPLETE WIDTHEXPAND WIDTHTRUNC DECLFILENAME UNUSEDSIGNAL UNUSEDPARAM GENUNNAMED "
    "PROCASSINIT VARHIDDEN"
).split()
"""Style that the text of a generator does not keep: states that no machine reaches, sums that are
cut where they are stored. Whatever else Verilator has to say of a core is a fault."""


def core_verilog(program: Program, **options: Any) -> str:
    """Return the Verilog of a program's core; it reads the files of :func:`~.images.hex_files`.

    The same program gives the same text, byte for byte.

    Parameters
    ----------
    program : Program
    **options
        ``family`` and ``loadable``, as for :class:`~.core.Core`.
    """
    check_program(program, one_pass=True)
    program.network.check_hardware()  # before there is a component that Amaranth misses
    return _convert(Core(program, rom_files=True, **options))


def _convert(core: Core) -> str:
    """Return the Verilog of a core, with what it reads at its head."""
    header = (
        f"// gatewright core, program {core.program.digest[:16]}\n"
        f"// The simulator or synthesizer must find {' '.join(hex_files(core.program.images))} in "
        "its working folder.\n"
    )
    return header + component_verilog(core, TOP)


def component_verilog(component: wiring.Component, name: str) -> str:
    """Return the Verilog of a core, or of a component that holds cores, with the tables' module."""
    text = back.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    # Yosys makes combinational blocks run at time 0 by a register with an initial value. In
    # Icarus such a value is there before the blocks wait for it; an initial statement is not.
    text = re.sub(r"reg (\\\$auto\$verilog_backend\S*) += 0;", r"reg \1 ; initial \1 = 0;", text)
    quiet = "".join(f"/* verilator lint_off {name} */\n" for name in GENERATED)
    quiet, loud = "/* verilator lint_save */\n" + quiet, "/* verilator lint_restore */\n"
    return quiet + TABLE_VERILOG + "\n" + text + loud


def write_verilog(
    program: Program | Chain, folder: str | Path, *, name: str = "", vectors: npt.ArrayLike | None = None,
    lengths: npt.ArrayLike | None = None, **options: Any,
) -> list[str]:  # fmt: skip
    """Write ``core.v``, the memories it reads, and what fits it into other systems into a folder.

    The memories are :func:`~.images.hex_files`; ``gatewright_axis.v`` and ``gatewright_wishbone.v``, the core behind
    AXI4-Stream names and behind registers; ``gatewright_core.core`` for FuseSoC; ``gatewright.h`` and
    ``gatewright.svh``, what C and SystemVerilog must know of it; ``gatewright_tb.sv`` and ``vectors.hex``, a
    testbench that checks itself.

    Parameters
    ----------
    program : Program or Chain
        A chain makes such a folder for every pass, ``pass0`` and so on, beside a
        ``program.json`` that says what each pass is fed with and in which order.
    folder : path
        Appears whole or not at all.
    name : str
        Takes the place of ``gatewright`` in the names of modules, headers and the FuseSoC core, and
        begins the names of files, so that cores of several programs live in one design. Passes
        are numbered: ``detector0`` and so on.
    vectors : array_like, shape (N, T, I) or (T, I), optional
        Values for the testbench; default random codes, see :func:`~.testbench.random_codes`.
    lengths : array_like of int, shape (N,), optional
        True lengths of zero-padded sequences.
    **options
        ``family`` and ``loadable``, as for :class:`~.core.Core`.

    Returns
    -------
    list of str
        Names of the files.

    Raises
    ------
    InputError
        A name that is none, a program that no gateware runs, vectors that do not fit.
    """
    check_program(program)
    check_type(folder, (str, Path), "the folder", "give its path")
    if name and not NAME.fullmatch(name):
        raise InputError(
            f"{name[:40]!r} is no name for modules: a letter, then up to 31 letters, digits or _"
        )
    x = None if vectors is None else program.encode(vectors)
    if isinstance(program, Program):
        files = _files(program, name, x, lengths, options)
    else:
        given = _inputs(program, x, lengths)
        files = {"program.json": program.describe()}
        for k, each in enumerate(program.passes):
            made = _files(each, f"{name}{k}" if name else "", given.get(k), lengths, options)
            files |= {f"pass{k}/{path}": text for path, text in made.items()}
    with atomic_folder(folder, verilog_kind(name, chain=not isinstance(program, Program))) as tmp:
        for path, text in files.items():
            (tmp / path).parent.mkdir(exist_ok=True)
            (tmp / path).write_text(text)
    return list(files)


def _inputs(
    chain: Chain, codes: IntArray | None, lengths: npt.ArrayLike | None
) -> dict[int, IntArray]:
    """Return the codes that each pass of a chain is fed with, where there are any."""
    given: dict[int, IntArray] = {}

    def run(k: int, program: Program, into: IntArray) -> IntArray:
        given[k] = into
        return program.evaluate(into).outputs

    if codes is not None:
        chain.walk(codes, run, lengths)
    return given


def _rename(text: str, name: str) -> str:
    """Give modules and files another name, in a text or in the name of a file."""
    return FILES.sub(f"{name}_", OURS.sub(name, text)) if name else text


def _files(
    program: Program, name: str, codes: IntArray | None, lengths: npt.ArrayLike | None,
    options: dict[str, Any],
) -> dict[str, str]:  # fmt: skip
    """Return the text of every file by its name; '' as a name leaves the modules as they are."""
    program.network.check_hardware()
    images, core = hex_files(program.images), Core(program, rom_files=True, **options)
    files = {
        "core.v": _convert(core),
        f"{AXIS}.v": axis_verilog(core, TOP),
        f"{WISHBONE}.v": wishbone_verilog(core, TOP),
        f"{TOP}.core": fusesoc_core(TOP, images),
        **images,
    }
    made = {_rename(path, name): _rename(text, name) for path, text in files.items()}
    facts, own = interface(program), name or "gatewright"
    vectors = (
        Vectors.of(program, random_codes(program))
        if codes is None
        else Vectors.of(program, codes, lengths)
    )
    played = _rename("vectors.hex", name)
    return made | {
        f"{own}.h": c_header(facts, own),
        f"{own}.svh": sv_header(facts, own),
        f"{own}_tb.sv": testbench(
            core, vectors, own, f"{own}_core", _rename("core.v", name), played
        ),
        played: vectors.text(program),
    }
