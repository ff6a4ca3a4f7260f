"""A state_dict equals the module it was saved from, or is refused by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.tensors import from_state_dict
from support.torch_models import First, close, data, torch_run
from torch import nn


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
    assert notes[0] == "gru0 (gru): gru, 5 -> 6"
    assert "gates of a gru are in PyTorch's order r, z, n" in notes
    assert notes[1] == "linear0 (fc): linear, 6 -> 2"
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
    with pytest.raises(InputError, match="no entry 'no'"):
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
