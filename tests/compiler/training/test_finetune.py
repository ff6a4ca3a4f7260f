"""Training lowers the error, leaves the best weights, and repeats itself."""

from __future__ import annotations

import re
from pathlib import Path

import gatewright.compiler as gw
import numpy as np
import pytest
import torch
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.training.finetune import finetune, windows
from gatewright.compiler.training.network import Trainable, trainable
from support.randoms import recurrent

DOCS = Path(__file__).parents[3] / "docs" / "training.md"


def teacher(seed: int = 1) -> Model:
    rng = np.random.default_rng(seed)
    head = Linear("head", ("a",), rng.normal(size=(2, 8)), rng.normal(size=2))
    return Model(3, (recurrent(rng, "a", "gru", ("x",), 3, 8), head))


def inputs(n: int = 12, steps: int = 16) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(n, steps, 3))


def error(net: Trainable, x: np.ndarray) -> float:
    return float(np.mean((net.to_program().run(x) - net.model.run(x)) ** 2))


@pytest.mark.parametrize("learn_scales", [False, True])
def test_training_lowers_the_error_of_the_golden_model(learn_scales: bool) -> None:
    x = inputs(32)
    config = Config(weight_bits=4, rounding="nearest", lanes=6)
    net = trainable(teacher(), x, config, learn_scales=learn_scales)
    start = error(net, x)
    done = finetune(net, x, epochs=12, batch=8, rate=0.05)
    end = error(net, x)
    print(f"{start:.3g} -> {end:.3g}, best epoch {done.best}")
    assert end < 0.7 * start
    assert done.best == int(np.argmin(done.errors))
    assert len(done.errors) == len(done.loss) + 1 == 13


def test_the_best_weights_stay_even_if_training_diverges() -> None:
    x = inputs()
    net = trainable(teacher(), x, Config(lanes=6))
    program = net.to_program()
    done = finetune(net, x, epochs=2, rate=100.0)
    assert done.best == 0
    assert min(done.errors[1:]) > done.errors[0]
    assert net.to_program().digest == program.digest
    assert not net.training


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_same_seed_gives_the_same_weights(average: float) -> None:
    x = inputs()
    digests = []
    for seed in (0, 0, 1):
        net = trainable(teacher(), x, Config(weight_bits=3, rounding="nearest", lanes=6))
        finetune(net, x, epochs=3, batch=4, rate=0.1, seed=seed, average=average)
        digests.append(net.to_program().digest)
    assert digests[0] == digests[1] != digests[2]


def test_windows_start_in_the_state_of_the_float_model() -> None:
    model, x = teacher(), inputs(1, 50)[0]
    parts, state = windows(model, x, 15)
    assert parts.shape == (3, 15, 3)
    whole = model.run(x[:45])
    again = model.run(parts, {name: both for name, both in state.items()})
    np.testing.assert_allclose(again.reshape(45, 2), whole, atol=1e-12)
    net = trainable(model, x, Config(lanes=6))
    codes = net.encode(state)
    assert codes["a"]["h"].shape == (3, 8)
    finetune(net, parts, state=state, epochs=1)
    with pytest.raises(InputError, match=r"expected at least \(60, features\)"):
        windows(model, x, 60)


def test_own_targets_loss_and_padding() -> None:
    """Labels at the last valid step; what is in the padding is never looked at."""
    x = inputs(20, 10)
    lengths = np.arange(20) % 8 + 3
    labels = (x[:, :3].sum(axis=(1, 2)) > 0).astype(np.int64)
    net = trainable(teacher(), x, Config(lanes=6), lengths=lengths)
    targets = np.broadcast_to(labels[:, None, None], (20, 10, 1))

    def loss(y: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        last = mask.sum(1) - 1
        rows = torch.arange(len(y))
        return torch.nn.functional.cross_entropy(y[rows, last], target[:, 0, 0].long())

    def score(net: Trainable) -> float:
        y = net.to_program().run(x)[np.arange(20), lengths - 1]
        return float((y.argmax(1) != labels).mean())

    done = finetune(
        net, x, lengths=lengths, targets=targets, loss=loss, score=score, epochs=15, batch=10
    )
    print(done.errors)
    assert min(done.errors) < done.errors[0]
    changed = x.copy()
    changed[np.arange(10) >= lengths[:, None]] = 1e3
    digests = []
    for data in (x, changed):
        other = trainable(teacher(), x, Config(lanes=6), lengths=lengths)
        finetune(
            other, data, lengths=lengths, epochs=2, rate=0.1, score=lambda n: -float(n.training)
        )
        finetune(other, data, lengths=lengths, epochs=2, rate=0.1)
        digests.append(other.to_program().digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs and batch are 1 or more"),
        ({"rate": 0.0}, "rate above 0"),
        ({"average": 1.0}, "average from 0 to 1"),
        ({"warmup": 99}, "no step is left after a warmup of 99"),
        ({"targets": np.zeros((1, 2, 3))}, "targets have shape"),
        ({"lengths": [1]}, "lengths are 12 whole numbers"),
        ({"validation": {"y": 1, "x": inputs()}}, "unknown keys"),
        ({"x": np.zeros((2, 3))}, "x has shape"),
        ({"x": np.full((2, 3, 3), np.nan)}, "NaN"),
    ],
)
def test_wrong_input_is_refused(options: dict, message: str) -> None:
    net = trainable(teacher(), inputs(), Config(lanes=6))
    with pytest.raises(InputError, match=message):
        finetune(net, **({"x": inputs()} | options))


def test_quality_is_measured_and_saved(tmp_path: Path) -> None:
    x = inputs()
    net = trainable(teacher(), x, Config(lanes=6, argmax=True))
    program = net.to_program(x)
    assert program.quality["error"]["max"] < 0.5
    program.save(tmp_path / "p")
    again = Program.load(tmp_path / "p")
    assert again.digest == program.digest
    assert again.network.argmax
    assert again.summary["error"] == program.quality["error"]


def test_the_documented_recipes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    assert len(blocks) == 2
    names = {"gw": gw, "model": teacher(), "x": inputs(), "lengths": np.full(12, 16)}
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "program" / "program.json").exists()
