"""Descriptions by hand: they come back, give PyTorch's outputs, and are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends.description import write_description
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Linear, Model
from support.randoms import activations, recurrent

import gatewright as gw

F, H = 3, 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def gru() -> torch.nn.GRU:
    torch.manual_seed(1)
    return torch.nn.GRU(F, H, batch_first=True).double()


def describe(folder: Path, text: str, **arrays: np.ndarray) -> Path:
    """Write a description of three features, and its arrays."""
    np.savez(folder / "w.npz", **arrays)
    (folder / "m.toml").write_text(f'inputs = {F}\nweights = "w.npz"\n[[layer]]\n{text}\n')
    return folder / "m.toml"


def stacked(module: torch.nn.GRU, order: str) -> dict[str, np.ndarray]:
    """Arrays of a GRU of PyTorch, whose gates are r, z, n, in another order of gates."""
    names = {"W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0", "d": "bias_hh_l0"}
    out = {}
    for letter, name in names.items():
        parts = dict(zip("rzn", np.split(getattr(module, name).detach().numpy(), 3), strict=True))
        out[f"g.{letter}"] = np.concatenate([parts[gate] for gate in order])
    return out


def outputs(module: torch.nn.GRU, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


@pytest.mark.parametrize("order", ["rzn", "zrn", "nzr"])
def test_gates_in_any_order_are_pytorchs(gru, tmp_path, rng, order):
    path = describe(tmp_path, f'name = "g"\ncell = "gru"\ngates = "{order}"', **stacked(gru, order))
    x = rng.normal(size=(2, 9, F))
    model = gw.load(path)
    assert np.abs(model.run(x) - outputs(gru, x)).max() < 1e-12
    assert model.not_compared
    assert not gw.load(path, expect=(x, outputs(gru, x))).not_compared
    with pytest.raises(CheckError, match="not the computation that was recorded"):
        gw.load(path, expect=(x, outputs(gru, x) ** 2))


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_an_update_gate_of_the_other_sense(tmp_path, rng, gate):
    """h' = z n + (1 - z) h, written out here."""
    layer = recurrent(rng, "g", "gru_reset_before", ("x",), F, H)
    arrays = {
        f"g.{letter}_{g}": array
        for letter, part in (("W", layer.w), ("U", layer.u), ("b", layer.b))
        for g, array in part.items()
    }
    path = describe(
        tmp_path,
        f'name = "g"\ncell = "gru_reset_before"\nupdate = "replace"\ngate = "{gate}"'
        + "\nslope = 0.2" * (gate == "hard_sigmoid"),
        **arrays,
    )

    def squash(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v)) if gate == "sigmoid" else np.clip(0.2 * v + 0.5, 0, 1)

    x, h, want = rng.normal(size=(9, F)), np.zeros(H), []
    for v in x:
        r, z = (squash(layer.w[g] @ v + layer.b[g] + layer.u[g] @ h) for g in "rz")
        n = np.tanh(layer.w["n"] @ v + layer.b["n"] + layer.u["n"] @ (r * h))
        h = z * n + (1 - z) * h
        want.append(h)
    assert np.abs(gw.load(path).run(x) - want).max() < 1e-12


@pytest.mark.parametrize("cell", CELLS)
def test_a_written_model_comes_back(tmp_path, rng, cell):
    sides = [
        recurrent(rng, name, cell, ("x",), F, H, **activations(rng, cell)) for name in ("f", "b")
    ]
    object.__setattr__(sides[1], "reverse", True)
    head = Linear("head", ("f", "b", "x"), rng.normal(size=(2, 2 * H + F)), None, "hard_sigmoid")
    model = Model(F, (*sides, head), ("head", "f"))
    write_description(model, tmp_path / "m.toml")
    first = [(tmp_path / name).read_bytes() for name in ("m.toml", "m.npz")]
    write_description(model, tmp_path / "m.toml")
    assert [(tmp_path / name).read_bytes() for name in ("m.toml", "m.npz")] == first
    x = rng.normal(size=(2, 9, F))
    assert (gw.load(tmp_path / "m.toml").run(x) == model.run(x)).all()


def test_arrays_of_something_else_stay(tmp_path, rng):
    model = Model(F, (recurrent(rng, "g", "gru", ("x",), F, H),))
    (tmp_path / "m.npz").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"m.npz exists; choose another name"):
        write_description(model, tmp_path / "m.toml")
    assert (tmp_path / "m.npz").read_bytes() == b"mine"
    assert not (tmp_path / "m.toml").exists()
    with pytest.raises(InputError, match=r"ends in .toml"):
        write_description(model, tmp_path / "m.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "g"\ncell = "gru"', r'say their order, as in gates = "rzn"'),
        ('name = "g"\ncell = "gur"', r"cell 'gur' is none of gru, "),
        ('name = "g"\ncell = "gru"\ngates = "rzx"', "must name each of 'rzn' once"),
        ('name = "g"\ncell = "gru"\ngate_order = "rzn"', "'gate_order' is not known"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\nupdate = "new"', "update='new'"),
        ('name = "g"\ncell = "mgu"\nupdate = "replace"', "has no update gate z: leave out update"),
        ('name = "g"\ncell = "lstm"\nupdate = "keep"', "has no update gate z: leave out update"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\noutput = "tanh"', "only an LSTM has an output"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\nslope = 0.2', "leave out slope"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\ngate = "hard_sigmoid"\nslope = nan', "is nan, above 0"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\ngate = "hard_sigmoid"\nslope = -0.2', "is -0.2, above"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\ngate = "hard_sigmoid"', "say the slope"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\nreverse = 1', "reverse is '1', expected true or"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\ngate = "hard_sigmoid"\nslope = true', "slope is 'True', expected a number"),
        ('name = "h"\ncell = "gru"\ngates = "rzn"', "holds no h.W_r"),
        ('name = "h"\ncell = "linear"', r"holds no h.W, shape \(outputs, inputs\)"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\ncandidate = "softsign"', "'softsign' is not sup"),
        ('name = "g"\ncell = "gru"\ngates = "rzn"\nreads = ["y"]', r"reads \['y'\]; known: x"),
        ('name = "g"\ncell = "linear"', "g.U, g.b?.*belongs to no gate|g: takes"),
        ('cell = "gru"', "name is missing"),
        ("name = 3", "layer 3: cell '' is none of"),
    ],
)  # fmt: skip
def test_mistakes_are_named(gru, tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        gw.load(describe(tmp_path, text, **stacked(gru, "rzn")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outputs = []", "inputs is missing"),
        ('inputs = 3\nweights = "../w.npz"\nlayer = [{name = "g"}]', "a file of the same folder"),
        ('inputs = 3\nweights = "w.npz"\nlayer = []', "1 to 256 times"),
        ('inputs = 3\nweights = "w.npz"\nlayer = [1]', "as tables"),
        ('inputs = 3.5\nweights = "w.npz"\nlayer = []', "inputs is '3.5', expected a whole"),
        ("inputs = " + "[" * 5000, "is not a TOML file, or is damaged"),
        ("inputs == 3", "is not a TOML file, or is damaged"),
        ('inputs = 3\nweights = "none.npz"\n[[layer]]\nname = "g"\ncell = "gru"', "none.npz"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text, message):
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        gw.load(tmp_path / "m.toml")


def test_a_large_description_is_not_read(tmp_path):
    (tmp_path / "m.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="up to 1048576"):
        gw.load(tmp_path / "m.toml")
