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
from .session import Session, Transport
from .wire.identity import CHUNK, IDENTITY_BYTES, Identity, Sizes, digest_id, hardware_id, memories
from .wire.protocol import COUNTERS, PROTOCOL, Op, Status

__all__ = ["Counters", "Device", "Outputs"]


@dataclass(frozen=True)
class Counters:
    """Performance counters of the core since the session began; see :data:`.protocol.COUNTERS`."""

    cycles: int
    stalls: int
    steps: int


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a board computed.

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

    Raises
    ------
    InputError
        Nobody answers, or the board holds something else.
    CheckError
        The board was lost on the way, here and in every method.
    """

    def __init__(self, transport: Transport, program: Program) -> None:
        self.name, self.program = transport.name, program
        self.session = Session(transport)
        self.identity = self.identify()
        if self.identity.protocol != PROTOCOL:
            raise InputError(
                f"{self.name}: the board speaks version {self.identity.protocol} of the protocol, this "
                f"host {PROTOCOL}; build and flash with this version"
            )
        self.session.window = self.identity.window
        self.sizes = Sizes.of(program, self.loadable)
        self._check_hardware()

    @property
    def loadable(self) -> bool:
        """Whether the board's weights can be exchanged."""
        return bool(self.identity.loadable)

    @property
    def loaded(self) -> bool:
        """Whether the board holds this program, weights included."""
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
        data = []
        for n in range(len(codes)):
            fresh = starts is None and not (resume and n == 0)
            if starts is not None:
                data.append(bytes([Op.LOAD_STATE]) + to_bytes(starts[n], z.word_bytes))
            steps = to_bytes(codes[n, : length[n]], z.input_bytes)
            rows = np.frombuffer(steps, np.uint8).reshape(length[n], -1)
            ops = np.full((length[n], 1), Op.STEP, np.uint8)
            ops[:1] = Op.STEP_FIRST if fresh else Op.STEP
            data.append(np.hstack([ops, rows]).tobytes())
        total = int(length.sum())
        raw = self.session.exchange(
            b"".join(data), total * z.outputs * z.output_bytes, progress
        )  # fmt: skip
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
        contents = memories(self.program)
        done, total = 0, sum(len(words) for _, words in contents)
        commands = ((Op.LOAD_BEATS, Op.READ_BEATS), (Op.LOAD_WEIGHTS, Op.READ_WEIGHTS))
        for (load, read), (memory, words) in zip(commands, contents, strict=True):
            data = to_bytes(words, self.sizes.word_bytes)

            def step(fraction: float, start: int = done, size: int = len(words)) -> None:
                if progress is not None:
                    progress((start + fraction * size) / total)

            self.session.exchange(bytes([load]) + data, 0)
            got = from_bytes(
                self.session.exchange(bytes([read]), len(data), step), self.sizes.word_bytes
            ) & ((1 << CHUNK) - 1)  # fmt: skip
            done += len(words)
            wrong = np.flatnonzero(got != words)
            if len(wrong):
                k = int(wrong[0])
                raise CheckError(
                    f"{self.name}: word {k} of the board's {memory} was loaded with "
                    f"{words[k]:#06x} and read back as {got[k]:#06x}, {len(wrong)} differ; the board's "
                    "memory or clock is at fault"
                )
        self.session.exchange(bytes([Op.LOADED]) + digest_id(self.program.digest), 0)
        self.identify()
        if not self.loaded:
            raise CheckError(f"{self.name}: the board does not take the program it was loaded with")


def to_bytes(codes: IntArray, size: int) -> bytes:
    """Return codes as little-endian two's complement of ``size`` bytes each."""
    raw = np.ascontiguousarray(codes, "<i8").view(np.uint8)
    return raw.reshape(-1, 8)[:, :size].tobytes()


def from_bytes(raw: bytes, size: int) -> IntArray:
    """Return the codes, shape (n,), that :func:`to_bytes` made the bytes of."""
    part = np.frombuffer(raw, np.uint8).reshape(-1, size)
    full = np.repeat(np.where(part[:, -1:] > 127, 255, 0).astype(np.uint8), 8, axis=1)
    full[:, :size] = part
    return full.view("<i8")[:, 0].astype(np.int64)
