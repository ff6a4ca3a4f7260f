"""Whole ONNX graphs against PyTorch, the reference evaluator and recorded outputs."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.onnx import list_nodes, load_onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.onnx_graphs import (
    DATA,
    GTCRN,
    classifier,
    make,
    random,
    weights,
)

node = helper.make_node


LINEAR = [node("MatMul", ["seq", "M"], ["p"]), node("Add", ["bias", "p"], ["q"])]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [["a", "b", 3], [9, 1, 3], [1, 9, 3], [1, 1, 3], [6, 6, 3]])
@pytest.mark.parametrize(
    ("middle", "layers"),
    [
        ([node("Identity", ["seq"], ["out"])], 1),
        ([*LINEAR, node("Tanh", ["q"], ["out"])], 2),
        ([*LINEAR, node("Transpose", ["q"], ["t"], perm=[1, 0, 2]),
          node("HardSigmoid", ["t"], ["out"], alpha=0.25)], 2),
        ([node("Relu", ["seq"], ["out"])], 2),
        ([node("Clip", ["seq", "lo", "hi"], ["out"])], 2),
        ([node("Reshape", ["Y", "flat"], ["f"]),
          node("Gemm", ["f", "N", "bias"], ["out"], transB=1, alpha=0.5, beta=2.0)], 2),
        ([node("Squeeze", ["Y_h", "zero"], ["h"]), node("Gemm", ["h", "M"], ["g"]),
          node("Sigmoid", ["g"], ["out"])], 2),
        ([node("Gather", ["seq", "minus"], ["h"], axis=0), node("Gemm", ["h", "M"], ["out"])], 2),
        ([node("GRU", ["seq", "Wg", "R", "B"], ["Z"], name="gru2", hidden_size=4),
          node("Squeeze", ["Z", "one"], ["out"])], 2),
        ([*LINEAR, node("Softmax", ["q"], ["out"], axis=-1)], 2),
        ([*LINEAR, node("Relu", ["q"], ["r"]), node("MatMul", ["r", "N"], ["s"]),
          node("Dropout", ["s"], ["out"])], 3),
        ([node("Transpose", ["seq"], ["s"], perm=[0, 2, 1]), node("Relu", ["s"], ["out"])], 2),
        ([node("Gather", ["seq", "zero"], ["out"], axis=0)], 1),
        ([node("Gather", ["seq", "zero"], ["s"], axis=2), node("Identity", ["s"], ["out"])], 2),
        ([node("Identity", ["x"], ["out"])], 1),
        ([node("Clip", ["seq"], ["out"])], 1),
        ([node("Clip", ["seq", "lo"], ["out"])], 3),
        ([node("Clip", ["seq", "lo", "half"], ["out"])], 3),
        ([node("Max", ["lo", "seq"], ["c"]), node("Min", ["c", "half"], ["out"])], 4),
    ],
)  # fmt: skip
def test_graph(load, middle, layers, shape, batch_first):
    """Layers between layout operators; the check on import compares every output."""
    model = classifier(middle, shape, batch_first=batch_first)
    for name, value in (("lo", -1.0), ("hi", 1.0), ("half", 0.5), ("flat", np.array([-1, 4]))):
        array = np.float32(value) if name != "flat" else value
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    imported = load(model)
    assert len(imported.layers) == layers
    assert "checked against" in imported.notes[-1]


def test_fused_activation_spares_other_readers(load):
    """A linear layer that someone else reads keeps its linear output."""
    model = classifier([*LINEAR, node("Relu", ["q"], ["out"])], ["t", "b", 3])
    model.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, "tbf"))
    imported = load(model)
    assert [getattr(la, "activation", "") for la in imported.layers] == ["", "none", "relu"]
    assert len(imported.outputs) == 2
    moved = [*LINEAR, node("Identity", ["q"], ["i"]), node("Relu", ["i"], ["out"])]
    model = classifier(moved, ["t", "b", 3])
    model.graph.output.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, "tbf"))
    assert len(load(model, check=False).layers) == 3


def test_stacked_states(load):
    """PyTorch joins the layers' last states, and a head may take the last layer's."""
    middle = [
        node("GRU", ["seq", "Wg", "R", "B"], ["Z", "Z_h"], name="gru2", hidden_size=4),
        node("Concat", ["Y_h", "Z_h"], ["hn"], axis=0),
        node("Gather", ["hn", "minus"], ["h"], axis=0),
        node("Gemm", ["h", "M"], ["out"]),
    ]
    imported = load(classifier(middle, ["t", "b", 3]))
    assert imported.layers[-1].inputs == ("gru2",)
    model = classifier(middle, ["t", "b", 3])
    model.graph.output.append(helper.make_tensor_value_info("hn", TensorProto.FLOAT, "lbf"))
    assert any("kept inside the core" in note for note in load(model).notes)


def test_joined_features(load):
    """Vectors joined by their features become the inputs of one layer."""
    middle = [
        node("Concat", ["X", "seq"], ["j"], axis=2),
        node("GRU", ["j", "Wj", "R", "B"], ["Z"], name="gru2", hidden_size=4),
        node("Squeeze", ["Z", "one"], ["out"]),
    ]
    model = classifier(middle, ["t", "b", 3])
    model.graph.initializer.append(numpy_helper.from_array(weights("GRU", 7, 4, 9)["W"], "Wj"))
    assert load(model).layers[-1].inputs == ("x", "gru")


def test_joined_features_of_different_steps(load):
    """A vector joined with one of another step is no input of one layer."""
    order = np.array([1, 2, 3, 4, 0])
    middle = [
        node("Gather", ["seq", "order"], ["turned"], axis=0),
        node("Concat", ["X", "turned"], ["j"], axis=2),
        node("MatMul", ["j", "M7"], ["out"]),
    ]
    model = classifier(middle, [5, 1, 3])
    for name, array in (("order", order), ("M7", random(7, 2))):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    with pytest.raises(InputError, match="MatMul_5: reads different steps together"):
        load(model)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        ([node("Conv", ["seq", "M"], ["out"])], r"not supported: Conv \(1\).*--node: gru"),
        ([node("Add", ["seq", "X"], ["out"])], "shapes .13, 11, 4., .13, 11, 3., which do not"),
        ([node("Mul", ["seq", "seq"], ["out"])], "a gate or attention"),
        ([node("Clip", ["seq", "lim", "lim"], ["out"])], "Clip_3: clips to 1 to 1"),
        ([node("HardSigmoid", ["seq"], ["out"], beta=0.4)], "beta 0.4"),
        ([node("MatMul", ["seq", "W"], ["out"])], "two axes are supported|weights of shape"),
        ([node("MatMul", ["seq", "N"], ["out"])], "weights of shape .4, 2. for 4 inputs"),
        ([node("Softmax", ["seq"], ["s"]), node("Relu", ["s"], ["out"])], "softmax is not at the end"),
        ([node("LayerNormalization", ["seq", "bias"], ["out"])], "LayerNormalization .1.: its scale.*BatchNorm1d"),
        ([node("Concat", ["bias4", "seq"], ["out"], axis=0)], "Concat of constants and data"),
        ([node("Softmax", ["seq"], ["out"], axis=0)], "reads different steps together"),
        ([node("Transpose", ["seq"], ["s"], perm=[1, 0, 2]),
          node("GRU", ["s", "Wg", "R"], ["out"], name="g2", hidden_size=4)], "g2: walks over some steps only, one step again and again, or time and sequences exchanged"),
        ([node("GRU", ["Y_h", "Wg", "R"], ["out"], name="g2", hidden_size=4)], "g2: walks over some steps only"),
        ([node("GRU", ["seq", "Wg", "R", "", "", "Y_h"], ["out"], name="g2", hidden_size=4)],
         "initial_h is computed by the graph"),
        ([node("GRU", ["seq", "Wg", "R", "", "", "x"], ["out"], name="g2", hidden_size=4)],
         "initial_h"),
        ([node("Slice", ["seq", "zero", "three"], ["out"])], "holds steps"),
        ([node("Identity", ["M"], ["out"])], "is a constant"),
        ([node("ConstantOfShape", ["big"], ["c"]), node("MatMul", ["seq", "c"], ["out"])],
         "makes 11258"),
    ],
)  # fmt: skip
def test_refused_graph(load, middle, message):
    model = classifier(middle, ["t", "b", 3])
    for name, array in (
        ("big", [1 << 40, 1 << 10]),
        ("three", [3]),
        ("bias4", np.ones((1, 1, 4), np.float32)),
        ("lim", np.float32(1)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(np.array(array), name))
    with pytest.raises(InputError, match=message):
        load(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", ["sequence", "last step", "last state"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", ["GRU", "LSTM", "RNN"])
def test_pytorch_export(tmp_path, cell, batch_first, both, head):
    """Files as PyTorch's own exporter writes them, with open batch and steps."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = getattr(torch.nn, cell)(
                3, 4, 2, batch_first=batch_first, bidirectional=both
            )
            self.head = torch.nn.Linear(8 if both and head != "last state" else 4, 2)

        def forward(self, x):
            y, state = self.cells(x)
            if head == "last step":
                y = y[:, -1] if batch_first else y[-1]
            if head == "last state":
                y = (state[0] if cell == "LSTM" else state)[-1]
            return torch.sigmoid(self.head(y))

    torch.manual_seed(1)
    net, path = Net().eval(), tmp_path / "net.onnx"
    axes = {"x": {0: "first", 1: "second"}}
    torch.onnx.export(
        net, (torch.zeros(5, 2, 3),), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes
    )
    model = load_onnx(path)
    x = random(2, 30, 3)
    expected = net(torch.tensor(x if batch_first else x.swapaxes(0, 1))).detach().numpy()
    y = model.run(x)
    if head != "sequence":
        y = y[:, 0 if both and head == "last state" else -1]
    elif not batch_first:
        y = y.swapaxes(0, 1)
    np.testing.assert_allclose(y, expected, atol=1e-5, rtol=0)
    assert len(model.layers) == (3 + 2 * both - (both and head == "last state"))


@pytest.mark.parametrize("entry", list_nodes(GTCRN), ids=lambda entry: entry["name"])
def test_gtcrn(entry):
    """Each GRU of GTCRN on inputs and states recorded at frame 100 of real speech."""
    name = entry["name"]
    model = load_onnx(GTCRN, node=name)
    with np.load(DATA / "gtcrn_gru_nodes_frame100.npz") as data:
        x, h, y = (data[f"{name}_{key}"].astype(float) for key in ("X", "h0", "Y"))
    count = 1 if entry["direction"] == "forward" else 2
    assert (model.input_size, model.output_size) == (entry["input"], count * entry["hidden"])
    state = {layer.name: (h[k], 0 * h[k]) for k, layer in enumerate(model.layers)}
    got = model.run(x.swapaxes(0, 1), state)
    expected = np.concatenate(list(y.swapaxes(0, 1)), axis=-1).swapaxes(0, 1)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


def test_gtcrn_nodes():
    entries = list_nodes(GTCRN)
    assert len(entries) == 14 and sum(e["direction"] == "forward" for e in entries) == 10
    assert entries[0] == {
        "name": "GRU_153", "op": "GRU", "hidden": 16, "input": 8, "direction": "forward",
        "lbr": 1, "layout": 0,
    }  # fmt: skip


def test_gtcrn_whole():
    with pytest.raises(InputError, match=r"Conv \(11\).*ScatterND.*--node: GRU_153, GRU_343"):
        load_onnx(GTCRN)
    with pytest.raises(InputError, match="named 'GRU_1'; there are: GRU_153"):
        load_onnx(GTCRN, node="GRU_1")


def scaled(order, seed=7):
    """Build (x - mean) / std, GRU 3 -> 3, batch normalization of features on axis 1, and a sum."""
    rng = np.random.default_rng(seed)
    positive = {"std", "var"}
    values = (
        {
            n: (rng.uniform(0.5, 2, 3) if n in positive else rng.normal(size=3)).astype(np.float32)
            for n in ("mean", "std", "gamma", "beta", "bmean", "var")
        }
        | weights("GRU", size=3)
        | {"axes": np.array([1])}
    )
    nodes = {
        "sub": (("Sub", ["X", "mean"], ["xc"]), {}),
        "div": (("Div", ["xc", "std"], ["xn"]), {}),
        "gru": (("GRU", ["xn", "W", "R", "B"], ["Y4"]), {"hidden_size": 3, "linear_before_reset": 1}),
        "squeeze": (("Squeeze", ["Y4", "axes"], ["Y3"]), {}),
        "there": (("Transpose", ["Y3"], ["Yt"]), {"perm": [1, 2, 0]}),
        "bn": (("BatchNormalization", ["Yt", "gamma", "beta", "bmean", "var"], ["Yb"]), {}),
        "back": (("Transpose", ["Yb"], ["Yn"]), {"perm": [2, 0, 1]}),
        "add": (("Add", order, ["Y"]), {}),
    }  # fmt: skip
    made = [helper.make_node(*args, name=name, **given) for name, (args, given) in nodes.items()]
    return make(made, {"X": [7, 2, 3]}, {"Y": [7, 2, 3]}, values)


@pytest.mark.parametrize("order", [["Yn", "X"], ["xn", "Yn"], ["Yn", "Y3"]], ids=str)
def test_normalization_and_sums_equal_the_reference(load, order):
    model = scaled(order)
    x = random(7, 2, 3)
    (want,) = ReferenceEvaluator(model).run(None, {"X": x})
    imported = load(model)
    assert imported.not_compared == ()
    got = np.stack([imported.run(x[:, k]) for k in range(2)], axis=1)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_scale_in_front_and_a_sum_behind_cost_no_layer(load):
    assert [layer.name for layer in load(scaled(["Yn", "X"])).layers] == ["gru", "add"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("Div", ["W3", "Y3"]), "Div_2: the divisor .* must be a constant"),
        (("Mul", ["Y3", "steps"]), "factors or offsets differ from step to step"),
        (("Mul", ["Y3", "Y3"]), "multiplies two tensors that depend on the input"),
        (("Add", ["Y3", "X"]), "which do not belong together"),
    ],
)
def test_scales_that_are_no_layer_are_refused(load, node, message):
    values = weights("GRU", size=4) | {
        "axes": np.array([1]), "W3": np.ones(4, np.float32),
        "steps": np.arange(7, dtype=np.float32).reshape(7, 1, 1),
    }  # fmt: skip
    nodes = [
        helper.make_node("GRU", ["X", "W", "R", "B"], ["Y4"], hidden_size=4, linear_before_reset=1),
        helper.make_node("Squeeze", ["Y4", "axes"], ["Y3"]),
        helper.make_node(*node, ["Y"]),
    ]
    with pytest.raises(InputError, match=message):
        load(make(nodes, {"X": [7, 2, 3]}, {"Y": [7, 2, 4]}, values, opset=17))
