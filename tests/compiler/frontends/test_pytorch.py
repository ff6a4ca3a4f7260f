"""Import from PyTorch: what is accepted equals PyTorch, everything else is refused by name."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.pytorch import from_module
from gatewright.compiler.frontends.tensors import from_state_dict
from gatewright.compiler.ir.model import Model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing._internal.common_modules import module_db

KINDS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}
TOLERANCE = 1e-5


def data(model: Model, seed: int = 5, n: int = 4, steps: int = 23) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, steps, model.input_size))


def torch_run(module: nn.Module, x: np.ndarray, batch_first: bool = True) -> np.ndarray:
    """Run float32 as trained, in the layout the module wants."""
    given = torch.from_numpy(x if batch_first else x.swapaxes(0, 1).copy()).float()
    with torch.no_grad():
        out = module.eval()(given)
    out = out[0] if isinstance(out, tuple) else out
    return (out if batch_first else out.swapaxes(0, 1)).double().numpy()


def torch_run_cell(cell: nn.Module, x: np.ndarray) -> np.ndarray:
    state, out = None, []
    with torch.no_grad():
        for t in range(x.shape[1]):
            state = cell(torch.from_numpy(x[:, t]).float(), state)
            out.append((state[0] if isinstance(state, tuple) else state).double().numpy())
    return np.stack(out, axis=1)


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= TOLERANCE


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


class First(nn.Module):
    def forward(self, x):
        return x[0]


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


def state(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in module.state_dict().items()}


def gru_and_head() -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    return state("gru.", nn.GRU(5, 6)) | state("fc.", nn.Linear(6, 2))


@pytest.mark.parametrize("prefix", ["", "module.", "a.b.c.", "rnn_"])
def test_any_prefix(prefix):
    model = from_state_dict(state(prefix, nn.GRU(5, 6)))
    assert [layer.name for layer in model.layers] == ["gru0"]
    assert model.source == "state_dict"


def test_notes_say_what_was_understood():
    torch.manual_seed(8)
    notes = from_state_dict(gru_and_head()).notes
    assert notes[0] == "gru0 (gru): gru, 1 layer, 5 -> 6, bias, PyTorch order r,z,n, reset after"
    assert notes[1] == "linear0 (fc): linear, 6 -> 2, bias"
    assert notes[-1].startswith("equations of each module compared with PyTorch's: ")


def test_sizes_decide_where_the_order_of_keys_does_not_chain():
    values = dict(reversed(gru_and_head().items()))
    model = from_state_dict(values)
    assert [layer.name for layer in model.layers] == ["gru0", "linear0"]
    assert "forward, the one that the sizes allow: gru, fc" in model.notes


@pytest.mark.parametrize("ordered", [True, False])
def test_order_that_sizes_do_not_tell(ordered):
    values = state("fc.", nn.Linear(4, 4)) | state("gru.", nn.GRU(4, 4))
    with pytest.raises(InputError, match=r'more than one order: "fc, gru", "gru, fc"'):
        from_state_dict(values, ordered=ordered)
    chosen = from_state_dict(values, ordered=ordered, order=["gru", "fc"])
    assert [layer.name for layer in chosen.layers] == ["gru0", "linear0"]
    with pytest.raises(InputError, match="must name each"):
        from_state_dict(values, order=["gru"])


def test_stacked_cells_are_taken_in_the_order_that_is_stated():
    values = {}
    for k in reversed(range(12)):
        values |= state(f"cells.{k}.", nn.GRUCell(3, 3))
    with pytest.raises(InputError, match=r'in the order "cells\.0, cells\.1, .*, cells\.11"'):
        from_state_dict(values, ordered=False)
    model = from_state_dict(values, forward=[f"cells.{k}" for k in range(12)])
    for k, layer in enumerate(model.layers):
        want = values[f"cells.{k}.weight_ih"][:3].numpy()
        assert np.array_equal(layer.w["r"], want)


def test_search_for_an_order_is_bounded():
    values = {}
    for k in range(20):
        values |= state(f"part{k}x.", nn.Linear(3, 3))
    values |= state("odd.", nn.Linear(9, 8))
    with pytest.raises(InputError, match="make no chain"):
        from_state_dict(values)


def test_activations_and_nonlinearity_are_options():
    torch.manual_seed(9)
    rnn, head = nn.RNN(3, 4, nonlinearity="relu", batch_first=True), nn.Linear(4, 2)
    values = state("rnn.", rnn) | state("head.", head)
    model = from_state_dict(values, nonlinearity="relu", activations={"head": "sigmoid"})
    want = torch_run(nn.Sequential(rnn, First(), head, nn.Sigmoid()), data(model))
    close(model.run(data(model)), want)
    assert any("relu" in note for note in model.notes)
    assert any("plain RNNs compute tanh" in note for note in from_state_dict(values).not_compared)
    with pytest.raises(InputError, match="'tanh' or 'relu'"):
        from_state_dict(values, nonlinearity="gelu")
    with pytest.raises(InputError, match="activations names"):
        from_state_dict(values, activations={"rnn": "relu"})
    with pytest.raises(InputError, match="gelu"):
        from_state_dict(values, activations={"head": "gelu"})


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "net"])
def test_checkpoint_nests_a_state_dict(name):
    model = from_state_dict({"epoch": 3, name: gru_and_head(), "optimizer": {"state": {}}})
    assert model.output_size == 2
    assert f"read from {name!r}; not used: epoch, optimizer" in model.notes


def test_checkpoint_with_two_state_dicts_needs_a_key():
    values = {"model": gru_and_head(), "net": gru_and_head(), "ema": state("", nn.GRU(2, 2))}
    with pytest.raises(InputError, match="choose one by key="):
        from_state_dict(values)
    assert from_state_dict(values, key="ema").input_size == 2
    with pytest.raises(InputError, match="key='no'"):
        from_state_dict(values, key="no")


LEFTOVERS = {
    "conv.weight": (torch.zeros(2, 2, 3), "convolution"),
    "bn.running_mean": (torch.zeros(2), "batch normalization"),
    "norm.weight": (torch.zeros(2), "normalization"),
    "scale": (torch.zeros(2), "scale"),
    "epoch": (3, "no tensor: int"),
    "fc2.bias": (torch.zeros(2), "fc2.bias"),
}


@pytest.mark.parametrize("name", LEFTOVERS)
def test_leftover_is_refused_by_name_or_ignored_on_request(name):
    value, reason = LEFTOVERS[name]
    values = gru_and_head() | {name: value}
    with pytest.raises(InputError) as error:
        from_state_dict(values)
    for word in (name, reason, "gru: GRU 5 -> 6", "fc: linear 6 -> 2", "ignore="):
        assert word in str(error.value)
    model = from_state_dict(values, ignore=(name,))
    assert f"ignored, not part of the model: {name}" in model.notes
    with pytest.raises(InputError, match=r"'tcn\.\*' matches none"):
        from_state_dict(values, ignore="tcn.*")


def change(**changes: object) -> dict[str, object]:
    values = {name: value for name, value in nn.GRU(3, 4, num_layers=2).state_dict().items()}
    return {k: v for k, v in (values | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (change(weight_hh_l0=torch.zeros(8, 4)), r"weight_hh_l0 has shape \(8, 4\); known are"),
        (change(weight_hh_l0=torch.zeros(12)), r"weight_hh_l0 has shape \(12,\)"),
        (change(weight_ih_l1=torch.zeros(12, 3)), r"weight_ih_l1 has shape .* expected \(12, 4\)"),
        (change(weight_ih_l0=torch.zeros(9, 3)), r"weight_ih_l0 has shape .* expected \(12, 3\)"),
        (change(bias_hh_l0=torch.zeros(4)), r"bias_hh_l0 has shape \(4,\), expected \(12,\)"),
        (change(weight_ih_l1=None), "weight_ih_l1 is missing"),
        (change(bias_hh_l1=None), "bias_hh_l1 is missing"),
        (change(weight_hh=torch.zeros(12, 4)), "there twice"),
        (change(weight_hr_l0=torch.zeros(2, 4)), "weight_hr"),
        (change(weight_ih_l0_reverse=torch.zeros(12, 3)), "weight_hh_l0_reverse, .* is missing"),
        (change(weight_ih_l0=torch.full((12, 3), torch.nan)), "nan.*weights must be finite"),
        (change(bias_ih_l0=torch.full((12,), torch.inf)), "inf.*weights must be finite"),
        (change(bias_ih_l0=torch.zeros(12, dtype=torch.int8)), "bias_ih_l0 is of type torch.int8"),
        (change(bias_ih_l0=np.zeros(12, dtype=object)), "bias_ih_l0 is of type object"),
        (change(bias_ih_l0=torch.zeros(12, dtype=torch.complex64)), "complex64"),
        (change(weight_ih_l0=torch.zeros(12, 0)), "a size of zero"),
        (change(weight_ih_l0=torch.zeros(1).expand(1 << 20, 1 << 20)), "the limit is"),
        (
            {k: v[:0] for k, v in nn.GRU(3, 4, bias=False).state_dict().items()},
            "a size of zero",
        ),
        (state("a.", nn.GRU(3, 4)) | state("b.", nn.Linear(5, 2)), "make no chain"),
        ({}, "holds no weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_tensors_are_refused_by_name(values, message):
    with pytest.raises(InputError, match=message):
        from_state_dict(values)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_tensor_is_refused_by_name():
    quantized = torch.quantize_per_tensor(torch.zeros(12), 0.1, 0, torch.qint8)
    with pytest.raises(InputError, match=r"bias_ih_l0 is of type torch\.qint8"):
        from_state_dict(change(bias_ih_l0=quantized))


def test_arrays_need_no_torch():
    code = """
import sys
sys.modules["torch"] = None  # makes `import torch` fail, as if it were not installed
import numpy as np
from gatewright.compiler.frontends.registry import load
rng = np.random.default_rng(0)
model = load({"weight_ih_l0": rng.random((9, 2)), "weight_hh_l0": rng.random((9, 3))})
print(model.notes[-1], model.run(rng.random((4, 2))).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "not compared with PyTorch: torch is not installed (4, 3)", (
        done.stderr
    )
