"""Memory images hold what the schedule says, in the fewest bits."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler import planes
from gatewright.compiler.cells import CELLS
from gatewright.compiler.config import Config
from gatewright.compiler.images import CHUNK, ROW_FIELDS, Field, Images, hex_files, hex_lines
from gatewright.compiler.model import Linear, Model
from gatewright.compiler.program import Program, quantize
from gatewright.compiler.schedule import NUMERIC
from randoms import program, recurrent


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
    expected = {name: schedule.table(name) for name in NUMERIC}
    for name in ROW_FIELDS:
        rows = schedule.row_table(name)
        expected |= {f"{name}[{i}]": rows[:, i] for i in range(rows.shape[1])}
    assert set(images.layout) == set(expected)
    for name, values in expected.items():
        got = [unpack(word, images.layout[name]) for word in images.beats]
        assert got == values.tolist(), name


@pytest.mark.parametrize("seed", range(15))
def test_fields_lie_side_by_side_and_constants_cost_nothing(seed: int) -> None:
    images: Images = random(seed).images
    at = 0
    for name, field in images.layout.items():
        assert field.offset == at, name
        at += field.width
    assert images.beat_width == max(1, at)
    assert max(images.beats) < 1 << images.beat_width
    values = random(seed).schedule
    for name in NUMERIC:
        table = values.table(name)
        assert (images.layout[name].width == 0) == (table.min() == table.max()), name


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
    assert list(hex_files(p.images)) == ["weights.hex", "beats.hex"]
    assert hex_files(p.images)["weights.hex"].splitlines()[1:] == ["00"]


def test_hex_lines() -> None:
    assert hex_lines([0, 1, 0x1F], 5) == "00\n01\n1f\n"
    assert hex_lines([1], 1) == "1\n"
    assert hex_lines([(1 << 129) - 1], 129) == "1" + 32 * "f" + "\n"
    values = np.random.default_rng(0).integers(0, 1 << 62, 50).tolist()
    assert [int(line, 16) for line in hex_lines(values, 62).splitlines()] == values
