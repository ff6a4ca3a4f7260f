"""A board from the host's side. Imports no Amaranth, and drives a simulated board as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.arrays import FloatArray, IntArray, check_lengths, valid_steps
from ..compiler.errors import CheckError, InputError
from ..compiler.golden import State
from ..compiler.program.program import Program
from .memories import BoardMemories
from .scrub import ScrubCounts, scrubbed
from .session import Session, Transport
from .wire.codes import from_bytes, to_bytes
from .wire.identity import IDENTITY_BYTES, Identity, Sizes, digest_id, hardware_id
from .wire.protocol import COUNTERS, PROTOCOL, Contents, Op, Status

__all__ = ["Counters", "Device", "Outputs"]


@dataclass(frozen=True)
class Counters:
    """Performance counters of the core since the session began; see :data:`.protocol.COUNTERS`."""

    cycles: int
    stalls: int
    steps: int


@dataclass(frozen=True, eq=False)
class Outputs:
    """Results of a board.

    Attributes
    ----------
    values : ndarray of float64
        In the shape that ``Program.run`` gives; zero in the padding.
    codes : ndarray of int64, shape (N, T, outputs)
    """

    values: FloatArray
    codes: IntArray


class Device:
    """A board with a program.

    Parameters
    ----------
    transport : Transport
        A :class:`.serial_port.SerialPort`, or a simulated board.
    program : Program
        What the board is meant to hold.
    scrub : int
        Verify the board's memories before a run and after every so many steps of it; after an
        upset they are loaded again and those steps are repeated. 0: never.

    Attributes
    ----------
    scrubs : ScrubCounts

    Raises
    ------
    InputError
        Nobody answers, or the board holds something else.
    CheckError
        The board was lost on the way, here and in every method.
    """

    def __init__(self, transport: Transport, program: Program, *, scrub: int = 0) -> None:
        self.name, self.program = transport.name, program
        self.scrub, self.scrubs = scrub, ScrubCounts()
        self.session = Session(transport)
        self.identity = self.identify()
        if self.identity.protocol != PROTOCOL:
            raise InputError(
                f"{self.name}: the board speaks version {self.identity.protocol} of the protocol, this "
                f"host {PROTOCOL}; build and flash with this version"
            )
        self.session.window = self.identity.window
        self.sizes = Sizes.of(program, self.loadable)
        self.memories = BoardMemories(
            self.session, self.sizes.word_bytes, verifiable=self.verifiable
        )
        self._check_hardware()
        if scrub:
            self._check_verifiable()

    @property
    def loadable(self) -> bool:
        """True if the board's weights can be exchanged."""
        return bool(self.identity.contents & Contents.LOADABLE)

    @property
    def verifiable(self) -> bool:
        """True if the board can tell whether its memories hold what they should."""
        return bool(self.identity.contents & Contents.VERIFIABLE)

    @property
    def loaded(self) -> bool:
        """True if the board holds this program, weights included."""
        return (
            bool(self.session.status & Status.LOADED)
            and self.identity.program == digest_id(self.program.digest)
        )  # fmt: skip

    def identify(self) -> Identity:
        """Ask the board what it is."""
        raw = self.session.exchange(bytes([Op.IDENTIFY]), IDENTITY_BYTES)
        self.identity = Identity.unpack(raw)
        return self.identity

    def _check_hardware(self) -> None:
        """Refuse a board that cannot run the program, weights aside."""
        own = hardware_id(self.program, self.loadable)
        if self.identity.hardware == own:
            return
        what = "hardware" if self.loadable else "program"
        raise InputError(
            f"{self.name}: the board holds {what} {self.identity.hardware.hex()} "
            f"({self.identity.inputs} inputs, {self.identity.outputs} outputs, {self.identity.lanes} lanes), "
            f"this folder is {own.hex()} ({self.sizes.inputs} inputs, {self.sizes.outputs} outputs, "
            f"{self.program.geometry.lanes} lanes); name the folder that the board was built from, or "
            "write this one with: gatewright build, gatewright flash"
        )

    # -- steps --------------------------------------------------------------------

    def run(
        self,
        x: npt.ArrayLike,
        state: State | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
        resume: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Outputs:
        """Run sequences of values on the board.

        Parameters
        ----------
        x : array_like, shape (N, T, I) or (T, I)
        state : State, optional
            State before the first step of each sequence; default the reset state.
        lengths : array_like of int, shape (N,), optional
            True lengths of zero-padded sequences; the padding is not sent.
        resume : bool
            The first sequence goes on from the state that the board is in.
        progress : callable, optional
            Called with the part that is done, 0 to 1.

        Raises
        ------
        InputError
            The data do not fit, or the board has not got this program's weights.
        """
        codes = self.program.encode(x)
        made = self.run_codes(
            codes, state, lengths=lengths, resume=resume, progress=progress
        )  # fmt: skip
        values = self.program.decode(made)
        values[np.arange(codes.shape[1]) >= self._lengths(codes, lengths)[:, None]] = 0.0
        return Outputs(values[0] if np.ndim(x) == 2 else values, made)

    @staticmethod
    def _lengths(codes: IntArray, lengths: npt.ArrayLike | None) -> IntArray:
        real = check_lengths(lengths, *codes.shape[:2])
        return np.full(len(codes), codes.shape[1]) if real is None else real

    def run_codes(
        self,
        codes: IntArray,
        state: State | None = None,
        *,
        lengths: npt.ArrayLike | None = None,
        resume: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> IntArray:
        """Run sequences of codes (N, T, I) on the board; return codes (N, T, outputs).

        Parameters as of :meth:`run`.
        """
        if not self.loaded:
            bad = bool(self.session.status & Status.FLASH_BAD)
            raise InputError(
                f"{self.name}: the board has no weights of program {self.program.digest[:16]}"
                + (" (what is in its flash is for other hardware, or damaged)" if bad else "")
                + "; load them first (Device.load)"
            )
        z = self.sizes
        length = self._lengths(codes, lengths)
        starts = None if state is None else state.flat(self.program.network)
        data: list[bytes] = []
        for n in range(len(codes)):
            fresh = starts is None and not (resume and n == 0)
            steps = to_bytes(codes[n, : length[n]], z.input_bytes)
            rows = np.frombuffer(steps, np.uint8).reshape(length[n], -1)
            ops = np.full((length[n], 1), Op.STEP, np.uint8)
            ops[:1] = Op.STEP_FIRST if fresh else Op.STEP
            made_of = [row.tobytes() for row in np.hstack([ops, rows])]
            if starts is not None:
                load = bytes([Op.LOAD_STATE]) + to_bytes(starts[n], z.word_bytes)
                made_of[:1] = [load + made_of[0]] if made_of else [load]
            data += made_of
        total = int(length.sum())
        size = z.outputs * z.output_bytes
        if self.scrub and data:
            raw = scrubbed(self, data, size, progress)
        else:
            raw = self.session.exchange(b"".join(data), total * size, progress)
        valid = valid_steps(length, *codes.shape[:2])
        made = np.zeros((total, z.outputs), np.int64)
        made[:, self.program.schedule.output_order] = from_bytes(raw, z.output_bytes).reshape(
            made.shape
        )
        outputs = np.zeros((*codes.shape[:2], z.outputs), np.int64)
        outputs[valid] = made
        return outputs

    # -- state ----------------------------------------------------------------------

    def reset(self) -> None:
        """Bring the board to the reset state: what follows with ``resume`` starts from there."""
        self.load_state(State.zeros(self.program.network, 1))

    def load_state(self, state: State) -> None:
        """Load a state of one sequence."""
        flat = state.flat(self.program.network)
        if len(flat) != 1:
            raise InputError(f"a board has one state, not {len(flat)}; give that of one sequence")
        self.session.exchange(bytes([Op.LOAD_STATE]) + to_bytes(flat[0], self.sizes.word_bytes), 0)

    def read_state(self) -> State:
        """Read the state after all steps so far."""
        z = self.sizes
        raw = self.session.exchange(bytes([Op.READ_STATE]), z.state_words * z.word_bytes)
        return State.unflat(self.program.network, from_bytes(raw, z.word_bytes)[None])

    # -- counters -------------------------------------------------------------------

    def counters(self) -> Counters:
        """Read the performance counters of the core."""
        raw = self.session.exchange(bytes([Op.COUNTERS]), sum(COUNTERS.values()))
        found, at = {}, 0
        for name, size in COUNTERS.items():
            found[name] = int.from_bytes(raw[at : at + size], "little")
            at += size
        return Counters(**found)

    def statistics(self) -> dict[str, Any]:
        """Return the counters of core and line, for reports."""
        return asdict(self.counters()) | {"link": asdict(self.session.counts)}

    # -- weights --------------------------------------------------------------------

    def verify(self) -> bool:
        """Let the board compute the CRC of its weights and beat table, and compare it.

        It takes :attr:`~.images.MemoryImages.verify_cycles` between two steps; states stay. If the result is
        False, the board is no longer :attr:`loaded` and takes no steps.

        Raises
        ------
        InputError
            The board cannot do it.
        """
        self._check_verifiable()
        right = self.memories.verify(self.program)
        self.scrubs.passes += 1
        self.scrubs.upsets += not right
        return right

    def _check_verifiable(self) -> None:
        if not self.verifiable:
            raise InputError(
                f"{self.name}: the board cannot verify its memories; build and flash with "
                "--loadable and this version, on a device that has room for it"
            )

    def load(
        self, program: Program | None = None, progress: Callable[[float], None] | None = None
    ) -> None:
        """Load a program's weights and beat table, and read them back.

        Parameters
        ----------
        program : Program, optional
            One that differs from the board's in nothing but weights; default the device's.
        progress : callable, optional
            Called with the part that is done, 0 to 1.

        Raises
        ------
        InputError
            The board's memories are fixed, or the program is for other hardware.
        CheckError
            What is read back differs.
        """
        before, self.program = self.program, program or self.program
        try:
            self._check_hardware()
        except InputError:
            self.program = before
            raise
        if not self.loadable:
            return  # its digest is the program's: what it holds is what would be loaded
        self.memories.load(self.program, progress)
        self.identify()
        if not self.loaded:
            raise CheckError(f"{self.name}: the board does not take the program it was loaded with")
