"""The search over widths: what it promises, that it goes on where it was, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler.analysis.metric import Metric
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.tuning import search as tuning
from gatewright.compiler.tuning.plot import rows
from gatewright.compiler.tuning.result import Point, Tuning, pareto
from gatewright.compiler.tuning.search import memory_bits, tune
from support.randoms import program, recurrent

RNG = np.random.default_rng(0)
MODEL = Model(
    3,
    (
        recurrent(RNG, "a", "gru", ("x",), 3, 8),
        Linear("y", ("a",), RNG.normal(size=(4, 8))),
    ),
)
X = np.random.default_rng(1).normal(size=(60, 10, 3))
LENGTHS = np.random.default_rng(2).integers(1, 11, 60)
CLASSES = MODEL.run(X)[np.arange(60), LENGTHS - 1].argmax(1)
START = Config(lanes=24)  # the eight neurons of each gate have lanes of their own


def search(max_loss: float = 5.0, folder: Path | None = None, **options: object) -> Tuning:
    return tune(MODEL, X, max_loss, lengths=LENGTHS, folder=folder, config=START, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Tuning:
    return search(0.5)


def test_what_is_found_keeps_the_metric_and_is_cheaper(found: Tuning) -> None:
    assert found.about["metric"] == "rms" and found.chosen.loss <= 0.5
    assert found.chosen.memory < found.start.memory
    assert found.about["split"].startswith("calibrated on 30 of 60 sequences")
    assert found.about["sequences"] == 30
    assert found.chosen.weight_widths, "single gates were narrowed"


def test_workers_find_the_same(found: Tuning) -> None:
    assert search(0.5, jobs=3).to_json() == found.to_json()


def test_its_figures_are_those_of_the_program(found: Tuning) -> None:
    order = np.random.default_rng(0).permutation(60)
    fit, held = np.sort(order[:30]), np.sort(order[30:])
    p = quantize(MODEL, X[fit], found.config, lengths=LENGTHS[fit])
    score = Metric(MODEL, X[held], LENGTHS[held])(p)
    assert found.chosen.loss == pytest.approx(score.loss) and found.chosen.error == score.error
    assert found.chosen.weight_memory == p.summary["weight_rom_bits"]
    assert found.chosen.cycles == p.summary["cycles_per_step"]


@pytest.mark.parametrize("seed", range(6))
def test_memory_without_packing_is_that_of_the_images(seed: int) -> None:
    p = program(seed, largest=8)
    weights, memory = memory_bits(p)
    assert weights == p.images.weight_bits
    assert memory > weights + len(p.images.beats) * p.images.beat_bits


def test_the_front_is_of_what_nothing_beats(found: Tuning) -> None:
    front = found.front
    assert [p.memory for p in front] == sorted(p.memory for p in front)
    assert [p.loss for p in front] == sorted((p.loss for p in front), reverse=True)

    def point(memory: int, loss: float) -> Point:
        return Point(8, 8, 8, 8, {}, loss, loss, memory, memory, 1, 1)

    points = [point(5, 1.0), point(3, 2.0), point(4, 2.5), point(6, 1.0), point(9, 0.0)]
    assert [(p.memory, p.loss) for p in pareto(points)] == [(3, 2.0), (5, 1.0), (9, 0.0)]


def test_classes_and_wanted_outputs() -> None:
    by_class = search(4.0, labels=CLASSES)
    assert by_class.about["metric"] == "accuracy" and by_class.about["float"] == 100.0
    assert by_class.chosen.loss <= 4.0
    target = MODEL.run(X) + 0.1
    by_target = search(0.5, labels=target)
    assert by_target.about["metric"] == "nmse" and by_target.chosen.loss <= 0.5
    x = X.reshape(-1, 3)[:50]
    one = tune(MODEL, x, 3.0, labels=MODEL.run(x) + 1.0, config=START)
    assert "first 25 of 50 steps" in one.about["split"]


def test_wider_where_the_start_loses_too_much() -> None:
    made = tune(MODEL, X, 0.02, lengths=LENGTHS, config=Config(4, activation_bits=6, lanes=6))
    assert made.start.loss > 0.02 >= made.chosen.loss
    with pytest.raises(
        CheckError, match=r"no widths up to 16 bits keep the loss within 1e-06 .* max_loss="
    ):
        search(1e-6)


# -- the folder -----------------------------------------------------------------------------


class Stop(Exception):
    pass


def test_an_interrupted_search_goes_on(
    tmp_path: Path, found: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stop(_: float, text: str) -> None:
        seen.append(text)
        if len(seen) == 7:
            raise Stop

    with pytest.raises(Stop):
        search(0.5, tmp_path, progress=stop)
    journal = tmp_path / "journal.jsonl"
    before = len(journal.read_text().splitlines()) - 1
    assert 3 <= before <= 7
    journal.write_text(journal.read_text() + '{"name": "[6, 12')  # cut off in the middle of a line
    calls = []
    real = Metric.__call__
    monkeypatch.setattr(Metric, "__call__", lambda self, p: calls.append(1) or real(self, p))
    whole = search(0.5, tmp_path)
    assert whole.to_json() == found.to_json()
    assert len(calls) == whole.about["evaluations"] - before
    for line in journal.read_text().splitlines():
        json.loads(line)
    # A finished search evaluates nothing, and quantizes nothing.
    monkeypatch.setattr(tuning, "Trials", None)
    assert search(0.5, tmp_path).to_json() == found.to_json()
    assert len(calls) == whole.about["evaluations"] - before


def test_the_folder_holds_the_chosen_program(tmp_path: Path, found: Tuning) -> None:
    made = search(0.5, tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    p = Program.load(folder / "program")
    assert p.config == made.config == Config.from_toml(folder / "config.toml")
    assert (folder / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "result.json").read_text())["chosen"]["loss"] == made.chosen.loss
    # Another limit uses what was evaluated, and replaces the result.
    looser = search(3.0, folder)
    assert looser.chosen.memory <= made.chosen.memory
    assert Program.load(folder / "program").config == looser.config


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"labels": CLASSES},
        {"config": Config(lanes=7)},
        {"x": X + 1e-9},
        {"model": Model(3, (MODEL.layers[0],))},
    ],
)
def test_a_folder_of_another_search_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    search(50.0, tmp_path)
    options = {
        "model": MODEL,
        "x": X,
        "max_loss": 50.0,
        "lengths": LENGTHS,
        "config": START,
        **other,
    }
    with pytest.raises(InputError, match="another model, data or options; give another folder"):
        tune(folder=tmp_path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["{}\n", "[1]\n", "not json\n", '{"key": "k"}\n{"name": 3}\n'])
def test_a_damaged_journal_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"journal.jsonl is (damaged|of a search with another)"):
        search(5.0, tmp_path)


def test_refuses_what_does_not_fit() -> None:
    for value in (-0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match="loss that is allowed is a number from 0 on"):
            search(value)
    with pytest.raises(InputError, match="59 labels for 60 sequences"):
        search(labels=CLASSES[1:])
    with pytest.raises(InputError, match=r"'b'.* does not have"):
        tune(MODEL, X, 1.0, config=Config(weight_widths={"b": 4}))
    reverse = Model(3, (recurrent(RNG, "r", "gru", ("x",), 3, 2),))
    object.__setattr__(reverse.layers[0], "reverse", True)
    with pytest.raises(InputError, match="one pass only"):
        tune(reverse, X, 1.0)


# -- the command ----------------------------------------------------------------------------


def test_command(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "tune", str(tiny / "model.safetensors"), "--data", str(tiny / "x.npz"), "--metric", "rms",
        "--max-loss", "3", "--lanes", "6", "-o", str(tmp_path / "t"),
    ]  # fmt: skip
    assert main([*arguments, "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["chosen"]["loss"] <= 3 and got["metric"] == "rms"
    assert main(arguments) == 0
    done = capsys.readouterr()
    assert "chosen" in done.out and "written:" in done.out
    assert (
        done.err.startswith("warning: not compared with your model") and done.err.count("\n") == 1
    )
    assert "calibrated on 3 of 5 sequences" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-loss", "-1"], ["from 0 on", "-1"]),
        (["--max-loss", "1", "--metric", "f1"], ["accuracy, nmse, rms, max"]),
        (["--max-loss", "1", "--labels", "absent.npy"], ["absent.npy"]),
        (["--max-loss", "1", "--seed", "-1"], ["--seed"]),
        (["--max-loss", "1", "--weight-bits", "8,gru7=4"], ["gru7"]),
        ([], ["--max-loss"]),
    ],
)
def test_command_refuses(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str],
    words: list[str],
) -> None:  # fmt: skip
    base = ["tune", str(tiny / "model.safetensors"), "--data", str(tiny / "x.npz")]
    assert main([*base, "-o", str(tmp_path / "t"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error
    for word in words:
        assert word in error


def test_labels_of_another_length(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "y.npy", np.zeros(4, int))
    arguments = ["--labels", str(tmp_path / "y.npy"), "--max-loss", "1", "-o", str(tmp_path / "t")]
    base = ["tune", str(tiny / "model.safetensors"), "--data", str(tiny / "x.npz")]
    assert main([*base, *arguments]) == 1
    assert "4 labels for 5 sequences" in capsys.readouterr().err


def test_the_table_names_the_chosen_and_the_start(found: Tuning) -> None:
    head, *body = rows(found)
    assert len({len(row) for row in (head, *body)}) == 1
    assert [row[0] for row in body].count("chosen") == 1 and body[-1][0] == "start"
    on_front = replace(found, front=[*found.front, found.start])
    assert rows(on_front)[-1][0] == "start" and len(rows(on_front)) == len(on_front.front) + 1


def test_progress_only_grows() -> None:
    seen: list[float] = []
    search(5.0, progress=lambda done, _: seen.append(done))
    assert seen == sorted(seen) and seen[0] < 0.2 and seen[-1] < 1


def test_a_larger_memory_is_called_larger(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weight-bits", "2", "--metric", "max", "--max-loss", "0.003"]
    model, data = str(tiny / "model.safetensors"), str(tiny / "x.npz")
    assert main(["tune", model, "--data", data, *arguments, "-o", str(tmp_path / "t")]) == 0
    assert "% more than at the start" in capsys.readouterr().out
