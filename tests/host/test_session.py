"""The host's end of a session against boards that are played: what is rare on a real line."""

from __future__ import annotations

import pytest
from gatewright.compiler.errors import CheckError
from gatewright.host.session import Session
from support.scripted import Script


@pytest.mark.parametrize(
    "says",
    [
        [(0, b"abcdefghi")],
        [(0, b"abc"), (3, b"def"), (6, b"ghi")],
        [(0, b"abc"), (0, b"abc"), (3, b"defghi")],  # a frame twice
        [(0, b"abcd"), (2, b"cdefg"), (1, b"bcdefghi")],  # pieces that overlap
        [(3, b"xyz"), (0, b"abcdef"), (6, b""), (6, b"ghi")],  # a frame was lost before
        [(0, b"abcdefghijkl")],  # more than was asked for
    ],
)
def test_each_byte_once_and_in_order(says: list[tuple[int, bytes]]) -> None:
    board = Script(*says)
    assert Session(board).exchange(b"?", 9) == b"abcdefghi"


def test_a_gap_is_asked_for_once() -> None:
    board = Script((3, b"def"), (6, b"ghi"), (0, b"abcdefghi"))
    session = Session(board)
    assert session.exchange(b"?", 9) == b"abcdefghi"
    asked = [flags for flags, *_ in board.frames if flags == 2]
    assert session.counts.repeats == len(asked) >= 1


def test_places_wrap() -> None:
    """Beyond 1,024 bytes, twice the smallest buffer, places begin again."""
    data = bytes(k * 7 % 251 for k in range(2600))
    says = [(at % 1024, data[at : at + 200]) for at in range(0, 2600, 200)]
    assert Session(Script(*says)).exchange(b"?" * 1500, 2600) == data


def test_places_that_were_never_sent_are_refused() -> None:
    board = Script((0, b"abc"))
    session = Session(board)
    board.received = 300
    with pytest.raises(CheckError, match="never sent"):
        session.exchange(b"", 3)


def test_noise_before_a_silence_does_not_spoil_the_answer_after_it() -> None:
    """A glitch on an idle line is a byte to a receiver; a frame of the board begins with no zero."""
    session = Session(Script(b"\x55", b"", (0, b"abc")))
    assert session.exchange(b"", 3) == b"abc"
    assert session.counts.silences == 1
    assert session.counts.bad_frames == 0


def test_another_session_is_refused() -> None:
    board = Script()
    session = Session(board)
    board.waiting = board.frame(0, b"abc", session=0)
    with pytest.raises(CheckError, match="restarted"):
        session.exchange(b"", 3)
