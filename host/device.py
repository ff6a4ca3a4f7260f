"""A board from the host's side. Imports no Amaranth, and drives a simulated board as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.arrays import BoolArray, FloatArray, IntArray, check_lengths
from ..compiler.errors import CheckError, InputError
from ..compiler.golden import State
from ..compiler.program.chain import check_program
from ..compiler.program.program import Program
from ..compiler.program.turns import take_turns
from .memories import BoardMemories
from .scrub import ScrubCounts, scrubbed
from .session import Session, Transport
from .wire.codes import from_bytes, to_bytes
from .wire.identity import IDENTITY_BYTES, Identity, Sizes, digest_id
from .wire.protocol import COUNTERS, PROTOCOL, PROTOCOL_STREAMS, Contents, Op, Status

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
        check_program(program, one_pass=True)
        if not hasattr(transport, "write"):
            raise InputError(
                f"the transport is {transport!r}, not an open line; open it first: "
                "gatewright.host.serial_port.SerialPort(name)"
            )
        self.name, self.program = transport.name, program
        self.scrub, self.scrubs = scrub, ScrubCounts()
        self.session = Session(transport)
        self.identity = self.identify()
        if self.identity.protocol not in (PROTOCOL, PROTOCOL_STREAMS):
            raise InputError(
                f"{self.name}: the board speaks version {self.identity.protocol} of the protocol, this "
                f"host {PROTOCOL} and {PROTOCOL_STREAMS}; build and flash with this version"
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
    def streams(self) -> int:
        """Sequences that take steps in turn, each with a state of its own."""
        return self.program.streams

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
        """Refuse a board that cannot run the program; weights aside, where they can be loaded."""
        what, there, own = "hardware", self.identity.hardware, self.program.hardware_digest
        if there == digest_id(own) and not self.loadable:
            what, there, own = "program", self.identity.program, self.program.digest
        if there == digest_id(own):
            return
        raise InputError(
            f"{self.name}: the board holds {what} {there.hex()} "
            f"({self.identity.inputs} inputs, {self.identity.outputs} outputs, {self.identity.lanes} lanes"
            f"{_streams(self.identity.streams)}), this folder is {own[:16]} ({self.sizes.inputs} inputs, "
            f"{self.sizes.outputs} outputs, {self.program.geometry.lanes} lanes"
            f"{_streams(self.streams)}); name the folder that the board was built from, or "
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

        Where the program has several streams, sequence n runs on stream n modulo their number. Give as
        many sequences as there are streams, of one length, and no stream ever idles.

        Parameters
        ----------
        x : array_like, shape (N, T, I) or (T, I)
        state : State, optional
            State before the first step of each sequence; default the reset state.
        lengths : array_like of int, shape (N,), optional
            True lengths of zero-padded sequences; the padding is not sent.
        resume : bool
            The first sequence of each stream goes on from the state that the stream is in.
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
        sequence, step = take_turns(length, self.streams)
        real, goes_on = sequence >= 0, resume & (sequence < self.streams)
        fresh = (step < 0) | ((step == 0) & ~goes_on & (starts is None))
        steps = to_bytes(np.where(real[:, None], codes[sequence, step], 0), z.input_bytes)
        rows = np.frombuffer(steps, np.uint8).reshape(len(step), z.inputs * z.input_bytes)
        ops = np.where(fresh, Op.STEP_FIRST, Op.STEP).astype(np.uint8)[:, None]
        data = [row.tobytes() for row in np.hstack([ops, rows])]
        if starts is not None:
            for k in np.flatnonzero(step == 0).tolist():
                data[k] = self._load_command(k % self.streams, starts[sequence[k]]) + data[k]
        raw = self._take_turns(data, real.reshape(-1, self.streams), progress)
        made = np.zeros((len(step), z.outputs), np.int64)
        made[:, self.program.schedule.output_order] = from_bytes(raw, z.output_bytes).reshape(
            made.shape
        )
        outputs = np.zeros((*codes.shape[:2], z.outputs), np.int64)
        outputs[sequence[real], step[real]] = made[real]
        return outputs

    def _take_turns(
        self, data: list[bytes], real: BoolArray, progress: Callable[[float], None] | None
    ) -> bytes:
        """Run rounds of steps; a stream keeps the state that it has when it begins to idle.

        Parameters
        ----------
        data : list of bytes
            Commands, one a step.
        real : ndarray of bool, shape (rounds, streams)
            Where a stream does not idle.
        """
        size = self.sizes.outputs * self.sizes.output_bytes
        ends = real.sum(axis=0)
        kept: dict[int, IntArray] = {}
        raw, edges = [], sorted({0, *ends.tolist(), len(real)})
        for start, end in zip(edges, [*edges[1:], len(real)], strict=True):
            if start < len(real):
                kept |= {s: self._read_words(s) for s in np.flatnonzero(ends == start).tolist()}
            piece = data[start * self.streams : end * self.streams]
            if not piece:
                continue

            def said(part: float, done: int = start, of: int = end - start) -> None:
                if progress is not None:
                    progress((done + part * of) / len(real))

            if self.scrub:
                raw.append(scrubbed(self, piece, size, said))
            else:
                raw.append(self.session.exchange(b"".join(piece), len(piece) * size, said))
        for stream, words in kept.items():
            self.session.exchange(self._load_command(stream, words), 0)
        return b"".join(raw)

    # -- state ----------------------------------------------------------------------

    def reset(self) -> None:
        """Bring all streams to the reset state: what follows with ``resume`` starts from there."""
        self.load_state(State.zeros(self.program.network, self.streams))

    def load_state(self, state: State) -> None:
        """Load a state of each stream, a row each."""
        flat = state.flat(self.program.network)
        if len(flat) != self.streams:
            has = "one state" if self.streams == 1 else f"{self.streams} states, one a stream"
            raise InputError(f"a board has {has}, not {len(flat)}; give that of as many sequences")
        for stream, words in enumerate(flat):
            self.session.exchange(self._load_command(stream, words), 0)

    def read_state(self) -> State:
        """Read the state of each stream after all steps so far, a row each."""
        words = [self._read_words(stream) for stream in range(self.streams)]
        return State.unflat(self.program.network, np.stack(words))

    def _command(self, op: Op, stream: int) -> bytes:
        return bytes([op, stream] if self.streams > 1 else [op])

    def _load_command(self, stream: int, words: IntArray) -> bytes:
        return self._command(Op.LOAD_STATE, stream) + to_bytes(words, self.sizes.word_bytes)

    def _read_words(self, stream: int) -> IntArray:
        z = self.sizes
        raw = self.session.exchange(
            self._command(Op.READ_STATE, stream), z.state_words * z.word_bytes
        )
        return from_bytes(raw, z.word_bytes)

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


def _streams(count: int) -> str:
    return f", {count} streams" if count > 1 else ""
