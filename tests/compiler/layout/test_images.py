"""Memory images hold what the schedule says, in the fewest bits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout import planes
from gatewright.compiler.layout.beat_word import (
    COLUMN,
    RESET_FIELDS,
    ROW_FIELDS,
    TWINS,
    Field,
    arrange,
    beat_field,
    check_layout,
    row_field,
    uses,
)
from gatewright.compiler.layout.images import CHUNK, MemoryImages, hex_files, hex_lines
from gatewright.compiler.layout.latency import Timing
from gatewright.compiler.layout.tables import NUMERIC
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from support.randoms import program, recurrent


def random(seed: int) -> Program:
    return program(seed, cells=tuple(CELLS), largest=12)


def unpack(word: int, field: Field) -> int:
    """Read a field the way the gateware slices it."""
    bits = word >> field.offset & ((1 << field.width) - 1)
    if field.signed and field.width and bits >> (field.width - 1):
        bits -= 1 << field.width
    return bits + field.base


@pytest.mark.parametrize("seed", range(15))
def test_every_field_of_every_beat_comes_back(seed: int) -> None:
    p = random(seed)
    images, schedule = p.images, p.schedule
    expected = {name: beat_field(schedule, name) for name in NUMERIC}
    expected |= {twin: beat_field(schedule, name) for twin, name in TWINS.items()}
    for name in ROW_FIELDS:
        rows = row_field(schedule, name)
        expected |= {f"{name}[{i}]": rows[:, i] for i in range(rows.shape[1])}
    if not schedule.has_reset:
        expected = {k: v for k, v in expected.items() if k.split("[")[0] not in RESET_FIELDS}
    assert set(images.layout) == set(expected)
    for name, values in expected.items():
        got = [unpack(word, images.layout[name]) for word in images.beats]
        assert got == values.tolist(), name


@pytest.mark.parametrize("seed", range(15))
def test_fields_lie_in_parts_that_are_read_in_time_and_constants_cost_nothing(seed: int) -> None:
    images: MemoryImages = random(seed).images
    schedule = random(seed).schedule
    check_layout(images.layout)
    cycles = uses(schedule)
    own = {
        n: f
        for n, f in images.layout.items()
        if f.width and images.layout.get(TWINS.get(n, "")) != f
    }
    for part, (offset, width) in images.beat_parts.items():
        fields = [f for f in own.values() if f.part == part]
        assert offset % CHUNK == 0 and sum(f.width for f in fields) == (width if fields else 0)
        words = [w >> offset & ((1 << width) - 1) for w in images.beats]
        assert images.beat_part(part) == words
    for name, field in images.layout.items():
        assert Timing.PARTS[field.part] <= cycles[name.split("[")[0]], name
    assert images.beat_width == max(offset + width for offset, width in images.beat_parts.values())
    assert max(images.beats) < 1 << images.beat_width
    for name in NUMERIC:
        if name in images.layout:
            table = beat_field(schedule, name)
            assert (images.layout[name].width == 0) == (table.min() == table.max()), name


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_cheapest_of_all(seed: int) -> None:
    """Against every assignment: columns of block RAM, and flip-flops that carry what is early."""
    rng = np.random.default_rng(seed)
    needed = {"take": 0, "bias": 4, "act": 13, "kept": 22, "post": 24, "kept_write": 24, "word": 33}
    widths = {name: int(rng.integers(1, 20)) for name in needed}
    widths["kept_write"] = widths["kept"]
    depth = int(rng.choice([3, 256, 700]))
    usual = {n: max(k for k, c in enumerate(Timing.PARTS) if c <= needed[n]) for n in needed}

    def cost(chosen: dict[str, int]) -> int:
        bits = [sum(widths[n] for n in needed if chosen[n] == k) for k in range(4)]
        carried = sum(
            widths[n] * (2 if k < 0 else Timing.PARTS[usual[n]] - Timing.PARTS[k])
            for n, k in chosen.items()
        )
        return carried + COLUMN * -(-depth // 256) * sum(-(-b // 16) for b in bits)

    choices = [
        [-1] * (n == "kept_write") + [usual[n]] + [usual[n] - 1] * (usual[n] > 0) for n in needed
    ]
    best = min(cost(dict(zip(needed, c, strict=True))) for c in itertools.product(*choices))
    assert cost(arrange(widths, needed, depth)) == best


@pytest.mark.parametrize(
    ("field", "change"),
    [("act", {"offset": -1}), ("act", {"width": 65}), ("act", {"part": 4}), ("act", {"part": 3}),
     ("kept", {"offset": 4096}), ("kept_write", {"offset": 0, "part": 0, "width": 3})],
)  # fmt: skip
def test_a_damaged_layout_is_refused(field: str, change: dict[str, int]) -> None:
    layout = random(3).images.layout
    assert layout[field].width
    with pytest.raises(ValueError, match=r"field|parts"):
        check_layout(layout | {field: replace(layout[field], **change)})


@pytest.mark.parametrize("worth", [0, planes.WORTH])
@pytest.mark.parametrize("seed", range(15))
def test_link_words_hold_all_planes(seed: int, worth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plane starts at a 16-bit chunk; where it has no word the link word is zero."""
    monkeypatch.setattr(planes, "WORTH", worth)
    images = random(seed).images
    assert len(images.weights) == images.planes[0].end
    assert max(images.weights) < 1 << images.weight_width
    for plane, offset in zip(images.planes, images.weight_offsets, strict=True):
        assert offset % CHUNK == 0
        for address, word in enumerate(images.weights):
            own = word >> offset & ((1 << plane.width) - 1)
            inside = plane.start <= address < plane.end
            at = address & ((1 << plane.address_bits) - 1)
            assert own == (plane.words[at] if inside else 0)
    assert images.weight_bits == sum(p.width * len(p.words) for p in images.planes)


def test_more_words_than_one_chunk() -> None:
    """Packing works in chunks of 4096 words; nothing is lost at their edges."""
    layer = recurrent(np.random.default_rng(0), "gru", "gru", ("x",), 20, 30)
    p = quantize(Model(20, (layer,)), None, Config(lanes=1))
    assert p.schedule.words > 4200
    assert p.images.weights == (p.schedule.weights[:, 0] & 255).tolist()


def test_files_have_two_words_at_least() -> None:
    p = quantize(Model(1, (Linear("y", ("x",), np.ones((1, 1))),)), None, Config(lanes=1))
    assert list(hex_files(p.images))[:2] == ["weights.hex", "beats.hex"]
    assert hex_files(p.images)["weights.hex"].splitlines()[1:] == ["00"]


def test_hex_lines() -> None:
    assert hex_lines([0, 1, 0x1F], 5) == "00\n01\n1f\n"
    assert hex_lines([1], 1) == "1\n"
    assert hex_lines([(1 << 129) - 1], 129) == "1" + 32 * "f" + "\n"
    values = np.random.default_rng(0).integers(0, 1 << 62, 50).tolist()
    assert [int(line, 16) for line in hex_lines(values, 62).splitlines()] == values
