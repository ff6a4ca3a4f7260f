"""Import from PyTorch: what is accepted equals PyTorch, everything else is refused by name."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.pytorch import from_module
from gatewright.compiler.frontends.tensors import from_state_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from support.torch_models import First, close, data, torch_run
from torch import nn
from torch.testing._internal.common_modules import module_db

KINDS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}


def torch_run_cell(cell: nn.Module, x: np.ndarray) -> np.ndarray:
    state, out = None, []
    with torch.no_grad():
        for t in range(x.shape[1]):
            state = cell(torch.from_numpy(x[:, t]).float(), state)
            out.append((state[0] if isinstance(state, tuple) else state).double().numpy())
    return np.stack(out, axis=1)


def configurations(count: int, seed: int) -> list[dict]:
    rng = random.Random(seed)
    made = []
    for i in range(count):
        kind = ["gru", "lstm", "rnn"][i % 3]
        form = {"nonlinearity": rng.choice(["tanh", "relu"])} if kind == "rnn" else {}
        made.append(
            {
                "kind": kind,
                "input_size": rng.randint(1, 9),
                "hidden_size": rng.randint(1, 9),
                "num_layers": rng.randint(1, 4),
                "bias": rng.random() < 0.7,
                "batch_first": rng.random() < 0.5,
                "dropout": rng.choice([0.0, 0.3]),
            }
            | form
        )
    return made


@pytest.mark.filterwarnings("ignore:dropout option adds dropout")
@pytest.mark.parametrize("options", configurations(30, seed=7), ids=str)
def test_recurrent_module_and_its_state_dict_equal_torch(options):
    torch.manual_seed(1)
    options = dict(options)
    kind = options.pop("kind")
    module = KINDS[kind](**options)
    model = from_module(module)
    want = torch_run(module, data(model), options["batch_first"])
    close(model.run(data(model)), want)
    assert [layer.name for layer in model.layers] == [
        f"{kind}{k}" for k in range(options["num_layers"])
    ]
    again = from_state_dict(
        module.state_dict(), nonlinearity=options.get("nonlinearity", "tanh"), check=True
    )
    close(again.run(data(model)), want)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_cell_equals_torch_step_by_step(kind, bias):
    torch.manual_seed(2)
    cell = CELLS[kind](5, 7, bias=bias)
    for model in (from_module(cell), from_state_dict(cell.state_dict())):
        close(model.run(data(model)), torch_run_cell(cell, data(model)))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    kinds=st.lists(st.sampled_from(["gru", "lstm", "rnn", "linear"]), min_size=4, max_size=4),
    seed=st.integers(0, 1000),
)
def test_any_chain_from_a_state_dict_of_arrays(sizes, kinds, seed):
    torch.manual_seed(seed)
    chain = [
        nn.Linear(i, o) if kind == "linear" else KINDS[kind](i, o, batch_first=True)
        for kind, i, o in zip(kinds, sizes, sizes[1:], strict=False)
    ]
    state = {
        f"net.{k}.{name}": value.numpy()
        for k, module in enumerate(chain)
        for name, value in module.state_dict().items()
    }
    model = from_state_dict(state, forward=[f"net.{k}" for k in range(len(chain))])
    want = y = data(model, n=2, steps=9)
    for module in chain:
        y = want = torch_run(module, y)
    close(model.run(data(model, n=2, steps=9)), want)


@pytest.mark.parametrize(
    "info",
    [i for i in module_db if i.name.startswith(("nn.GRU", "nn.LSTM", "nn.RNN"))],
    ids=lambda i: i.name,
)
def test_the_module_samples_of_pytorch(info):
    """Every sample is imported and equal, or refused for a feature that the message names."""
    accepted = 0
    samples = info.module_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=False
    )
    for sample in samples:
        arguments = sample.constructor_input
        module = info.module_cls(*arguments.args, **arguments.kwargs)
        unsupported = {
            "proj_size": arguments.kwargs.get("proj_size", 0) > 0,
        }
        names = [name for name, is_on in unsupported.items() if is_on]
        if names:
            with pytest.raises(InputError, match="|".join(names)):
                from_module(module)
            with pytest.raises(InputError, match="|".join(names)):
                from_state_dict(module.state_dict())
            continue
        model = from_module(module)
        accepted += 1
        if isinstance(module, nn.RNNCellBase):
            close(model.run(data(model)), torch_run_cell(module, data(model)))
        else:
            first = arguments.kwargs["batch_first"]
            close(model.run(data(model)), torch_run(module, data(model), first))
    assert accepted >= len(samples) / 4


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_bidirectional(kind, layers):
    """Two layers a depth, read together; from a module and from its tensors alone."""
    torch.manual_seed(9)
    cells = kind(3, 5, layers, bidirectional=True, batch_first=True)
    module = nn.Sequential(cells, First(), nn.Linear(10, 2))
    model = from_module(module)
    assert [layer.name for layer in model.layers[:2]] == [
        f"{kind.__name__.lower()}0{end}" for end in ("", "_reverse")
    ]
    assert len(model.layers) == 2 * layers + 1
    assert "bidirectional" in model.notes[0]
    want = torch_run(module, data(model))
    close(model.run(data(model)), want)
    tensors = from_state_dict(module.state_dict(), forward="0, 2")
    close(tensors.run(data(model)), want)
    alone = from_module(cells)
    assert alone.outputs == tuple(layer.name for layer in alone.layers[-2:])
    close(alone.run(data(model)), torch_run(cells, data(model)))


def test_padded_sequences_start_backwards_at_their_own_end():
    """As PyTorch's packed sequences do."""
    torch.manual_seed(10)
    cells = nn.GRU(3, 5, 2, bidirectional=True, batch_first=True).double()
    x = np.random.default_rng(4).normal(size=(4, 9, 3))
    lengths = [9, 4, 1, 7]
    rnn = nn.utils.rnn
    packed = rnn.pack_padded_sequence(
        torch.from_numpy(x), torch.tensor(lengths), batch_first=True, enforce_sorted=False
    )
    want = rnn.pad_packed_sequence(cells(packed)[0], batch_first=True)[0].detach().numpy()
    got = from_module(cells).run(x, lengths=lengths)
    got[np.arange(9) >= np.array(lengths)[:, None]] = 0
    close(got, want)


class Net(nn.Module):
    """The usual class around a GRU; ``how`` picks what forward gives out."""

    def __init__(self, how="all", batch_first=True, zeros=False):
        super().__init__()
        self.gru = nn.GRU(4, 6, num_layers=2, batch_first=batch_first)
        self.fc = nn.Linear(6, 3)
        self.how, self.zeros = how, zeros

    def forward(self, x):
        n = x.shape[0] if self.gru.batch_first else x.shape[1]
        out, h = self.gru(x, torch.zeros(2, n, 6) if self.zeros else None)
        if self.how == "last":
            return self.fc(out[:, -1] if self.gru.batch_first else out[-1])
        if self.how == "state":
            return self.fc(h[-1])
        if self.how == "flat":
            return self.fc(out.reshape(-1, 6))
        if self.how == "tanh":
            return torch.tanh(self.fc(out))
        if self.how == "mean":
            return self.fc(out.mean(1))
        if self.how == "tuple":
            return self.fc(out), h
        return self.fc(out)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("how", ["all", "tuple", "flat", "last", "state"])
def test_custom_class_is_run_and_compared(how, batch_first):
    torch.manual_seed(3)
    module = Net(how, batch_first, zeros=how == "all")
    model = from_module(module)
    assert [layer.name for layer in model.layers] == ["gru0", "gru1", "linear0"]
    assert any("last step" in note for note in model.notes) == (how in ("last", "state"))
    module.how = "all"
    close(model.run(data(model)), torch_run(module, data(model), batch_first))


@pytest.mark.parametrize("how", ["tanh", "mean"])
def test_custom_class_that_computes_something_else_is_refused(how):
    with pytest.raises(InputError, match=r"forward is not the chain .* differ by 0\.\d+"):
        from_module(Net(how))
    assert any("check is off" in note for note in from_module(Net(how), check=False).notes)


def test_import_changes_neither_the_module_nor_torch():
    module = Net()
    module.train()
    torch.manual_seed(4)
    want = torch.rand(3)
    torch.manual_seed(4)
    from_module(module)
    assert torch.equal(torch.rand(3), want)
    assert torch.get_default_dtype() is torch.float32
    assert module.training
    assert module.fc.weight.dtype is torch.float32


def test_sequential_with_activations_and_a_wrapper():
    torch.manual_seed(5)
    module = nn.Sequential(
        nn.Linear(5, 8), nn.Hardsigmoid(), nn.Dropout(0.5), nn.LSTM(8, 6, batch_first=True),
        First(), nn.ReLU(), nn.Linear(6, 4), nn.Hardtanh(), nn.Identity(),
        nn.GRU(4, 4, batch_first=True), First(), nn.Linear(4, 3), nn.Softmax(dim=-1),
    )  # fmt: skip
    model = from_module(module)
    assert [layer.name for layer in model.layers] == [
        "linear0", "lstm0", "linear1", "linear2", "gru0", "linear3",
    ]  # fmt: skip
    want = torch_run(module[:-1], data(model))
    close(model.run(data(model)), want)
    notes = "\n".join(model.notes)
    assert "Softmax) dropped" in notes
    assert "36 more multiplications" in notes
    assert "differ" in notes


def test_shared_module_is_used_each_time():
    torch.manual_seed(6)
    shared, tanh = nn.Linear(4, 4), nn.Tanh()
    module = nn.Sequential(shared, tanh, shared, tanh)
    model = from_module(module)
    close(model.run(data(model)), torch_run(module, data(model)))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.Softmax(-1), nn.Linear(3, 2)), "Softmax before 2"),
        (nn.Sequential(nn.Linear(3, 3), nn.Softmax(-1), nn.Tanh()), "Softmax before 2"),
        (nn.Sequential(nn.Linear(3, 3), nn.Softmax(1)), "differ by"),
        (nn.Sequential(nn.Linear(3, 3), nn.GELU()), r"1 \(GELU\) is not supported"),
        (nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), r"1 \(LayerNorm\) is not supported"),
        (nn.Sequential(nn.Embedding(3, 3), nn.Linear(3, 3)), r"0 \(Embedding\) is not supported"),
        (nn.Sequential(nn.Conv1d(3, 3, 1)), r"0 \(Conv1d\) is not supported"),
        (nn.Sequential(nn.Linear(3, 3), nn.Hardtanh(0, 6)), "clips to 0 to 6"),
        (nn.Sequential(nn.Tanh(), nn.Linear(3, 3)), r"0 \(Tanh\) comes before any layer"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 2)), "no chain in the order"),
        (nn.Sequential(nn.GRU(3, 4), nn.Linear(4, 2)), "cannot be compared .* TypeError"),
        (nn.Sequential(), "holds no GRU"),
        (nn.MultiheadAttention(4, 2), "MultiheadAttention"),
        (nn.LazyLinear(3), "has no values yet"),
        (nn.LSTM(3, 4, proj_size=2), "proj_size"),
        (nn.Linear(3, 2, dtype=torch.complex64), "complex64"),
        (nn.GRU(3, 2, device="meta"), "has no values yet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsupported_module_is_refused_by_name(module, message):
    with pytest.raises(InputError, match=message):
        from_module(module)


def test_state_dict_without_values_is_refused_by_name():
    with pytest.raises(InputError, match="weight has no values yet"):
        from_state_dict(nn.LazyLinear(3).state_dict())


def test_parameters_beside_the_layers_are_refused_by_name():
    module = Net()
    module.h0 = nn.Parameter(torch.zeros(2, 1, 6))
    with pytest.raises(InputError, match="parameters of its own, h0"):
        from_module(module)


def test_unknown_module_without_weights_needs_the_check():
    module = nn.Sequential(nn.GRU(3, 4), First(), nn.Linear(4, 2))
    assert from_module(module).output_size == 2
    with pytest.raises(InputError, match=r"First.*check=True"):
        from_module(module, check=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types(dtype):
    torch.manual_seed(7)
    module = nn.GRU(3, 4).to(dtype)
    model = from_module(module)
    want = module.weight_ih_l0[:4].double().detach().numpy()
    assert np.array_equal(model.layers[0].w["r"], want)


def test_candidate_bias_stays_inside_the_reset_product():
    module = nn.GRU(2, 2)
    layer = from_module(module).layers[0]
    for name, tensor in (("b", module.bias_ih_l0), ("c", module.bias_hh_l0)):
        for k, gate in enumerate("rzn"):
            want = tensor.detach().numpy()[2 * k : 2 * k + 2]
            assert np.array_equal(getattr(layer, name)[gate], want)


class Sized(nn.Module):
    """A chain, but for what forward does with large inputs."""

    def __init__(self, change):
        super().__init__()
        self.gru, self.change = nn.GRU(4, 6, batch_first=True), change

    def forward(self, x):
        return self.gru(self.change(x))[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.clamp(-5, 5),
        lambda x: x.clamp(-50, 50),
        lambda x: x * 0 if x.abs().max() > 20 else x,
    ],
)
def test_a_forward_that_treats_large_inputs_otherwise_is_no_chain(change):
    torch.manual_seed(0)
    with pytest.raises(InputError, match="forward is not the chain"):
        from_module(Sized(change).eval())
    from_module(Sized(nn.Identity()).eval())
