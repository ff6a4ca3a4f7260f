"""A program's folder comes back as it was, or says what is wrong; the lanes it chooses suffice."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.files.budget import memory_limit
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize, quantize_stream
from support.randoms import program, recurrent

FILES = (
    "beats.hex",
    "beats_1.hex",
    "beats_2.hex",
    "program.json",
    "weights.hex",
    "weights.npz",
)


def small(**knobs: object) -> Program:
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "gru", "gru", ("x",), 3, 6),
        Linear("head", ("gru",), rng.normal(size=(2, 6))),
    )
    return quantize(Model(3, layers), rng.normal(size=(2, 30, 3)), Config(**knobs))  # type: ignore[arg-type]


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program") / "small"
    small(lanes=5).save(folder)
    return folder


def assert_refused(
    damage: Callable[[Path], None], message: str, saved: Path, tmp_path: Path
) -> None:
    """Damage a copy of a program's folder; reading it must say what is wrong."""
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    damage(folder)
    with pytest.raises(InputError, match=message):
        Program.load(folder)


@pytest.mark.parametrize("seed", range(8))
def test_a_saved_program_comes_back(seed: int, tmp_path: Path) -> None:
    p = program(seed, cells=tuple(CELLS), largest=8)
    p.save(tmp_path / "p")
    q = Program.load(tmp_path / "p")
    assert q.digest == p.digest and q.config == p.config and q.geometry == p.geometry
    assert q.summary == p.summary
    x = np.random.default_rng(seed).normal(size=(2, 6, p.network.input_size))
    assert (q.run(x) == p.run(x)).all()
    assert q.images.weights == p.images.weights and q.images.beats == p.images.beats


def test_the_same_bytes_twice(saved: Path, tmp_path: Path) -> None:
    small(lanes=5).save(tmp_path / "a")
    Program.load(saved).save(tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == digests(saved)
    assert tuple(sorted(digests(saved))) == FILES
    with zipfile.ZipFile(saved / "weights.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_files_say_what_the_program_is(saved: Path) -> None:
    p = Program.load(saved)
    data = json.loads((saved / "program.json").read_text())
    assert data["digest"] == p.digest
    assert data["summary"] == p.summary
    images = p.images
    for name, words in hex_files(images).items():
        assert (saved / name).read_text() == words
    field = images.layout["act"]
    layout = [field.offset, field.width, field.base, int(field.signed), field.part]
    assert data["beat_layout"]["act"] == layout
    assert str(saved.parent) not in (saved / "program.json").read_text()


def test_another_weight_is_another_digest() -> None:
    p, q = small(lanes=5), small(lanes=5)
    assert p.digest == q.digest
    del q.digest
    q.network.layers[0].gates[0].w[0, 0] ^= 1  # type: ignore[index]
    assert p.digest != q.digest
    assert p.digest != small(lanes=6).digest


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def apply(folder: Path) -> None:
        data = json.loads((folder / "program.json").read_text())
        change(data)
        (folder / "program.json").write_text(json.dumps(data))

    return apply


def cut(folder: Path) -> None:
    data = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(data[: len(data) // 2])


def flip(folder: Path) -> None:
    """Change one weight and keep the archive whole."""
    with np.load(folder / "weights.npz") as data:
        arrays = dict(data)
    arrays["gru/r/w"] = arrays["gru/r/w"] ^ 1
    np.savez(folder / "weights.npz", **arrays)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "program.json").unlink(), "it has no program.json; .*gatewright quantize"),
        (lambda f: (f / "weights.npz").unlink(), "cannot read .*weights.npz"),
        (cut, "is damaged"),
        (flip, "is damaged: its digest is"),
        (lambda f: (f / "program.json").write_text("{"), "is damaged"),
        (lambda f: (f / "program.json").write_text("[1]"), "is damaged"),
        (lambda f: (f / "program.json").write_bytes(b"\xff\xfe"), "is damaged"),
        (edit(lambda d: d.update(schema=99)), "has schema 99, this version reads"),
        (edit(lambda d: d.pop("layers")), "is damaged"),
        (edit(lambda d: d["layers"][0].update(cell="qrnn")), "qrnn.*lacks"),
        (edit(lambda d: d["layers"][0].update(size=7)), "is damaged"),
        (edit(lambda d: d["numbers"].update(sum_shift=3)), "is damaged"),
        (edit(lambda d: d["config"].update(lanes=0)), "is damaged|digest"),
        (edit(lambda d: d["config"].update(lanes=-3)), "lanes is a whole number"),
        (edit(lambda d: d["input"].update(size=10**9)), "is damaged"),
        (edit(lambda d: d.update(digest="0" * 64)), "program.json says 0000"),
    ],
)
def test_damage_is_an_input_error(
    damage: Callable[[Path], None], message: str, saved: Path, tmp_path: Path
) -> None:
    assert_refused(damage, message, saved, tmp_path)


def summary(**changes: object) -> Callable[[Path], None]:
    return edit(lambda d: d["summary"].update(changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (summary(cycles_per_step=1), r"was edited: summary\.cycles_per_step says 1, the program has"),
        (summary(utilization=1.0), r"was edited: summary\.utilization"),
        (summary(error=0), r"summary\.error is 0, expected an object"),
        (summary(error={"max": "0", "mean": 0}), r"summary\.error\.max is 0, expected a finite"),
        (summary(error={"max": 0, "mean": 0}), "was edited: summary has other error"),
        (summary(saturations={"gru": [1, 2]}), "was edited: summary has other error"),
        (edit(lambda d: d.update(quality_digest="0" * 64)), "was edited: summary has other"),
        (summary(saturations=[1]), r"summary\.saturations is \[1\]"),
        (summary(calibration="none"), "expected data or synthetic"),
        (edit(lambda d: d["summary"].pop("error")), r"summary has no error"),
        (edit(lambda d: d["beat_layout"].update(act=[0, 1, 0, 0, 0])), r"was edited: beat_layout\.act"),
        (lambda f: (f / "weights.hex").write_text("00\n"), r"weights\.hex was edited"),
        (lambda f: (f / "beats.hex").write_text(
            (f / "beats.hex").read_text().replace("0", "1", 1)), r"beats\.hex was edited"),
        (edit(lambda d: d["layers"][0].update(size=10**6)), r"gru/r/w_frac is .*expected \(1000000,\)"),
        (edit(lambda d: d.update(layers=[])), r"layers is \[\], expected a list of 1"),
        (edit(lambda d: d["layers"][0].update(frac=10**17)), "frac is 1000000"),
        (edit(lambda d: d["numbers"].update(sum_shift=10**400)), "beyond the range of 64 bits"),
        (edit(lambda d: d["numbers"].update(slope=float("nan"))), "no finite number"),
        (edit(lambda d: d["layers"].append(d["layers"][0])), "is there twice"),
        (edit(lambda d: d.update(outputs=["x"])), "outputs .* are of no layer"),
        (lambda f: (f / "program.json").write_text("[" * 100_000), "is not a JSON file"),
    ],
)  # fmt: skip
def test_edited_folders_are_named(
    damage: Callable[[Path], None], message: str, saved: Path, tmp_path: Path
) -> None:
    assert_refused(damage, message, saved, tmp_path)


def test_a_member_of_zeros_is_refused_before_it_is_unpacked(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    with np.load(folder / "weights.npz") as data:
        arrays = dict(data)
    np.savez_compressed(folder / "weights.npz", **(arrays | {"gru/r/w": np.zeros(1 << 22, "i2")}))
    with pytest.raises(InputError, match=r"gru/r/w is int16 of shape .* expected"):
        Program.load(folder)
    with memory_limit(1 << 20), pytest.raises(InputError, match="--memory"):
        Program.load(folder)


def test_figures_without_a_digest_of_theirs_are_not_shown(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    edit(lambda d: d.pop("quality_digest"))(folder)
    assert "error" not in Program.load(folder).summary
    assert "error" in Program.load(saved).summary


def test_images_that_are_not_there_are_not_missed(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    for path in folder.glob("*.hex"):
        path.unlink()
    assert Program.load(folder).digest == Program.load(saved).digest


def test_pickles_are_not_opened(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    with np.load(folder / "weights.npz") as data:
        arrays = dict(data)
    arrays["gru/r/w"] = np.array([{}], dtype=object)
    np.savez(folder / "weights.npz", **arrays)
    with pytest.raises(InputError, match="gru/r/w has dtype object"):
        Program.load(folder)


def test_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError):
        small(lanes=2).save(tmp_path / "mine")
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    small(lanes=2).save(tmp_path / "other")
    small(lanes=3).save(tmp_path / "other")
    assert Program.load(tmp_path / "other").geometry.lanes == 3


# -- lanes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e3, 5e4, 1.5e5])
def test_lanes_meet_the_rate(rate: float) -> None:
    p = small(rate=rate, clock=12e6)
    budget = 12e6 / rate
    assert p.schedule.cycles()[0] <= budget
    assert p.geometry.lanes == 1 or small(lanes=p.geometry.lanes - 1).schedule.cycles()[0] > budget


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"leave 1 cycles a step.*lower the rate or raise"):
        small(rate=1e7, clock=12e6)


def test_lanes_default_to_what_pays() -> None:
    p = small()
    assert 1 <= p.geometry.lanes <= 24
    assert small(lanes=7).geometry.lanes == 7


# -- values ---------------------------------------------------------------------------------


def test_encode_and_decode() -> None:
    p = small(lanes=2)
    x = np.random.default_rng(1).normal(size=(4, 3))
    codes = p.encode(x)
    assert codes.shape == (1, 4, 3)
    assert (codes == p.network.input_format.quantize(x)[None]).all()
    assert p.run(x).shape == (4, 2) and p.run(x[None]).shape == (1, 4, 2)
    steps = p.network.output_steps
    assert (p.decode(np.array([[1, -2]])) == steps * [1, -2]).all()
    assert (p.run(x) / steps == np.round(p.run(x) / steps)).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2)), r"x has shape \(4, 2\), expected \(steps, 3\)"),
        (np.zeros(3), r"x has shape \(3,\)"),
        (np.full((4, 3), np.nan), "x holds nan at .*must be finite"),
        (np.array([[0, 0, np.inf]]), r"x holds inf at \[0, 0, 2\]"),
    ],
)
def test_encode_refuses(x: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(lanes=2).encode(x)


def test_summary_adds_up() -> None:
    p = small(lanes=5)
    s, schedule = p.summary, p.schedule
    assert s["macs_per_step"] == 3 * 6 * (3 + 6) + 2 * 6
    assert (s["cycles_per_step"], s["latency_cycles"]) == schedule.cycles()
    assert s["weight_rom_bits"] == p.images.weight_bits <= schedule.weights.size * 8
    assert s["utilization"] == round(s["macs_per_step"] / (5 * s["cycles_per_step"]), 4)
    assert s["calibration"] == "data"
    assert 0 <= s["error"]["mean"] <= s["error"]["max"] < 0.1
    json.dumps(s)


def wide_features(seed: int = 0) -> tuple[Model, np.ndarray]:
    """A model that reads features of about 1e5, 1 and 1e-3, as a folded batch norm makes them."""
    rng = np.random.default_rng(seed)
    scale = np.array([1e5, 1.0, 1e-3])
    layer = recurrent(rng, "gru", "gru", ("x",), 3, 8)
    layer = replace(layer, w={g: w / scale for g, w in layer.w.items()})
    return Model(3, (layer,)), rng.normal(size=(4, 40, 3)) * scale


def test_features_of_very_different_range_get_their_own_binary_points(tmp_path: Path) -> None:
    model, x = wide_features()
    p = quantize(model, x, Config(lanes=8))
    assert len(p.exponents) == 3 and p.exponents[0] - p.exponents[2] > 20
    assert np.abs(p.run(x) - model.run(x)).max() < 0.02
    one_format = quantize_stream(model, x, Config(lanes=8))
    assert np.abs(one_format.run(x) - model.run(x)).max() > 0.2
    p.save(tmp_path / "p")
    again = Program.load(tmp_path / "p")
    assert again.exponents == p.exponents and again.digest == p.digest
    assert (again.encode(x) == p.encode(x)).all()


@pytest.mark.parametrize("spread", [3.0, 100.0])
def test_features_share_one_format_unless_it_makes_more_error(spread: float) -> None:
    """Features of 100 and 1 lose 6 bits in one format; of 3 and 1 nothing is gained."""
    model, x = wide_features()
    unit = np.array([1e5, 1.0, 1e-3]) / [spread, 1.0, 1.0]
    x, layer = x / unit, model.layers[0]
    model = Model(3, (replace(layer, w={g: w * unit for g, w in layer.w.items()}),))
    p, one = quantize(model, x), quantize_stream(model, x)
    assert bool(p.exponents) == (spread == 100.0)
    error = [each.quality["error"]["mean"] for each in (p, one)]
    assert error[1] > 2 * error[0] if p.exponents else p.digest == one.digest


@pytest.mark.parametrize("name", ["lanes", "split", "beat"])
def test_an_edited_shape_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "edited")
    data = json.loads((folder / "program.json").read_text())
    data["geometry"][name] += 1
    (folder / "program.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"is damaged.*(its digest is|no engine has the shape)"):
        Program.load(folder)


# -- states that users give -----------------------------------------------------------------


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_run_starts_from_values(cell: str) -> None:
    """The golden model from a state of values is within rounding of the float model from it."""
    rng = np.random.default_rng(4)
    m = Model(3, (recurrent(rng, "a", cell, ("x",), 3, 4), recurrent(rng, "b", cell, ("a",), 4, 2)))
    x = rng.normal(size=(2, 5, 3))
    p = quantize(m, x, Config(lanes=1, weight_bits=16))
    state = {"a": rng.uniform(-0.9, 0.9, (2, 2, 4)), "b": rng.uniform(-0.9, 0.9, (2, 2, 2))}
    by_layer = {name: (h, c) for name, (h, c) in state.items()}
    parts = [v for h, c in state.values() for v in ((h, c) if cell == "lstm" else (h,))]
    out = p.run(x, state=by_layer)
    assert (out == p.run(x, state=np.concatenate(parts, axis=1))).all()
    assert np.abs(out - m.run(x, dict(by_layer))).max() < 2e-3 < np.abs(out - p.run(x)).max()
    one = {name: (h[0], c[0]) for name, (h, c) in state.items()}
    assert (p.run(x, state=one)[0] == out[0]).all()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.zeros(3), r"state has shape \(3,\), expected \(6,\) or \(2, 6\)"),
        (np.full(6, np.nan), "state holds NaN or infinite values"),
        ("zero", "state is str, not numbers"),
        (np.full(6, 50.0), "state of gru reaches 50, its format Q16.15 ends at 1;"),
        ({"b": (np.zeros(4), np.zeros(4))}, r"state is of layers \['b'\], the program has \['gru'\]"),
        ({"gru": (np.zeros(5), np.zeros(5))}, r"state\['gru'\] has shape \(5,\), expected \(6,\)"),
    ],
)  # fmt: skip
def test_states_that_do_not_fit_are_refused(state: object, message: str) -> None:
    p = small(lanes=1)
    with pytest.raises(InputError, match=message):
        p.run(np.zeros((2, 3, p.input_size)), state=state)  # type: ignore[arg-type]
