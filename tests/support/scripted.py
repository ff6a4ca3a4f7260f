"""A board that is played: it says what it was told to say, whatever a real one would."""

from __future__ import annotations

import struct

from gatewright.host.wire.cobs import decode, encode
from gatewright.host.wire.protocol import UpHeader


class Script:
    """A board that takes everything it is sent, and then says what it was told to say.

    That is frames, as place and payload, or raw bytes; no bytes are a silence.
    """

    name, silence = "script", 0.01

    def __init__(self, *says: tuple[int, bytes] | bytes) -> None:
        self.says = list(says)
        self.frames: list[tuple[int, int, int, int, int, bytes]] = []
        self.waiting = b""
        self.received = 0

    def frame(self, seq: int, payload: bytes, session: int | None = None) -> bytes:
        _, own, tag, *_ = self.frames[-1]
        place = self.received
        header = UpHeader(tag, own if session is None else session, 1, 0, place, place, seq)
        return encode(struct.pack("<BBBBHHH", *header) + payload)

    def write(self, data: bytes) -> None:
        for raw in filter(None, data.split(b"\0")):
            body = decode(raw)
            assert body is not None
            self.frames.append((*struct.unpack_from("<BBBHH", body), body[7:]))
            flags, _, _, seq, _, payload = self.frames[-1]
            if flags == 1:
                self.received = 0
                self.waiting += self.frame(0, b"")
            elif seq == self.received % 1024:
                self.received += len(payload)

    def read(self, timeout: float) -> bytes:
        made, self.waiting = self.waiting, b""
        if not made and timeout and self.says:
            said = self.says.pop(0)
            made = said if isinstance(said, bytes) else self.frame(*said)
        return made

    def close(self) -> None:
        pass
