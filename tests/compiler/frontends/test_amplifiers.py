"""GuitarML JSON and Neural Amp Modeler files, written from PyTorch modules and compared with them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.registry import load
from torch import nn

UNITS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


def guitarml(
    unit: str = "LSTM", inputs: int = 1, skip: int = 1
) -> tuple[dict, nn.Module, nn.Module]:
    torch.manual_seed(1)
    rec, lin = UNITS[unit](inputs, 7, batch_first=True).double(), nn.Linear(7, 1).double()
    state = {f"rec.{k}": v.tolist() for k, v in rec.state_dict().items()}
    state |= {f"lin.{k}": v.tolist() for k, v in lin.state_dict().items()}
    about = {
        "model": "SimpleRNN", "input_size": inputs, "skip": skip, "output_size": 1,
        "unit_type": unit, "num_layers": 1, "hidden_size": 7, "bias_fl": True,
    }  # fmt: skip
    return {"model_data": about, "state_dict": state}, rec, lin


def write(tmp_path, data, name="model.json"):
    path = tmp_path / name
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("unit", "inputs", "skip"),
    [("LSTM", 1, 1), ("GRU", 1, 1), ("RNN", 1, 1), ("LSTM", 3, 1), ("LSTM", 1, 0)],
)
def test_guitarml_equals_its_network_in_pytorch(tmp_path, unit, inputs, skip):
    data, rec, lin = guitarml(unit, inputs, skip)
    model = load(write(tmp_path, data))
    x = np.random.default_rng(2).normal(size=(2, 30, inputs))
    with torch.no_grad():
        y = lin(rec(torch.from_numpy(x))[0]).numpy() + (x[..., :1] if skip else 0)
    np.testing.assert_allclose(model.run(x), y, atol=1e-12)
    assert model.source == "GuitarML JSON"
    assert load(write(tmp_path, data), expect=(x, y)).not_compared == ()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["model_data"].update(model="ConvSimple"), "'ConvSimple'"),
        (lambda d: d["model_data"].update(unit_type="MGU"), "'MGU'"),
        (lambda d: d["model_data"].update(unit_type="GRU"), "unit_type is GRU, the tensors"),
        (lambda d: d["model_data"].update(hidden_size=8), "hidden_size is 8, the tensors have 7"),
        (lambda d: d["model_data"].update(skip="yes"), "skip is 'yes'"),
        (lambda d: d["model_data"].update(skip=2), "skip 2 with 1 outputs"),
        (lambda d: d["state_dict"].update({"rec.weight_ih_l0": [[1], 2]}), "not an array"),
        (lambda d: d["state_dict"].update({"conv.weight": [[[1.0]]]}), "convolution"),
        (lambda d: d.update(model_data=3), "must be objects"),
    ],
)
def test_guitarml_is_refused_by_name(tmp_path, edit, message):
    data = guitarml()[0]
    edit(data)
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, data))


def nam(depth: int = 2, started: bool = False) -> tuple[dict, nn.LSTM, nn.Linear, tuple]:
    torch.manual_seed(3)
    core, head = nn.LSTM(1, 5, depth, batch_first=True).double(), nn.Linear(5, 1).double()
    state = tuple(torch.randn(depth, 5).double() * started for _ in range(2))
    parts = []
    for k in range(depth):
        w, u, b, c = (
            getattr(core, f"{name}_l{k}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        parts += [torch.cat([w, u], 1), b + c, state[0][k], state[1][k]]
    parts += [head.weight, head.bias]
    weights = torch.cat([part.detach().flatten() for part in parts]).tolist()
    config = {"input_size": 1, "hidden_size": 5, "num_layers": depth}
    data = {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights}
    return data, core, head, state


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("started", [False, True])
def test_nam_equals_its_network_in_pytorch(tmp_path, depth, started):
    data, core, head, (h, c) = nam(depth, started)
    model = load(write(tmp_path, data, "model.nam"))
    x = np.random.default_rng(4).normal(size=(2, 30, 1))
    with torch.no_grad():
        start = tuple(part[:, None].repeat(1, 2, 1) for part in (h, c))
        y = head(core(torch.from_numpy(x), start)[0]).numpy()
    state = {
        f"lstm{k}": tuple(part[k].repeat(2, 1).numpy() for part in (h, c)) for k in range(depth)
    }
    np.testing.assert_allclose(model.run(x, state), y, atol=1e-12)
    assert ("the start" in " ".join(model.not_compared)) == started


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(architecture="WaveNet"), "architecture 'WaveNet'"),
        (lambda d: d["weights"].pop(), "take "),
        (lambda d: d["config"].update(num_layers=0), "0 layers"),
        (lambda d: d["config"].update(hidden_size=-1), "hidden_size is '-1'"),
        (lambda d: d["config"].update(out_channels=2), "config has out_channels"),
        (lambda d: d.update(weights="text"), "not an array"),
    ],
)
def test_nam_is_refused_by_name(tmp_path, edit, message):
    data = nam()[0]
    edit(data)
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, data, "model.nam"))
