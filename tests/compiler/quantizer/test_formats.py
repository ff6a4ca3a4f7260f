"""Formats by range and by error; corrections of biases; what a search over them keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model, Recurrent
from gatewright.compiler.quantizer.bias import correct_bias, float_gates
from gatewright.compiler.quantizer.calibration import calibrate
from gatewright.compiler.quantizer.formats import Formats, Loss, choose_formats, improve, unbounded
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.quantizer.trials import Trials
from support.randoms import recurrent

METHODS = ("error", "minmax", "percentile", "mse")


def stack(cell: str = "gru", seed: int = 0, h: int = 8, **options: str) -> Model:
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "a", cell, ("x",), 4, h, **options),
        Linear("y", ("a",), rng.normal(0, 0.5, (3, h)), rng.normal(size=3)),
    )
    return Model(4, layers)


def signal(n: int = 4, steps: int = 100, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, steps, 4))


# -- by range -------------------------------------------------------------------------------


def test_methods_place_the_point_by_their_own_rule() -> None:
    """A rare peak of 30 in values of about 1: only the largest value counts for minmax."""
    m = Model(1, (Linear("y", ("x",), np.ones((1, 1))),))
    x = np.random.default_rng(0).normal(0, 0.25, (1, 20_000, 1))
    x[0, ::4000] = 30.0
    measured = calibrate(m, x)
    found = {
        method: choose_formats(m, Config(calibration_method=method, activation_bits=6), measured)
        for method in METHODS
    }
    assert 5 - found["minmax"].x.frac == 5
    assert 5 - found["percentile"].x.frac == 0
    assert 5 - found["mse"].x.frac <= 5 and found["error"].x == found["mse"].x
    assert found["minmax"].integer["y"] == 6  # 25 % of head room beyond 30
    assert found["error"].integer == found["minmax"].integer
    assert found["percentile"].integer["y"] == 0


def test_what_can_leave_one() -> None:
    assert unbounded(stack()) == ["y"]
    assert unbounded(stack(candidate="relu")) == ["a", "y"]
    assert unbounded(stack("lstm")) == ["y"]


# -- by error -------------------------------------------------------------------------------


def test_improve_takes_what_pays_and_stops() -> None:
    m = stack(candidate="relu")
    start = choose_formats(m, Config(), calibrate(m, signal()))
    best = replace(start, integer={"a": start.integer["a"] - 2, "y": start.integer["y"]})
    asked: list[Formats] = []

    def error(formats: Formats) -> Loss:
        asked.append(formats)
        off = abs(formats.integer["a"] - best.integer["a"]) + abs(formats.x.frac - best.x.frac)
        return Loss(1.0 + off, 1.0)

    found, loss = improve(start, m, Config(), error, x=True)
    assert found == best and loss == Loss(1.0, 1.0)
    assert len(asked) < 12

    def peak(formats: Formats) -> Loss:
        """The mean falls, and a value is clipped."""
        return Loss(float(formats.integer["a"]) + 50, float(-formats.integer["a"]))

    assert improve(start, m, Config(), peak, x=False)[0].integer == start.integer
    for broken in (np.nan, np.inf):
        kept, _ = improve(start, m, Config(), lambda _, v=broken: Loss(v, v), x=True)
        assert kept == start


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn", "mgu"])
@pytest.mark.parametrize("bits", [6, 8])
def test_error_loses_no_more_than_the_methods_by_range(cell: str, bits: int) -> None:
    """On the calibration data it was chosen on, over all steps from their start."""
    options = {} if cell == "lstm" else {"candidate": "relu"}
    m, x = stack(cell, **options), signal()
    if cell == "rnn":
        layer = m.layers[0]
        m = replace(m, layers=(replace(layer, u={"n": 0.3 * layer.u["n"]}), m.layers[1]))  # type: ignore[union-attr]
    losses = {}
    for method in METHODS:
        p = quantize(m, x, Config(bits, activation_bits=bits, calibration_method=method))
        losses[method] = float(np.mean((p.run(x) - m.run(x)) ** 2))
    print(cell, bits, {k: f"{v:.2e}" for k, v in losses.items()})
    assert losses["error"] <= 1.05 * min(losses.values())


def test_assumed_data_choose_nothing_by_error() -> None:
    m = stack(candidate="relu")
    trials = Trials(m, calibrate(m, None))
    assert trials.formats(Config())[0] == choose_formats(m, Config(), trials.measured)


# -- pieces of the data ---------------------------------------------------------------------


def test_pieces_start_where_the_float_model_is() -> None:
    """Each piece, run on from its state, is the whole run."""
    m, x = stack("lstm"), signal(2, 1500)
    cuts = calibrate(m, x).cuts
    assert cuts.x.shape[1] == 256 and len(cuts.x) == 10
    np.testing.assert_allclose(m.run(cuts.x, dict(cuts.state)), cuts.reference, atol=1e-12)
    whole = m.run(x)
    np.testing.assert_array_equal(cuts.of(whole), cuts.reference)
    np.testing.assert_array_equal(cuts.of(x), cuts.x)


def test_pieces_of_padded_sequences_leave_padding_out() -> None:
    m, x = stack(), signal(6, 40)
    lengths = np.array([40, 3, 17, 1, 40, 22])
    cuts = calibrate(m, x, lengths).cuts
    assert cuts.valid.sum() == lengths.sum()


# -- biases ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_a_bias_that_is_off_is_put_right(cell: str) -> None:
    """Shift the bias of every gate of a 16-bit network: corrections take it back."""
    m, x = stack(cell), signal(8, 60)
    measured = calibrate(m, x)
    trials = Trials(m, measured)
    network = trials.network(Config(16, activation_bits=16))
    one = 1 << (network.numbers.tables.pre_frac + network.numbers.sum_shift)
    layer = network.layers[0]
    gates = tuple(
        replace(g, bias_input=g.bias_input + one // 20) if g.gate.source == "acc" else g
        for g in layer.gates
    )
    wrong = replace(network, layers=(replace(layer, gates=gates), *network.layers[1:]))
    errors = [trials.error(wrong).mean]
    for _ in range(8):
        wrong = correct_bias(wrong, float_gates(m, measured.cuts), measured.cuts, 0.5)
        errors.append(trials.error(wrong).mean)
    print(cell, [f"{e:.1e}" for e in errors])
    assert errors[-1] < 0.1 * errors[0]


def test_correction_is_kept_only_where_it_helps() -> None:
    """4-bit weights: the error never rises, and the choice is what ``network`` returns."""
    for seed in range(3):
        m, x = stack(seed=seed), signal(seed=seed)
        trials = Trials(m, calibrate(m, x))
        config = Config(4, activation_bits=12)
        best = trials.error(trials.network(config)).mean
        formats, _ = trials.formats(config)
        from gatewright.compiler.quantizer.rounding import RECIPES

        plain = [
            trials.error(trials._quantize(config, r, formats)).mean for r in RECIPES["compensated"]
        ]
        assert best <= min(plain)


def test_a_second_choice_costs_no_second_factorization(monkeypatch: pytest.MonkeyPatch) -> None:
    m = stack()
    trials = Trials(m, calibrate(m, signal()))
    trials.network(Config(5))
    monkeypatch.setattr(np.linalg, "inv", None)  # another one would fail
    network = trials.network(Config(5, weight_widths={"a.r": 4}))
    assert network.layers[0].gates[0].bits == 4


def test_weights_that_fit_exactly_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Linear("y", ("x",), np.array([[0.5, -1.0, 0.25, 0.75]]))
    m = Model(4, (layer,))
    trials = Trials(m, calibrate(m, signal()))
    runs = []
    real = golden.run
    monkeypatch.setattr(golden, "run", lambda *a, **k: runs.append(1) or real(*a, **k))
    trials.formats(Config())
    before = len(runs)
    trials.network(Config())
    assert len(runs) - before == 1


@pytest.mark.parametrize("method", ["error", "minmax", "percentile", "mse"])
@pytest.mark.parametrize("cell", ["gru", "gru_reset_before"])
def test_a_state_format_covers_a_candidate_without_bound(cell, method):
    """``h = h / 2 + n / 2`` of pulses of 1.5: no state reaches 1, the candidate does."""
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    layer = Recurrent(
        "gru0", cell, ("x",), 1, 1, w={"r": zero, "z": zero, "n": one},
        u=dict.fromkeys("rzn", zero), candidate="relu",
    )  # fmt: skip
    x = np.zeros((4, 64, 1))
    x[:, ::8] = 1.5
    m = Model(1, (layer,))
    p = quantize(m, x, Config(calibration_method=method))
    assert m.run(x).max() == pytest.approx(0.7529, abs=1e-4)
    assert np.abs(p.run(x) - m.run(x)).max() < 1e-4
    assert p.quality["saturations"] == {}
