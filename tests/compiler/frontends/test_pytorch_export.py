"""Modules by their forward: each equals float64 PyTorch or is refused, none is silently different."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends import aten
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.ir.model import Model
from support.random_modules import TOLERANCE, Net, outcomes, truth, wrap
from torch import nn

IMPORT = "ignore:.*:UserWarning"


def from_module(rng: random.Random, net: Net, x: torch.Tensor) -> Model:
    """Load the module itself, sometimes in a wrapper."""
    return load(wrap(rng, net), x)


def from_file(folder):
    """Return the reader of the module's .pt2 file."""

    def read(rng: random.Random, net: Net, x: torch.Tensor) -> Model:
        wrap(rng, net)
        with torch.no_grad():
            net(x)  # so that hooks have made their weights
            torch.export.save(torch.export.export(net, (x,)), folder / "net.pt2")
        return load(folder / "net.pt2")

    return read


@pytest.mark.filterwarnings(IMPORT)
def test_random_modules_equal_pytorch_or_are_refused(tmp_path):
    ways = {"module": from_module, "pt2": from_file(tmp_path)}
    counts = sum(
        (outcomes(range(k, 60, 2), {way: ways[way]}) for k, way in enumerate(ways)), Counter()
    )
    print(*sorted(counts.items()), sep="\n")
    assert counts["module equal"] + counts["module refused"] == 30
    assert counts["module equal"] + counts["pt2 equal"] >= 40


@pytest.mark.full
@pytest.mark.filterwarnings(IMPORT)
def test_more_random_modules_equal_pytorch_or_are_refused(tmp_path):
    ways = {"module": from_module, "pt2": from_file(tmp_path)}
    counts = outcomes(range(1000, 1200), ways)
    print(*sorted(counts.items()), sep="\n")
    assert counts["module equal"] == counts["pt2 equal"] >= 130


# -- cases that people have reported ------------------------------------------------


class Of(nn.Module):
    """A module whose forward is a function of itself and x."""

    def __init__(self, forward, **parts: object) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.of = forward

    def forward(self, x):
        return self.of(self, x)


def gru(i: int = 3, h: int = 4, **options: object) -> nn.GRU:
    return nn.GRU(i, h, batch_first=True, **options)


def elman(net, x):
    h, out = x.new_zeros(x.shape[0], 4), []
    for t in range(x.shape[1]):
        h = torch.tanh(net.i2h(x[:, t]) + net.h2h(h))
        out.append(net.h2o(h))
    return torch.stack(out, 1)


def both_ways(net, x):
    return torch.cat([net.a(x)[0], net.b(x.flip([1]))[0].flip([1])], -1)


def last(model: Model, y: np.ndarray) -> np.ndarray:
    assert any("last step only" in note for note in model.notes)
    return y[:, -1]


def every(model: Model, y: np.ndarray) -> np.ndarray:
    assert not any("step only" in note for note in model.notes)
    return y


def backwards(model: Model, y: np.ndarray) -> np.ndarray:
    assert any("gives the last step first" in note for note in model.notes)
    return y[:, ::-1]


def norm(size: int) -> nn.BatchNorm1d:
    made = nn.BatchNorm1d(size)
    made.running_mean.normal_()
    made.running_var.uniform_(0.5, 2)
    return made


def swap(y):
    return y.transpose(1, 2)


TAKEN = {
    "functional relu between linears": (
        lambda: Of(lambda n, x: n.b(torch.relu(n.a(n.r(x)[0]))), r=gru(), a=nn.Linear(4, 5), b=nn.Linear(5, 2)),
        ["gru0", "linear0", "linear1"], every),
    "residual": (
        lambda: Of(lambda n, x: n.b(n.r(x)[0] + x), r=gru(3, 3), b=nn.Linear(3, 2)), ["gru0", "linear0"], every),
    "skip of the input to the output": (
        lambda: Of(lambda n, x: n.r(x)[0] + x, r=gru(3, 3)), ["gru0", "linear0"], every),
    "normalization by buffers": (
        lambda: Of(lambda n, x: n.b(n.r((x - n.m) / n.s)[0]), r=gru(), b=nn.Linear(4, 2),
                   m=torch.randn(3), s=torch.rand(3) + 0.1), ["gru0", "linear0"], every),
    "batch norm in front, between and behind": (
        lambda: Of(lambda n, x: swap(n.z(swap(n.b(swap(n.y(swap(n.r(swap(n.x(swap(x))))[0]))))))),
                   x=norm(3), r=gru(), y=norm(4), b=nn.Linear(4, 2), z=norm(2)), ["gru0", "linear0"], every),
    "h_n of one layer of a stack": (
        lambda: Of(lambda n, x: n.b(n.r(x)[1][0]), r=gru(num_layers=2), b=nn.Linear(4, 2)),
        ["gru0", "linear0"], last),
    "bidirectional last step": (
        lambda: Of(lambda n, x: n.b(n.r(x)[0][:, -1]), r=gru(bidirectional=True), b=nn.Linear(8, 2)),
        ["gru0", "gru0_reverse", "linear0"], last),
    "bidirection by flips": (lambda: Of(both_ways, a=gru(), b=gru()), ["gru0", "gru1"], every),
    "concatenation of both": (
        lambda: Of(lambda n, x: n.b(torch.cat([n.r(x)[0], x], 2)), r=gru(), b=nn.Linear(7, 2)),
        ["gru0", "linear0"], every),
    "hard activations": (
        lambda: Of(lambda n, x: nn.functional.hardsigmoid(n.b(nn.functional.hardtanh(n.a(x)))),
                   a=nn.Linear(3, 4), b=nn.Linear(4, 2)), ["linear0", "linear1"], every),
    "steps reversed": (lambda: Of(lambda n, x: n.r(x)[0].flip([1]), r=gru()), ["gru0"], backwards),
    "lstm with time first": (
        lambda: Of(lambda n, x: n.r(x.transpose(0, 1))[0].transpose(0, 1), r=nn.LSTM(3, 4, 2)),
        ["lstm0", "lstm1"], every),
}  # fmt: skip


@pytest.mark.filterwarnings(IMPORT)
@pytest.mark.parametrize("name", TAKEN)
def test_forward_is_taken_and_equals_float64(name, tmp_path):
    torch.manual_seed(3)
    make, layers, steps = TAKEN[name]
    net = make().eval()
    x = torch.randn(2, 5, 3)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2")
    models = [load(net, x), load(tmp_path / "net.pt2")]
    want = truth(net, x)
    for model in models:
        assert [layer.name for layer in model.layers] == layers
        got = steps(model, model.run(x.numpy()))
        assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()
        assert any(note.startswith("compared with") for note in model.notes)


REFUSED = {
    "Elman loop by hand": (
        lambda: Of(elman, i2h=nn.Linear(3, 4), h2h=nn.Linear(4, 4), h2o=nn.Linear(4, 2)),
        r"add at .*reads different steps together.*nn\.RNN"),
    "both halves of h_n": (
        lambda: Of(lambda n, x: n.b(torch.cat([n.r(x)[1][-2], n.r(x)[1][-1]], 1)),
                   r=gru(bidirectional=True), b=nn.Linear(8, 2)), r"^Of: b: .*two halves of a bidirectional h_n"),
    "start state": (
        lambda: Of(lambda n, x: n.r(x, n.h)[0], r=gru(), h=torch.ones(1, 1, 4)), "^Of: r: starts from a state"),
    "cell state": (lambda: Of(lambda n, x: n.b(n.r(x)[1][1][-1]), r=nn.LSTM(3, 4, batch_first=True),
                              b=nn.Linear(4, 2)), "cell state is read"),
    "time first of one step": (
        lambda: Of(lambda n, x: n.r(x)[0], r=nn.GRU(3, 4)), "has one step in the example"),
    "mean over steps": (lambda: Of(lambda n, x: n.r(x)[0].mean(1), r=gru()), "mean is not supported; pooling"),
    "some steps": (lambda: Of(lambda n, x: n.r(x)[0][:, 2:], r=gru()), "holds steps .2, 3, 4. of 5"),
    "steps in another order": (
        lambda: Of(lambda n, x: n.r(x)[0][:, [0, 2, 1, 3, 4]], r=gru()), "in another order|not supported"),
    "layer norm": (
        lambda: Of(lambda n, x: n.l(n.r(x)[0]), r=gru(), l=nn.LayerNorm(4)), "^Of: l: layer_norm is not .*BatchNorm1d"),
    "window of steps": (
        lambda: Of(lambda n, x: n.r(x * n.w)[0], r=gru(), w=torch.rand(5, 1)), "differ from step to step"),
    "in-place write of a slice": (lambda: Of(lambda n, x: zero_first(n.r(x)[0]), r=gru()), "not supported|in place"),
    "projection": (lambda: nn.LSTM(3, 4, proj_size=2, batch_first=True), "proj_size"),
    "control by the data": (lambda: Of(lambda n, x: n.r(x)[0] if x.sum() > 0 else x, r=gru()), "cannot follow its forward"),
}  # fmt: skip


def zero_first(y):
    y = y * 1.0
    y[:, 0] = 0
    return y


@pytest.mark.filterwarnings(IMPORT)
@pytest.mark.parametrize("name", REFUSED)
def test_what_no_core_computes_is_refused_by_name(name):
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        load(make(), torch.zeros(1, 5, 3))


@pytest.mark.filterwarnings(IMPORT)
def test_embedding_is_a_layer_on_one_hot_input():
    """Row k of the table for token k, which a square table does not tell by its size."""
    torch.manual_seed(4)
    net = Of(lambda n, x: n.b(n.r(n.e(x))[0]), e=nn.Embedding(6, 6), r=gru(6, 5), b=nn.Linear(5, 6))
    tokens = torch.randint(0, 6, (2, 5))
    model = load(net, tokens)
    assert any("one-hot" in note for note in model.notes)
    want = truth(net, tokens)
    assert np.abs(model.run(np.eye(6)[tokens.numpy()]) - want).max() <= TOLERANCE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: nn.utils.weight_norm(net.r, "weight_hh_l0") and net,
        lambda net: nn.utils.parametrizations.weight_norm(net.r, "weight_hh_l0") and net,
        lambda net: nn.utils.parametrizations.orthogonal(net.b) and net,
        lambda net: nn.utils.prune.l1_unstructured(net.b, "weight", 0.5) and net,
        nn.DataParallel,
        torch.compile,
        lambda net: nn.Sequential(torch.ao.quantization.QuantStub(), net, torch.ao.quantization.DeQuantStub()),
        lambda net: torch.optim.swa_utils.AveragedModel(net),
    ],
    ids=["weight_norm", "parametrized", "orthogonal", "pruned", "parallel", "compiled", "stubs", "average"],
)  # fmt: skip
def test_wrappers_are_taken_off_and_the_module_stays(wrap):
    torch.manual_seed(5)
    net = Of(lambda n, x: n.b(n.r(x)[0]), r=gru(), b=nn.Linear(4, 4)).eval()
    x = torch.randn(2, 5, 3)
    wrapped = wrap(net)
    with torch.no_grad():
        want = net(x).double().numpy()
        keys = list(wrapped.state_dict())
        for model in (load(wrapped), load(wrapped, x)):
            assert [layer.name for layer in model.layers] == ["gru0", "linear0"]
            assert np.abs(model.run(x.numpy()) - want).max() < 1e-5  # float32 as trained
        assert list(wrapped.state_dict()) == keys
        assert np.array_equal(net(x).double().numpy(), want)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("example", [None, torch.zeros(1, 5, 3)])
def test_forms_that_hold_no_float_module_are_refused_with_the_way_out(example):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with pytest.raises(InputError, match="is TorchScript; give the Python module"):
        load(torch.jit.script(net), example)
    made = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, torch.qint8)
    with pytest.raises(
        InputError, match=r"0 \(Linear\) was quantized by PyTorch; give the float model"
    ):
        load(made, example)


@pytest.mark.parametrize(
    ("net", "example"),
    [
        (Of(lambda n, x: torch.tanh(n.r(x)[0]), r=gru()), r"torch.zeros\(1, 5, 3\)"),
        (Of(lambda n, x: n.r(x)[0] * 2, r=nn.GRU(3, 4)), r"torch.zeros\(5, 1, 3\)"),
        (nn.Sequential(nn.Embedding(4, 3), gru()), r"torch.zeros\(1, 5, dtype=torch.long\)"),
    ],
)
def test_a_forward_that_is_no_chain_asks_for_an_example(net, example):
    with pytest.raises(InputError, match=rf"give an example input.*gw.load\(net, {example}\)"):
        load(net)


@pytest.mark.filterwarnings(IMPORT)
def test_a_forward_that_knows_the_length_is_refused():
    net = Of(lambda n, x: n.r(x)[0][:, 4], r=gru())
    with pytest.raises(CheckError, match="forward depends on the length"):
        load(net, torch.zeros(1, 5, 3))


@pytest.mark.filterwarnings(IMPORT)
def test_a_wrong_fold_is_caught_and_says_where_it_begins(monkeypatch):
    """The reference has not passed through the reader: a fault of the reader shows."""
    monkeypatch.setitem(aten.OPERATORS, "tanh.default", aten._act("sigmoid"))
    net = Of(lambda n, x: torch.tanh(n.r(x)[0]), r=gru())
    with pytest.raises(
        CheckError, match=r"differs from the module's own forward .* begins at step 0"
    ):
        load(net, torch.zeros(1, 5, 3))


@pytest.mark.filterwarnings(IMPORT)
def test_a_chaotic_network_is_not_called_a_fault():
    torch.manual_seed(6)
    net = nn.RNN(3, 64, batch_first=True)
    with torch.no_grad():
        net.weight_hh_l0.mul_(20)
    model = load(net, torch.zeros(1, 60, 3))
    assert "growth of rounding errors" in model.notes[-1]


@pytest.mark.filterwarnings(IMPORT)
def test_layouts_without_a_batch_and_a_large_vocabulary():
    torch.manual_seed(7)
    net, x = Of(lambda n, x: n.r(x)[0], r=nn.GRU(3, 4)), torch.randn(5, 3)
    assert np.abs(load(net, x).run(x.numpy()) - truth(net, x)).max() <= TOLERANCE
    net, x = (
        Of(lambda n, x: n.r(n.e(x))[0], e=nn.Embedding(20_000, 2), r=gru(2)),
        torch.arange(10).reshape(2, 5),
    )
    assert load(net, x).input_size == 20_000


@pytest.mark.filterwarnings(IMPORT)
def test_casts_that_round_are_refused(tmp_path):
    net = Of(lambda n, x: n.r(x.half().float())[0], r=gru())
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 5, 3),)), path)
    with pytest.raises(InputError, match="rounds data"):
        load(path)


@pytest.mark.filterwarnings(IMPORT)
def test_training_mode_in_a_file_is_refused_where_it_changes_outputs(tmp_path):
    path = tmp_path / "net.pt2"
    for options, message in (({}, ""), ({"num_layers": 2, "dropout": 0.5}, r"call net\.eval")):
        net = gru(**options).train()
        torch.export.save(torch.export.export(net, (torch.zeros(1, 5, 3),)), path)
        if message:
            with pytest.raises(InputError, match=message):
                load(path)
        else:
            assert load(path).output_size == 4


def test_an_example_belongs_to_a_module(tmp_path):
    with pytest.raises(InputError, match="belongs to a module only"):
        load(tmp_path / "net.pt2", torch.zeros(1, 5, 3))
