"""What a program loses, in every unit, and data that are held out."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler.analysis.metric import Metric, check_classes, class_count, correct
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.tuning.holdout import Part, hold_out
from support.randoms import recurrent


@pytest.fixture(scope="module")
def model() -> Model:
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "a", "gru", ("x",), 3, 6),
        Linear("y", ("a",), rng.normal(size=(4, 6))),
    )
    return Model(3, layers)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(30, 12, 3))


def test_every_metric_by_hand(model: Model, x: np.ndarray) -> None:
    lengths = np.random.default_rng(2).integers(1, 13, 30)
    p = quantize(model, x, Config(3, activation_bits=6))
    y, goal = p.run(x), model.run(x)
    last = np.arange(30), lengths - 1
    labels = goal[last].argmax(1)
    labels[:9] = 0
    valid = np.arange(12) < lengths[:, None]
    off = (y - goal)[valid]
    error = (off**2).mean() / (goal[valid] ** 2).mean()

    accuracy = Metric(model, x, lengths, labels)(p)
    lost = (goal[last].argmax(1) == labels).mean() - (y[last].argmax(1) == labels).mean()
    assert accuracy.loss == pytest.approx(100 * lost)
    assert accuracy.error == pytest.approx(error)

    assert Metric(model, x, lengths)(p).loss == pytest.approx(100 * np.sqrt(error))
    assert Metric(model, x, lengths, kind="max")(p).loss == pytest.approx(np.abs(off).max())

    target = goal + 0.1 * np.random.default_rng(3).normal(size=goal.shape)
    judge = Metric(model, x, lengths, target)

    def nmse(v: np.ndarray) -> float:
        return float(10 * np.log10(((v - target)[valid] ** 2).sum() / (target[valid] ** 2).sum()))

    assert judge.kind == "nmse" and judge.float_score == pytest.approx(nmse(goal))
    assert judge(p).loss == pytest.approx(nmse(y) - nmse(goal))


def test_argmax_programs_are_measured_by_their_outputs(model: Model, x: np.ndarray) -> None:
    plain, index = (quantize(model, x, Config(argmax=a)) for a in (False, True))
    labels = np.zeros(30, int)
    judge = Metric(model, x, labels=labels)
    assert judge(plain) == judge(plain)
    assert (correct(index.run(x), labels, None) == correct(plain.run(x), labels, None)).all()


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (np.zeros(29, int), "", "29 labels for 30 sequences"),
        (np.full(30, 4), "", "label 0 is 4; the model has 4 outputs, .* from 0 to 3"),
        (-np.ones(30, int), "", "label 0 is -1"),
        (np.zeros((30, 12, 3)), "", r"wanted outputs have shape \(30, 12, 3\), .* \(30, 12, 4\)"),
        (None, "accuracy", "accuracy needs the class of each sequence"),
        (np.zeros(30, int), "nmse", "nmse needs the outputs that are wanted"),
        (None, "f1", "one of accuracy, nmse, rms, max, not 'f1'"),
    ],
)
def test_refuses(
    model: Model, x: np.ndarray, labels: np.ndarray | None, kind: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Metric(model, x, None, labels, kind)


def test_one_output_tells_no_classes_apart() -> None:
    rng = np.random.default_rng(0)
    layer = recurrent(rng, "a", "gru", ("x",), 3, 4)
    one = Model(3, (layer, Linear("y", ("a",), rng.normal(size=(1, 4)))))
    with pytest.raises(InputError, match="the model has one output"):
        Metric(one, np.zeros((2, 5, 3)), labels=np.zeros(2, int))
    assert class_count(quantize(one)) == 1
    # The index of an argmax is one output, and a class all the same.
    assert class_count(quantize(Model(3, (layer,)), None, Config(argmax=True))) == 4
    assert check_classes([3, 0], 2, 4).tolist() == [3, 0]


def test_halves_share_nothing_and_leave_nothing_out() -> None:
    x = np.arange(7.0)[:, None, None] * np.ones((7, 3, 2))
    data = Part(x, np.arange(7) % 3 + 1, np.arange(7))
    one, two, text = hold_out(data, 4)
    assert sorted([*one.labels, *two.labels]) == list(range(7))  # type: ignore[misc]
    for part in (one, two):
        assert (part.x[:, 0, 0] == part.labels).all()
        assert (part.lengths == part.labels % 3 + 1).all()  # type: ignore[operator]
    assert text == "calibrated on 4 of 7 sequences, evaluated on the other 3 (seed 4)"
    assert (hold_out(data, 4)[0].labels == one.labels).all()  # type: ignore[union-attr]
    assert any((hold_out(data, s)[0].labels != one.labels).any() for s in range(5))  # type: ignore[union-attr,operator]


def test_one_sequence_is_cut_in_the_middle() -> None:
    x = np.arange(9.0)[None, :, None]
    one, two, text = hold_out(Part(x, None, x), 0)
    assert (one.x[0, :, 0], two.x[0, :, 0])[1][0] == 4.0 and one.x.shape[1] == 4
    assert (two.labels == two.x).all() and "first 4 of 9 steps" in text
    with pytest.raises(InputError, match="cannot be split"):
        hold_out(Part(x[:, :1]), 0)
    with pytest.raises(InputError, match="3 labels for 1 sequences"):
        hold_out(Part(x, None, np.zeros(3)), 0)
