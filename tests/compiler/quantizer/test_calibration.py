"""Calibration that starts from given states."""

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Model
from gatewright.compiler.quantizer.calibration import calibrate
from gatewright.compiler.quantizer.pipeline import quantize_stream
from support import randoms


@pytest.fixture
def case():
    """A GRU 3 -> 4, two sequences of five steps, and states."""
    rng = np.random.default_rng(1)
    model = Model(3, (randoms.recurrent(rng, "gru", "gru", ("x",), 3, 4),))
    return model, rng.normal(size=(2, 5, 3)), rng.uniform(-1, 1, (2, 4))


def test_moments_count_the_given_state(case):
    model, x, h = case
    zero = np.zeros_like(h)
    old = [h, *model.run(x, {"gru": (h, zero)}).swapaxes(0, 1)[:-1]]
    v = np.concatenate([np.ones((10, 1)), x.swapaxes(0, 1).reshape(10, 3), np.concatenate(old)], 1)
    measured = calibrate(model, x, state={"gru": (h, zero)})
    np.testing.assert_allclose(measured.moments["gru"], v.T @ v / 10, atol=1e-15)
    np.testing.assert_array_equal(calibrate(model, x).state["gru"][0], zero)


def test_error_is_measured_from_the_given_state(case):
    model, x, h = case
    start = {"gru": (h, np.zeros_like(h))}
    program = quantize_stream(model, x, Config(16, 16), state=start)
    found = program.run(x, golden.State.encode(program.network, start))
    error = np.abs(found - model.run(x, dict(start)))
    assert program.quality["error"]["max"] == error.max() <= 2e-4


def test_refused_states(case):
    model, x, h = case
    for state in ({"gru": (h[:1], h[:1])}, {"gru": (h, h[:, :3])}, {"other": (h, h)}):
        with pytest.raises(InputError, match=r"the recurrent layers take twice gru \(2, 4\)"):
            calibrate(model, x, state=state)
