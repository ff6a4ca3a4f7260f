"""Training modules: code for code the golden model, with the gradient of the smooth function."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.training.layers import GRU, LSTM, MGU, RNN, Recurrent
from gatewright.compiler.training.layers import Linear as QuantLinear
from gatewright.compiler.training.network import Trainable, calibrate, to_program, trainable
from gatewright.compiler.training.plan import Plan
from gatewright.compiler.training.quantizable import Quantizable
from support.randoms import config, extreme_codes, model, recurrent
from torch import nn

STEPS = 30


def shaken(net: nn.Module, seed: int) -> None:
    """Move every parameter, as training would."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.05 * torch.randn(p.shape, dtype=p.dtype, generator=random)


def mismatch(net: Trainable, program: Program, codes: np.ndarray) -> int:
    """Count outputs that differ from the golden model's, on codes beyond calibration."""
    x = codes * program.network.input_format.step
    if program.exponents:
        x = x * 2.0 ** np.array(program.exponents)
    with torch.no_grad():
        return int((net(torch.from_numpy(x)).numpy() != program.run(x)).sum())


def check_random(seed: int, **changes: object) -> None:
    rng = np.random.default_rng(seed)
    m, widths = model(rng, cells=tuple(CELLS)), config(rng)
    x = rng.normal(size=(2, 12, m.input_size))
    net = trainable(m, x, replace(widths, **changes))
    assert net.to_program().digest == quantize(m, x, net.config).digest
    shaken(net, seed)
    program = net.to_program()
    print(seed, [layer.cell for layer in program.network.layers], net.config)
    assert mismatch(net, program, extreme_codes(program, rng, 3, STEPS)) == 0


@pytest.mark.parametrize("seed", range(12))
def test_a_random_network_equals_golden(seed: int) -> None:
    check_random(seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_random_networks_equal_golden(seed: int) -> None:
    check_random(seed)


@pytest.mark.parametrize("activation", ["interpolated", "direct", "hard"])
@pytest.mark.parametrize(("weights", "operands"), [(4, 8), (6, 12), (8, 16), (16, 16)])
def test_every_cell_equals_golden(weights: int, operands: int, activation: str) -> None:
    """All cells in one network, with a skip connection and a linear head."""
    rng = np.random.default_rng(weights)
    layers: list = []
    source: tuple[str, ...] = ("x",)
    sizes = {"x": 3}
    for k, cell in enumerate(CELLS):
        width = sum(sizes[name] for name in source)
        layers.append(recurrent(rng, cell, cell, source, width, 4 + k % 3))
        sizes[cell] = 4 + k % 3
        source = (cell, "x") if k % 3 == 0 else (cell,)
    width = sum(sizes[name] for name in source)
    layers.append(Linear("head", source, rng.normal(size=(2, width)), rng.normal(size=2)))
    m = Model(3, tuple(layers), ("head", "gru"))
    widths = Config(weight_bits=weights, activation_bits=operands, activation=activation)
    net = trainable(m, rng.normal(size=(2, 12, 3)), widths)
    shaken(net, 0)
    program = net.to_program()
    assert mismatch(net, program, extreme_codes(program, rng, 2, STEPS)) == 0


def test_training_mode_is_float32_rounding_away() -> None:
    """The same network in float32: at these widths most codes are the same, none is far off."""
    rng = np.random.default_rng(1)
    m = Model(5, (recurrent(rng, "a", "gru", ("x",), 5, 12),))
    x = rng.normal(size=(4, 40, 5))
    net = trainable(m, x, Config())
    with torch.no_grad():
        exact = net(torch.from_numpy(x)).numpy()
        fast = net.train()(torch.from_numpy(x))
    assert fast.dtype == torch.float32
    off = np.abs(fast.numpy() - exact) * 2.0**15
    print(f"codes that differ: {(off > 0).mean():.4%}, at most by {off.max():.0f}")
    assert (off > 0).mean() < 0.01
    assert off.max() <= 64


@pytest.mark.parametrize("seed", range(8))
def test_thresholds_equal_golden_and_go_on_from_a_state(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, widths = model(rng, cells=tuple(CELLS)), config(rng)
    top = 1 << max(0, widths.activation_bits - 3)
    widths = replace(
        widths, engine="delta", threshold=int(rng.integers(0, top + 1)),
        threshold_input=int(rng.integers(-1, 3)),
    )  # fmt: skip
    net = trainable(m, rng.normal(size=(2, 12, m.input_size)), widths)
    shaken(net, seed)
    program = net.to_program()
    codes = extreme_codes(program, rng, 3, STEPS)
    assert mismatch(net, program, codes) == 0
    x = torch.from_numpy(codes * program.network.input_format.step)
    with torch.no_grad():
        whole, _ = net.walk(x)
        first, state = net.walk(x[:, :11])
        second, _ = net.walk(x[:, 11:], state)
    assert torch.equal(torch.cat([first, second], 1), whole)
    one = golden.run(program.network, codes[:, :11])
    two = golden.run(program.network, codes[:, 11:], one.state)
    whole_codes = golden.run(program.network, codes).outputs
    assert (np.concatenate([one.outputs, two.outputs], axis=1) == whole_codes).all()


def test_a_threshold_of_zero_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    m = model(rng, cells=tuple(CELLS))
    x = rng.normal(size=(2, 20, m.input_size))
    dense, delta = (quantize(m, x, Config(engine=engine)) for engine in ("dense", "delta"))
    assert isinstance(dense, Program)
    assert (dense.run(x) == delta.run(x)).all()
    wide = quantize(m, x, Config(engine="delta", threshold=100))
    assert (dense.run(x) != wide.run(x)).any()


@pytest.mark.parametrize("candidate", ["tanh", "relu"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_is_that_of_the_smooth_function(cell: str, candidate: str) -> None:
    """Finite differences, without the roundings: by input, weights and biases."""
    if cell == "lstm":
        candidate = "tanh"
    rng = np.random.default_rng(3)
    m = Model(3, (
        recurrent(rng, "a", cell, ("x",), 3, 4, candidate=candidate),
        Linear("b", ("a", "x"), rng.normal(size=(2, 7)), None, "sigmoid"),
    ))  # fmt: skip
    x = torch.from_numpy(rng.normal(size=(2, 5, 3))).requires_grad_()
    net = trainable(m, x.detach().numpy(), Config())
    for module in net.layers.values():
        assert isinstance(module, Quantizable)
        module.plans = tuple(Plan(p.network, p.layer, smooth=True) for p in module.plans)
    names = [name for name, _ in net.named_parameters()]

    def smooth(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))

    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(smooth, (x, *values), eps=1e-6, atol=1e-5)
    # The weights start inside the codes that the quantizer chose, so near the float model.
    off = np.abs(smooth(x, *values).detach().numpy() - m.run(x.detach().numpy())).max()
    assert off < 0.1


def test_gradients_stop_where_weights_saturate_and_reach_learned_scales() -> None:
    rng = np.random.default_rng(5)
    m = Model(3, (recurrent(rng, "a", "gru", ("x",), 3, 4),))
    x = rng.normal(size=(2, 9, 3))
    net = trainable(m, x, Config(weight_bits=3, rounding="nearest"), learn_scales=True).train()
    layer = net.layers["a"]
    assert isinstance(layer, Recurrent)
    with torch.no_grad():
        # In the middle of its code, where training starts, a weight has no rounding error, and
        # a scale without one has no gradient.
        for weight, frac in (
            (layer.weight_ih_l0, layer.frac_ih_l0),
            (layer.weight_hh_l0, layer.frac_hh_l0),
        ):
            weight += 0.3 * torch.exp2(-frac)
        layer.weight_ih_l0[0, 0] = 100.0
    net(torch.from_numpy(x)).square().sum().backward()
    assert layer.weight_ih_l0.grad is not None
    assert layer.weight_ih_l0.grad[0, 0] == 0
    assert (layer.weight_ih_l0.grad != 0).any()
    for scale in (layer.frac_ih_l0, layer.frac_hh_l0):
        assert isinstance(scale, nn.Parameter)
        assert scale.grad is not None
        assert (scale.grad != 0).any()


# -- modules ------------------------------------------------------------------


class Net(nn.Module):
    """What a user writes: drop-in modules in a class of their own."""

    def __init__(self, rnn: nn.Module, size: int) -> None:
        super().__init__()
        self.rnn = rnn
        self.hidden = QuantLinear(size, 5, activation="tanh")
        self.head = QuantLinear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.rnn(x)
        return self.head(self.hidden(out))


DROP_INS = [
    (GRU, {}), (GRU, {"reset_after": False}), (LSTM, {}), (RNN, {}), (RNN, {"nonlinearity": "relu"}),
    *((MGU, {"variant": k}) for k in range(4)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), DROP_INS)
def test_modules_in_a_class_equal_their_program(kind: type, options: dict) -> None:
    torch.manual_seed(1)
    net = Net(kind(3, 6, num_layers=2, batch_first=True, **options), 6)
    x = torch.randn(3, 14, 3)
    plain = net(x).detach()
    start = calibrate(net, x.numpy(), Config(lanes=6))
    shaken(net, 1)
    program = to_program(net, Config(lanes=6))
    net.eval()
    with torch.no_grad():
        assert (net(x).double().numpy() == program.run(x.double().numpy())).all()
    assert start.digest != program.digest
    loss = net.train()(x).square().mean()
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())
    assert plain.shape == (3, 14, 2)


@pytest.mark.parametrize("name", ["GRU", "LSTM", "RNN"])
def test_modules_have_the_tensors_and_the_call_of_torch(name: str) -> None:
    ours_class = {"GRU": GRU, "LSTM": LSTM, "RNN": RNN}[name]
    torch.manual_seed(2)
    theirs = getattr(nn, name)(3, 5, 2, batch_first=True)
    ours = ours_class(3, 5, 2, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    x, h = torch.randn(4, 7, 3), torch.randn(2, 4, 5).clamp(-0.9, 0.9)
    first = (h, h / 2) if name == "LSTM" else h
    for inputs in ((x,), (x, first)):
        want, got = theirs(*inputs), ours(*inputs)
        torch.testing.assert_close(got[0], want[0])
        torch.testing.assert_close(got[1], want[1])
    calibrate(ours, x.numpy(), Config(weight_bits=16, activation_bits=16))
    assert set(ours.state_dict()) == set(theirs.state_dict())
    ours.eval()
    want, got = theirs(x, first), ours(x, first)
    torch.testing.assert_close(got[0], want[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(got[1], want[1], atol=2e-3, rtol=0)
    single = ours(x[0])
    assert torch.equal(single[0], ours(x[:1])[0][0])
    assert ours(x.transpose(0, 1).transpose(0, 1))[0].shape == (4, 7, 5)


def test_widths_of_single_gates() -> None:
    rng = np.random.default_rng(6)
    m = Model(3, (recurrent(rng, "a", "gru", ("x",), 3, 6),))
    x = rng.normal(size=(2, 12, 3))
    net = trainable(m, x, Config(weight_bits=8, weight_widths={"a.n": 3}))
    shaken(net, 2)
    program = net.to_program()
    gates = {g.gate.name: g for g in program.network.layers[0].gates}
    assert np.abs(gates["n"].w).max() <= 4 < np.abs(gates["r"].w).max()
    assert mismatch(net, program, extreme_codes(program, rng, 2, STEPS)) == 0


def test_wrong_use_is_refused() -> None:
    with pytest.raises(InputError, match="bidirectional layers cannot be trained"):
        GRU(3, 4, bidirectional=True)
    with pytest.raises(InputError, match=r"expected \(steps, sequences, 3\)"):
        GRU(3, 4)(torch.zeros(2, 2, 5))
    with pytest.raises(InputError, match="variant is 0"):
        MGU(3, 4, variant=4)
    with pytest.raises(InputError, match="sizes are 1 or more"):
        GRU(0, 4)
    with pytest.raises(InputError, match="not calibrated"):
        to_program(Net(GRU(3, 4, batch_first=True), 4), Config())
    mixed = nn.Sequential(QuantLinear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with pytest.raises(InputError, match=r"trainable\(module\)"):
        calibrate(mixed, np.zeros((2, 5, 3)))
    with pytest.raises(InputError, match="which axis is time"):
        net = Net(GRU(3, 4, batch_first=True), 4)
        calibrate(net, np.zeros((2, 5, 3)), Config(engine="delta", threshold=1))
    both = nn.GRU(3, 4, bidirectional=True, batch_first=True)
    with pytest.raises(InputError, match="walks sequences from their end"):
        trainable(both, np.zeros((2, 5, 3)))
