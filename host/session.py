"""The host's end of a session: two reliable byte streams. No Amaranth here.

Any line will do that gives bytes and takes bytes: see :class:`Transport`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..compiler.errors import CheckError, InputError
from .wire.cobs import decode, encode
from .wire.protocol import (
    MAX_PAYLOAD,
    WINDOW_MARGIN,
    DownHeader,
    Flag,
    Status,
    UpHeader,
    pack,
    unpack,
)

__all__ = ["LinkCounts", "Session", "Transport"]

LEAST_WINDOW = 9
TRIES = 20  # silences in a row after which nobody is there
LEAST_PAYLOAD = 16
TAGS_OUT = 64  # frames that may be unanswered; tags count to 256
BABBLE = 1024  # bytes without a good frame that are as bad as silence


class Transport(Protocol):
    """A line to a board.

    Attributes
    ----------
    name : str
        For messages.
    silence : float
        Seconds without a byte after which something must have been lost.
    """

    name: str
    silence: float

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, timeout: float) -> bytes:
        """Return what has come, one byte at least; nothing after ``timeout`` seconds."""

    def close(self) -> None:
        """Let go of the line."""


@dataclass
class LinkCounts:
    """Counts of events on the line.

    Attributes
    ----------
    frames_sent, frames_received : int
    bad_frames : int
        That came damaged or cut, noise included.
    resent : int
        Times that the down stream went back to where the board had lost a frame.
    repeats : int
        Times that the board was asked to send the up stream again.
    silences : int
        Times that nothing came for long.
    board_bad_frames : int
        That the board saw damaged or cut.
    """

    frames_sent: int = 0
    frames_received: int = 0
    bad_frames: int = 0
    resent: int = 0
    repeats: int = 0
    silences: int = 0
    board_bad_frames: int = 0


class Session:
    """Exchange bytes with a board, each once and in order, whatever the line does.

    Parameters
    ----------
    transport : Transport
    patience : float
        Seconds for which a board may answer without getting on before it counts as stuck.

    Raises
    ------
    InputError
        Nobody answers.
    CheckError
        The board was lost, restarted, or is stuck.
    """

    def __init__(self, transport: Transport, *, patience: float = 10.0) -> None:
        self.transport, self.patience = transport, patience
        self.counts = LinkCounts()
        self.status = Status(0)
        self.window = LEAST_WINDOW
        self._id = self._tag = 0
        self._rest = b""
        self.open()

    @property
    def window(self) -> int:
        """log2 of the bytes of each of the board's buffers."""
        return self._window

    @window.setter
    def window(self, bits: int) -> None:
        self._window, self._size, self._modulus = bits, 1 << bits, 2 << bits

    # -- opening ----------------------------------------------------------------

    def open(self) -> None:
        """Begin a session: the board forgets the one before, and its state."""
        self._id = 1 + (self._id + secrets.randbelow(254)) % 255  # not the one before
        self._tag = secrets.randbelow(256)
        # Places in the streams, from 0 on: the board got, freed, was sent; the host got, has said so.
        self._received = self._consumed = self._sent = self._got = self._acked = 0
        self._down, self._up = bytearray(), bytearray()  # not yet received, not yet taken
        self._marks: dict[int, int] = {}  # tag -> place after its frame
        self._asked: int | None = None  # tag of the frame that asked for a repeat
        self._errors: int | None = None
        self._most = MAX_PAYLOAD  # of a frame; less on a bad line
        for _ in range(BABBLE):  # what another session left
            if not self.transport.read(0):
                break
        self._rest = b""
        for _ in range(TRIES):
            self._send(Flag.OPEN)
            heard = 0
            while heard < BABBLE and (raw := self._listen()):
                heard += len(raw)
                for header, _payload in self._frames(raw):
                    # Tags tell a session of another host with the same number apart.
                    if header.session == self._id and header.tag in self._marks:
                        self._note(header)
                        return
            self.counts.silences += 1
        raise InputError(
            f"{self.transport.name}: no answer. Is the board powered, its bitstream written (gatewright "
            "flash), and this the port of its serial line at the rate it was built for (--baud)?"
        )

    # -- exchanging -------------------------------------------------------------

    def exchange(
        self, data: bytes, replies: int, progress: Callable[[float], None] | None = None
    ) -> bytes:
        """Send bytes of the down stream while taking bytes of the up stream.

        Parameters
        ----------
        data : bytes
            Commands.
        replies : int
            Bytes that the board makes of them.
        progress : callable, optional
            Called with the part that is done, 0 to 1: of the replies, or of the data where there are none.

        Returns
        -------
        bytes
            The replies; when it returns, the board also has got all of ``data``.
        """
        self._down += data
        silent, stuck, noise = 0, 0.0, 0
        while len(self._up) < replies or self._down:
            self._fill()
            raw = self._listen()
            before = (self._received, self._consumed, self._got)
            noise += len(raw)
            for header, payload in self._frames(raw):
                silent = noise = 0
                self._take(header, payload)
            quiet = not raw or noise > BABBLE
            if quiet:
                silent, noise = silent + 1, 0
                self.counts.silences += 1
                if silent > TRIES:
                    raise CheckError(
                        f"{self.transport.name}: the board was lost: asked {TRIES} times in a row, it gave "
                        "no answer that could be read. Is it still powered and plugged in, and is its line good?"
                    )
                # A short frame gets through where a long answer was lost again.
                self._send(Flag.RESEND if silent > 1 else Flag(0))
            if (self._received, self._consumed, self._got) != before:
                stuck = 0.0
            elif quiet:
                stuck += self.transport.silence
                if stuck > self.patience:
                    raise CheckError(
                        f"{self.transport.name}: the board answers but has not got on for {stuck:.0f} s; "
                        "reset it, and build it again if that does not help"
                    )
            if progress is not None and replies:
                progress(min(1.0, len(self._up) / replies))
            elif progress is not None:
                progress(1.0 - len(self._down) / len(data))
        result = bytes(self._up[:replies])
        del self._up[:replies]
        return result

    def _fill(self) -> None:
        """Send what the board has room for."""
        first = self._received
        end = first + len(self._down)
        while True:
            room = self._consumed + self._size - WINDOW_MARGIN - self._sent
            count = min(room, end - self._sent, self._most)
            # A small piece is worth a frame only when it is the last, or nothing is under way.
            small = count < min(64, self._most, end - self._sent) and self._sent != self._received
            if count <= 0 or small or len(self._marks) >= TAGS_OUT:
                break
            start = self._sent - first
            piece = bytes(self._down[start : start + count])
            self._send(payload=piece)
        if self._got - self._acked >= self._size // 4:
            self._send()

    def _send(self, flags: Flag = Flag(0), payload: bytes = b"") -> None:  # noqa: B008
        self._tag = (self._tag + 1) % 256
        modulus = self._modulus
        header = DownHeader(flags, self._id, self._tag, self._sent % modulus, self._got % modulus)
        self._sent += len(payload)
        self._marks[self._tag] = self._sent
        self._acked = self._got
        self.counts.frames_sent += 1
        # A zero before an empty frame ends whatever noise has begun: it is what asks after a loss.
        self.transport.write((b"" if payload else b"\0") + encode(pack(header) + payload))

    def _listen(self) -> bytes:
        """Take what comes. What nothing followed for long was noise or cut: no frame begins with it."""
        raw = self.transport.read(self.transport.silence)
        if not raw:
            self._rest = b""
        return raw

    def _frames(self, raw: bytes) -> list[tuple[UpHeader, bytes]]:
        """Return the good frames that bytes complete."""
        *ended, self._rest = (self._rest + raw).split(b"\0")
        frames = []
        for piece in filter(None, ended):
            header = unpack(decode(piece) or b"")
            if header is None:
                self.counts.bad_frames += 1
            else:
                self.counts.frames_received += 1
                frames.append(header)
        return frames

    def _note(self, header: UpHeader) -> None:
        """Note status and counts of a frame."""
        self.status = Status(header.status)
        if self._errors is not None:
            self.counts.board_bad_frames += (header.errors - self._errors) % 256
        self._errors = header.errors

    def _take(self, header: UpHeader, payload: bytes) -> None:
        """Act on a frame of the board."""
        if header.session != self._id:
            raise CheckError(
                f"{self.transport.name}: the board was restarted, or another program uses it; "
                "begin again, with the board for one program alone"
            )
        self._note(header)
        if self.status & Status.REFUSED:
            raise CheckError(
                f"{self.transport.name}: the board refused a command: host and bitstream do not fit, or "
                "its weights are not loaded; build and flash with this version"
            )
        received = self._received + (header.received - self._received) % self._modulus
        self._consumed += (header.consumed - self._consumed) % self._modulus
        received = max(received, self._consumed)
        if received > self._received + len(self._down):
            raise CheckError(
                f"{self.transport.name}: the board says it has {received} bytes, which were never "
                "sent; build and flash with this version"
            )
        del self._down[: received - self._received]
        self._received = received
        self._sent = max(self._sent, received)
        if header.tag in self._marks:
            should = self._marks[header.tag]
            for tag in list(self._marks):
                del self._marks[tag]
                if tag == header.tag:
                    break
            if received < should:
                # That frame, or one before it, did not arrive; those after it are in vain.
                self.counts.resent += 1
                self._most = max(LEAST_PAYLOAD, self._most // 2)
                self._sent = received
                self._marks.clear()
            else:
                self._most = min(MAX_PAYLOAD, self._most + LEAST_PAYLOAD)
        self._take_payload(header, payload)

    def _take_payload(self, header: UpHeader, payload: bytes) -> None:
        ahead = (header.seq - self._got) % self._modulus
        if ahead > self._size:
            ahead -= self._modulus
        if self._asked is not None and (header.tag - self._asked) % 256 < 128:
            self._asked = None  # what was asked for begins with this frame
        if ahead > 0:
            if self._asked is None:
                self.counts.repeats += 1
                self._send(Flag.RESEND)
                self._asked = self._tag
        elif len(payload) > -ahead:
            self._up += payload[-ahead:]
            self._got += len(payload) + ahead
