"""Frames: the gateware against its software twin, and both against what others publish."""

from __future__ import annotations

import random

import pytest
from gatewright.host.wire.cobs import cobs_decode, cobs_encode, crc, decode, encode
from gatewright.host.wire.protocol import MAX_PAYLOAD, DownHeader, UpHeader, size
from gatewright.hw.link.framing import FrameReceiver, FrameSender
from gatewright.sim.collisions import simulator
from hypothesis import given
from hypothesis import strategies as st

# Cheshire and Baker, "Consistent Overhead Byte Stuffing", and its usual test vectors.
VECTORS = [
    ("00", "0101"),
    ("0000", "010101"),
    ("00110000", "010211" + "0101"),
    ("11220033", "0311220233"),
    ("11223344", "0511223344"),
    ("11000000", "021101" + "0101"),
    ("", "01"),
]


@pytest.mark.parametrize(("data", "encoded"), VECTORS)
def test_cobs_vectors(data: str, encoded: str) -> None:
    assert cobs_encode(bytes.fromhex(data)).hex() == encoded
    assert cobs_decode(bytes.fromhex(encoded)) == bytes.fromhex(data)


def test_cobs_around_the_longest_block() -> None:
    ramp = bytes(range(1, 256))
    assert cobs_encode(ramp[:254]) == b"\xff" + ramp[:254]
    assert cobs_encode(ramp) == b"\xff" + ramp[:254] + b"\x02\xff"
    assert cobs_encode(b"\0" + ramp[:254]) == b"\x01\xff" + ramp[:254]
    assert cobs_encode(ramp[1:] + b"\0") == b"\xff" + ramp[1:] + b"\x01\x01"


@given(st.binary(max_size=600).map(lambda b: b.translate(bytes([0, 0, *range(2, 256)]))))
def test_cobs_round_trip(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(encoded) == data


@given(st.binary(max_size=40))
def test_cobs_takes_any_bytes(raw: bytes) -> None:
    data = cobs_decode(raw)
    assert data is None or cobs_decode(cobs_encode(data)) == data


def test_crc_is_the_published_one() -> None:
    assert int.from_bytes(crc(b"123456789"), "little") == 0xCBF43926


def test_a_frame_never_needs_the_longest_block() -> None:
    assert max(size(DownHeader), size(UpHeader)) + MAX_PAYLOAD + 4 < 254


def frames(rng: random.Random, count: int) -> list[bytes]:
    """Random frames, with many zeros, few, and none; shortest and longest."""
    made = [b"\0", b"\1", bytes(238), bytes(range(1, 239))]
    for _ in range(count):
        length = rng.choice([1, 2, 9, 40])
        odds = rng.choice([0.0, 0.1, 0.9])
        made.append(bytes(0 if rng.random() < odds else rng.randrange(256) for _ in range(length)))
    return made


@pytest.mark.parametrize(("seed", "stall"), [(1, 0.0), (2, 0.5)])
def test_sender_vs_encode(seed: int, stall: float) -> None:
    rng = random.Random(seed)
    wanted = frames(rng, 12)
    dut = FrameSender()
    got = bytearray()
    expected = b"".join(map(encode, wanted))

    async def source(ctx):
        for frame in wanted:
            for token in [*({"data": b, "close": 0} for b in frame), {"data": 7, "close": 1}]:
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(dut.i.payload, token)
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        pauses = random.Random(seed + 1)
        while len(got) < len(expected):
            ctx.set(dut.o.ready, pauses.random() >= stall)
            _, _, valid, ready, payload = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload
            )
            if valid and ready:
                got.append(payload)

    async def watchdog(ctx):
        for _ in range(60 * len(expected)):
            await ctx.tick()
        raise TimeoutError(f"{len(got)} of {len(expected)} bytes, seed {seed}")

    sim = simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    sim.add_testbench(watchdog, background=True)
    sim.run()
    assert bytes(got) == expected, seed


def receive(raw: bytes, broken: frozenset[int] = frozenset()) -> list[bytes | None]:
    """Return each frame that ends in raw bytes, without its CRC; None for a bad one."""
    dut = FrameReceiver()
    got: list[bytes | None] = []
    now = bytearray()

    async def bench(ctx):
        for k, byte in enumerate(raw):
            ctx.set(dut.raw, byte)
            ctx.set(dut.raw_valid, k not in broken)
            ctx.set(dut.raw_broken, k in broken)
            for cycle in range(16):
                if ctx.get(dut.start):
                    now.clear()
                await ctx.tick()
                if cycle == 0:
                    ctx.set(dut.raw_valid, 0)
                    ctx.set(dut.raw_broken, 0)
                if ctx.get(dut.valid):
                    now.append(ctx.get(dut.data))
                if ctx.get(dut.good):
                    got.append(bytes(now[:-4]))
                if ctx.get(dut.bad):
                    got.append(None)

    sim = simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return got


def test_receiver_vs_decode() -> None:
    rng = random.Random(3)
    wanted = [f for f in frames(rng, 12) if len(f) < 60]
    assert receive(b"\0\0" + b"\0".join(map(encode, wanted))) == wanted


@pytest.mark.parametrize("seed", range(4, 7))
def test_receiver_vs_decode_on_a_bad_line(seed: int) -> None:
    """Flipped, lost and repeated bytes and noise: what is good for one is good for the other."""
    rng = random.Random(seed)
    raw = bytearray()
    for frame in frames(rng, 20):
        if len(frame) > 60:
            continue
        part = bytearray(encode(frame))
        if rng.random() < 0.7:
            k = rng.randrange(len(part))
            fault = rng.randrange(4)
            if fault == 0:
                part[k] ^= 1 << rng.randrange(8)
            elif fault == 1:
                del part[k]
            elif fault == 2:
                part.insert(k, part[k])
            else:
                part[k:k] = rng.randbytes(3)
        raw += part
    raw += b"\0"
    expected = [decode(piece) for piece in bytes(raw).split(b"\0") if piece]
    assert None in expected
    assert any(expected)
    assert receive(bytes(raw)) == expected, seed


def test_a_broken_byte_spoils_its_frame_only() -> None:
    raw = encode(b"one") + encode(b"two") + encode(b"three")
    at = len(encode(b"one")) + 3
    assert receive(raw, frozenset([at])) == [b"one", None, b"three"]


def test_every_single_bit_error_is_seen() -> None:
    good = encode(b"\x07\x00\x01gates")
    for k in range(8 * len(good)):
        bad = bytearray(good)
        bad[k // 8] ^= 1 << k % 8
        pieces = [decode(piece) for piece in bytes(bad).split(b"\0") if piece]
        assert all(piece is None for piece in pieces), k
