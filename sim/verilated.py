"""A board in Verilator: the Verilog of the whole design, hundreds of times faster than in Python."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from amaranth.back import rtlil, verilog  # type: ignore[attr-defined]

from ..compiler.files.process import in_group
from ..compiler.files.temporary import temporary_folder
from ..compiler.program.program import Program
from ..hw.blocks.collisions import release
from ..hw.link.system import System
from .board import SILENCE_BITS
from .build import build_simulator
from .netlist import synthesize, verilator_arguments

__all__ = ["VerilatedBoard", "build_board", "simulated_board"]

TOP = "gatewright_system"


@contextmanager
def simulated_board(
    program: Program, *, clock_hz: float, baud: float,
    progress: Callable[[str], None] | None = None, **options: Any,
) -> Iterator[VerilatedBoard]:  # fmt: skip
    """Give a board that holds a program, without pins and PLL, for the duration of a block.

    Parameters
    ----------
    program : Program
    clock_hz, baud, **options
        As for :class:`~gatewright.hw.link.system.System`.
    progress : callable, optional
        Called with a line before a build; not where the cache has it.
    """
    system = System(program, clock_hz=clock_hz, baud=baud, **options)
    with temporary_folder() as folder:
        built = build_board(system, folder, progress=progress)
        with closing(VerilatedBoard(built, clock_hz=clock_hz, baud=baud)) as board:
            yield board


def build_board(
    system: System, folder: str | Path, *, netlist: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Path:  # fmt: skip
    """Build the simulation of a design; return the program that :class:`VerilatedBoard` starts.

    Parameters
    ----------
    system : System
    folder : path
    netlist : bool
        Simulate what synthesis makes of it for the system's family; see ``docs/netlist.md``.
    progress : callable, optional
        Called with a line before each long stage; not before what the cache has.

    Raises
    ------
    MissingToolError
        Verilator or what it needs is not there.
    CheckError
        The build failed.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if netlist:
        (folder / "system.il").write_text(release(rtlil.convert(system, name=TOP, emit_src=False)))
        made = synthesize("read_rtlil system.il", TOP, system.family, folder, progress)
        sources, optimize, arguments = made.sources, "-O0", verilator_arguments(system.family)
    else:
        text = verilog.convert(system, name=TOP, emit_src=False, strip_internal_attrs=True)
        (folder / "system.v").write_text(text)
        sources, optimize, arguments = [folder / "system.v"], "-O1", []
    has_flash = int(system.flash_offset is not None)
    (sources[0].parent / "board.h").write_text(f"#define FLASH {has_flash}\n")
    main = Path(__file__).with_name("board.cpp")
    return build_simulator(
        sources, TOP, folder, main=main, arguments=arguments, optimize=optimize, progress=progress
    )


class VerilatedBoard:
    """A running simulation, as a :class:`~gatewright.host.session.Transport`.

    Time passes in it while the host reads, and nowhere else: runs are the same every time.

    Parameters
    ----------
    program : path
        From :func:`build_board`.
    clock_hz, baud : float
        Those of the design.
    skew : float
        The host's bit time relative to ``clock_hz / baud``.
    glitches : float
        Chance in each cycle and direction that the line turns over, for up to a bit.
    seed : int
        Of the glitches.
    """

    def __init__(
        self, program: Path, *, clock_hz: float, baud: float, skew: float = 1.0,
        glitches: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.clock_hz = "simulated board", clock_hz
        self.silence = SILENCE_BITS / baud
        self.cycle = 0  # of the clock, when the host read last
        arguments = [str(program), str(clock_hz / baud * skew), str(glitches), str(seed)]
        self._running = ExitStack()
        self._process = self._running.enter_context(
            in_group(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )

    def write(self, data: bytes) -> None:
        """Queue bytes for the board."""
        self._ask(b"W", len(data), data)

    def write_flash(self, content: bytes, offset: int) -> None:
        """Let the SPI flash hold bytes from an address on, and ones everywhere else."""
        data = offset.to_bytes(4, "little") + content
        self._ask(b"F", len(data), data)

    def lose_clock(self, cycle: int) -> None:
        """Let the clock be lost, and the design be reset, for three cycles from a cycle on."""
        self._ask(b"T", cycle)

    def _ask(self, command: bytes, number: int, data: bytes = b"") -> None:
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(command + number.to_bytes(4, "little") + data)
        self._process.stdin.flush()

    def read(self, timeout: float) -> bytes:
        """Let time pass until a byte has come."""
        out = self._process.stdout
        assert out is not None  # noqa: S101
        self._ask(b"R", round(timeout * self.clock_hz))
        self.cycle = int.from_bytes(out.read(8), "little")
        return out.read(int.from_bytes(out.read(4), "little"))

    def close(self) -> None:
        """End the simulation."""
        self._running.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
