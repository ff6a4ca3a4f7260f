"""ONNX files against ONNX's own node tests, its reference evaluator and a published model."""

import pathlib
import sys
import warnings

import numpy as np
import onnx
import pytest
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends.onnx import list_nodes, load_onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

DATA = pathlib.Path(__file__).parents[2] / "data"
GTCRN = DATA / "gtcrn_simple.onnx"
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def make(nodes, inputs, outputs, values=(), opset=17, **kwargs):
    """Build a model; ``inputs`` and ``outputs`` are name -> shape, ``values`` name -> array."""
    infos = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in part.items()]
        for part in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(values).items()]
    graph = helper.make_graph(nodes, "test", *infos, tensors)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, **kwargs)
    model = onnx.shape_inference.infer_shapes(model)
    for info in model.graph.output:
        info.type.tensor_type.shape.SetInParent()  # must be there, whatever it says
    return model


@pytest.fixture
def load(tmp_path):
    """Write a model to a file and load it."""

    def write(model, **kwargs):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return load_onnx(path, **kwargs)

    return write


def weights(op, inputs=3, size=4, seed=1, bias=True):
    rng = np.random.default_rng(seed)
    n = GATES[op] * size
    shapes = {"W": (1, n, inputs), "R": (1, n, size)} | ({"B": (1, 2 * n)} if bias else {})
    return {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}


def recurrent(op, extra=(), values=None, layout=0, outputs=("Y",), **attributes):
    """Build a model of one recurrent node with open steps and batch."""
    node = helper.make_node(
        op, ["X", "W", "R", "B", *extra], outputs, name="cell", hidden_size=4,
        **({"layout": layout} if layout else {}), **attributes,
    )  # fmt: skip
    x = ["batch", "steps", 3] if layout else ["steps", "batch", 3]
    return make([node], {"X": x}, dict.fromkeys(outputs), weights(op) | (values or {}))


def random(*shape, seed=2):
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32)


# The node tests of the onnx package


def node_cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Each module registers its cases as it is imported.
        from onnx.backend.test.case import node as registry
        from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: F401
    return {
        case.name: case
        for case in registry._NodeTestCases
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type in GATES
    }


CASES = node_cases()
REFUSED = {
    "test_lstm_with_peepholes": "peepholes",
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_onnx_node_case(load, name):
    """Each case with its weights made constants: equal to the recorded outputs, or refused."""
    model = onnx.ModelProto()
    model.CopyFrom(CASES[name].model)
    given, expected = CASES[name].data_sets[0]
    for info, array in list(zip(model.graph.input, given, strict=True))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
    del model.graph.input[1:]
    if name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[name]):
            load(model)
        return
    imported = load(model)
    node = model.graph.node[0]
    batch_first = any(a.name == "layout" and a.i for a in node.attribute)
    x = np.asarray(given[0])
    x = x if batch_first else x.swapaxes(0, 1)
    state = imported.initial_state(len(x))
    y = imported.run(x, state)  # (N, T, directions * H)
    y = np.stack(np.split(y, len(imported.layers), axis=2), axis=2)
    shaped = {0: y if batch_first else y.transpose(1, 2, 0, 3)}
    for k in (1, 2):
        last = [state[layer.name][k - 1] for layer in imported.layers]
        shaped[k] = np.stack(last, axis=1 if batch_first else 0)
    present = [k for k, output in enumerate(node.output) if output]
    for k, output in zip(present, expected, strict=True):
        np.testing.assert_allclose(shaped[k], output, atol=1e-5, rtol=0)


def test_onnx_node_cases_are_there():
    """Eighteen in onnx 1.23; every refusal above is of a case that exists."""
    assert len(CASES) >= 18 and set(REFUSED) <= set(CASES)


# Generated nodes against onnx.reference


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("GRU", {"linear_before_reset": 0}),
        ("GRU", {"linear_before_reset": 1}),
        ("LSTM", {}),
        ("RNN", {}),
    ],
)
def test_reference(load, op, attributes, layout):
    model = recurrent(op, layout=layout, **attributes)
    imported = load(model)
    x = random(2, 20, 3)
    feed = x if layout else x.swapaxes(0, 1)
    (y,) = ReferenceEvaluator(model).run(None, {"X": feed})
    expected = y[:, :, 0] if layout else y[:, 0].swapaxes(0, 1)
    np.testing.assert_allclose(imported.run(x), expected, atol=1e-5, rtol=1e-6)
    assert (
        imported.layers[0].cell
        == {
            "GRU": "gru" if attributes.get("linear_before_reset") else "gru_reset_before",
            "LSTM": "lstm",
            "RNN": "rnn",
        }[op]
    )


def both_ways(op, **attributes):
    """Build a model of one node of two directions."""
    model = recurrent(op, direction="bidirectional", **attributes)
    other = weights(op, seed=9)
    for tensor in model.graph.initializer:
        two = np.concatenate([numpy_helper.to_array(tensor), other[tensor.name]])
        tensor.CopyFrom(numpy_helper.from_array(two, tensor.name))
    return model


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("op", sorted(GATES))
def test_both_directions(load, op, layout):
    """Two layers, every output of the node in the graph's own layout; the state is loaded."""
    model = both_ways(op, layout=layout, extra=["", "h0"], outputs=("Y", "Y_h"))
    shape = ["batch", 2, 4] if layout else [2, "batch", 4]
    model.graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, shape))
    imported = load(model)
    assert [(layer.name, layer.reverse) for layer in imported.layers] == [
        ("cell", False), ("cell_reverse", True),
    ]  # fmt: skip
    if layout == 0:  # what the reference evaluator supports
        x, h = random(7, 2, 3), random(2, 2, 4, seed=3)
        y, _ = ReferenceEvaluator(model).run(None, {"X": x, "h0": h})
        none = np.zeros((2, 4))
        state = {"cell": (h[0], none), "cell_reverse": (h[1], none)}
        got = imported.run(x.swapaxes(0, 1), state)
        np.testing.assert_allclose(
            np.stack(np.split(got, 2, axis=2)), y.transpose(1, 2, 0, 3), atol=1e-5, rtol=0
        )


def test_activations_of_both_directions(load):
    names = ["Sigmoid", "Relu", "HardSigmoid", "Tanh"]
    model = load(both_ways("GRU", activations=names, activation_alpha=[0.25]))
    forward, backward = model.layers
    assert (forward.gate, forward.candidate) == ("sigmoid", "relu")
    assert (backward.gate, backward.candidate, backward.slope) == ("hard_sigmoid", "tanh", 0.25)
    assert "checked against on" in model.notes[-1]


def test_final_state_of_a_reversed_layer(load):
    """It is the output of the first step, which every step's output holds."""
    one = recurrent("GRU", outputs=("Y", "Y_h"), direction="reverse")
    two = both_ways("GRU", outputs=("Y", "Y_h"))
    del one.graph.output[0], two.graph.output[0]
    assert any("returns the first step of cell;" in note for note in load(one).notes)
    assert load(two).outputs == ("cell", "cell_reverse")


@pytest.mark.parametrize(
    ("op", "activations", "slope"),
    [
        ("GRU", ["Sigmoid", "Relu"], 0.2),
        ("GRU", ["Sigmoid", "Sigmoid"], 0.2),
        ("GRU", ["HardSigmoid", "Tanh"], 0.2),
        ("GRU", ["HardSigmoid", "Tanh"], 0.25),
        ("LSTM", ["HardSigmoid", "Relu", "Tanh"], 0.25),
        ("RNN", ["Relu"], 0.2),
    ],
)
def test_activations(load, op, activations, slope):
    """Compared by the check with onnxruntime: onnx.reference ignores this attribute."""
    given = {"activation_alpha": [slope], "activation_beta": [0.5]} if slope != 0.2 else {}
    model = recurrent(op, activations=activations, **given)
    imported = load(model)
    assert imported.layers[0].slope == slope
    assert "checked against on" in imported.notes[-1]
    batch_first = recurrent(op, activations=activations, layout=1, **given)
    batch_first = load(batch_first)
    assert "warning: not checked" in batch_first.notes[-1]  # onnxruntime lacks this layout
    x = random(2, 9, 3)
    np.testing.assert_array_equal(batch_first.run(x), imported.run(x))


@pytest.mark.parametrize(
    ("op", "kwargs", "message"),
    [
        ("GRU", {"direction": "bidirectional"}, r"cell: W has shape \(1, 12, 3\), expected \(2,"),
        ("GRU", {"direction": "sideways"}, "direction 'sideways' is none of"),
        ("GRU", {"clip": 3.0}, "cell: clip 3"),
        ("GRU", {"activations": ["Affine", "Tanh"]}, "Affine"),
        ("GRU", {"activations": ["Sigmoid", "LeakyRelu"]}, "LeakyRelu"),
        ("GRU", {"activations": ["Sigmoid"]}, "activations"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "output activation 'relu'"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
        (
            "GRU",
            {"activations": ["HardSigmoid", "Tanh"], "activation_beta": [0.4]},
            "activation_beta",
        ),
        (
            "GRU",
            {"activations": ["HardSigmoid", "HardSigmoid"], "activation_alpha": [0.2, 0.3]},
            "one alpha",
        ),
        ("GRU", {"extra": ["lens"], "values": {"lens": np.array([2], np.int32)}}, "sequence_lens"),
        (
            "GRU",
            {"extra": ["", "h"], "values": {"h": np.full((1, 11, 4), 0.5, np.float32)}},
            "initial_h is a constant that is not zero",
        ),
        (
            "LSTM",
            {"extra": ["", "", "c"], "values": {"c": np.full((1, 11, 4), 0.5, np.float32)}},
            "initial_c is a constant that is not zero",
        ),
        (
            "LSTM",
            {"extra": ["", "", "", "P"], "values": {"P": np.ones((1, 12), np.float32)}},
            "peepholes",
        ),
        ("GRU", {"values": {"B": np.ones((1, 12), np.float32)}}, "B has shape"),
        ("GRU", {"values": {"W": np.ones((1, 11, 3), np.float32)}}, "W has shape"),
        ("GRU", {"values": {"R": np.ones((1, 15, 5), np.float32)}}, "hidden_size"),
        ("GRU", {"values": {"W": np.ones((1, 12, 2), np.float32)}}, "W takes 2 features"),
        ("GRU", {"values": {"W": np.full((1, 12, 3), np.nan, np.float32)}}, "finite"),
    ],
)
def test_refused_form(load, op, kwargs, message):
    with pytest.raises(InputError, match=message):
        load(recurrent(op, **kwargs))


def test_accepted_defaults(load):
    """Zero states, full sequence lengths and zero peepholes change nothing."""
    values = {
        "lens": np.array([6, 6], np.int32),
        "h": np.zeros((1, 2, 4), np.float32),
        "P": np.zeros((1, 12), np.float32),
    }
    model = recurrent("LSTM", extra=["lens", "h", "h", "P"], values=values)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (6, 2, 3), strict=True):
        dim.dim_value = size
    x = random(2, 9, 3)
    np.testing.assert_array_equal(load(model).run(x), load(recurrent("LSTM")).run(x))


def test_state_input(load):
    """An initial state that is a graph input is kept by the core; the check gives it values."""
    model = recurrent("LSTM", extra=["", "h0", "c0"], outputs=("Y", "Y_h", "Y_c"))
    for name in ("h0", "c0"):
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "batch", 4])
        model.graph.input.append(info)
    imported = load(model)
    assert imported.outputs == ("cell",)
    assert sum("comes from input" in note for note in imported.notes) == 2
    x, h, c = random(5, 2, 3), random(1, 2, 4, seed=3), random(1, 2, 4, seed=4)
    y, *_ = ReferenceEvaluator(model).run(None, {"X": x, "h0": h, "c0": c})
    got = imported.run(x.swapaxes(0, 1), {"cell": (h[0], c[0])})
    np.testing.assert_allclose(got, y[:, 0].swapaxes(0, 1), atol=1e-5, rtol=0)


def test_pytorch_warning(load):
    """PyTorch has no reset-before GRU, so such a node of its exporter is likely wrong."""
    model = recurrent("GRU")
    assert not any("warning" in note for note in load(model).notes)
    model.producer_name = "pytorch"
    assert any("warning: cell: linear_before_reset" in note for note in load(model).notes)
    model = recurrent("GRU", linear_before_reset=1)
    model.producer_name = "pytorch"
    assert not any("warning" in note for note in load(model).notes)


# Whole graphs


def classifier(middle, shape, output="out", batch_first=False):
    """GRU 3 -> 4 with Y squeezed to (steps, batch, 4) as 'seq', then ``middle``."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["X"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["X", "W", "R", "B"], ["Y", "Y_h"], name="gru", hidden_size=4,
                         linear_before_reset=1),
        helper.make_node("Squeeze", ["Y", "one"], ["seq"]),
        *middle,
    ]  # fmt: skip
    if not batch_first:
        nodes[0] = helper.make_node("Identity", ["x"], ["X"])
    values = weights("GRU") | {
        "one": np.array([1]),
        "zero": np.array([0]),
        "minus": np.array(-1),
        "M": random(4, 2),
        "N": random(2, 4, seed=7),
        "bias": random(2, seed=8),
        "Wg": weights("GRU", 4, 4, 5)["W"],
        "shape": np.array([0, 0, -1]),
    }
    return make(nodes, {"x": shape}, {output: None}, values)


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
    ],
)  # fmt: skip
def test_graph(load, middle, layers, shape, batch_first):
    """Layers between layout operators; the check on import compares every output."""
    model = classifier(middle, shape, batch_first=batch_first)
    for name, value in (("lo", -1.0), ("hi", 1.0), ("flat", np.array([-1, 4]))):
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
    with pytest.raises(InputError, match="mixed with steps"):
        load(model)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        ([node("Conv", ["seq", "M"], ["out"])], r"not supported: Conv \(1\).*--node: gru"),
        ([node("Add", ["seq", "X"], ["out"])], "joined or of different shapes"),
        ([node("Mul", ["seq", "seq"], ["out"])], "must be a constant"),
        ([node("Clip", ["seq"], ["out"])], "Clip to"),
        ([node("HardSigmoid", ["seq"], ["out"], beta=0.4)], "beta 0.4"),
        ([node("MatMul", ["seq", "W"], ["out"])], "must have 2 axes"),
        ([node("MatMul", ["seq", "N"], ["out"])], "takes 2 features, not 4"),
        ([node("Softmax", ["seq"], ["s"]), node("Relu", ["s"], ["out"])], "softmax"),
        ([node("Softmax", ["seq"], ["out"], axis=0)], "over axis 0"),
        ([node("Transpose", ["seq"], ["s"], perm=[0, 2, 1]),
          node("Relu", ["s"], ["out"])], "features that are cut"),
        ([node("Transpose", ["seq"], ["s"], perm=[1, 0, 2]),
          node("GRU", ["s", "Wg", "R"], ["out"], name="g2", hidden_size=4)], "time and batch"),
        ([node("GRU", ["Y_h", "Wg", "R"], ["out"], name="g2", hidden_size=4)], "only some steps"),
        ([node("GRU", ["seq", "Wg", "R", "", "", "Y_h"], ["out"], name="g2", hidden_size=4)],
         "initial_h is computed by the graph"),
        ([node("GRU", ["seq", "Wg", "R", "", "", "x"], ["out"], name="g2", hidden_size=4)],
         "initial_h"),
        ([node("Gather", ["seq", "zero"], ["out"], axis=0)], "only some of 'gru'"),
        ([node("Gather", ["seq", "zero"], ["out"], axis=2)], "only some"),
        ([node("Identity", ["x"], ["out"])], "holds inputs"),
        ([node("Identity", ["M"], ["out"])], "is a constant"),
        ([node("ConstantOfShape", ["big"], ["c"]), node("MatMul", ["seq", "c"], ["out"])],
         "makes 11258"),
    ],
)  # fmt: skip
def test_refused_graph(load, middle, message):
    model = classifier(middle, ["t", "b", 3])
    big = numpy_helper.from_array(np.array([1 << 40, 1 << 10]), "big")
    model.graph.initializer.append(big)
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
    assert len(model.layers) == (5 if both else 3)


# A published graph that holds much else


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


# Scales, shifts and sums


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
    assert [layer.name for layer in load(scaled(["Yn", "X"])).layers] == ["gru", "bn"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("Div", ["W3", "Y3"]), "Div by data, or by zero"),
        (("Mul", ["Y3", "steps"]), "constants that differ between steps"),
        (("Mul", ["Y3", "Y3"]), "must be a constant"),
        (("Add", ["Y3", "X"]), "different steps or features|different shapes"),
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


# Files


def test_check_finds_a_wrong_import(load, monkeypatch):
    """A gate order that is wrong would be noticed."""
    from gatewright.compiler.frontends import onnx_cells

    monkeypatch.setitem(onnx_cells.RECURRENT_OPS, "GRU", ("r", "z", "n"))
    model = recurrent("GRU", linear_before_reset=1)
    with pytest.raises(CheckError, match="'Y' differs from"):
        load(model)
    load(model, check=False)


def test_check_names_the_node_and_the_step_where_a_difference_begins(load, monkeypatch):
    """A state that is cut at a later step is no fault of the file."""
    from gatewright.compiler.ir import model as ir

    walk = ir._walk

    def cut(layer, x, start, lengths, every_gate):
        made, state = walk(layer, x, start, lengths, every_gate)
        made[layer.name][:, 2:] *= 0.99
        return made, state

    monkeypatch.setattr(ir, "_walk", cut)
    text = r"from step 2 on; the difference begins in cell at step 2$"
    with pytest.raises(CheckError, match=text):
        load(recurrent("GRU", linear_before_reset=1))


def test_check_is_in_float64_or_bounded_by_measured_noise(load, monkeypatch):
    model = recurrent("GRU", linear_before_reset=1)
    assert "onnx.reference in float64" in load(model).notes[-1]
    relu = recurrent("RNN", activations=["Relu"])  # of which the reference takes no notice
    imported = load(relu)
    assert "onnxruntime in float32" in imported.notes[-1]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert load(model).not_compared == ()
    imported = load(relu)
    assert "ModuleNotFoundError" in imported.not_compared[0]


def directed(op, direction):
    """Build a model of one recurrent node of one direction or both."""
    halves = [weights(op, seed=seed) for seed in range(1 + (direction == "bidirectional"))]
    values = {key: np.concatenate([half[key] for half in halves]) for key in halves[0]}
    form = {"linear_before_reset": 1} if op == "GRU" else {}
    return recurrent(op, values=values, direction=direction, **form)


def in_kind(model, kind):
    """Write every float of a graph in another type."""
    from gatewright.compiler.frontends.onnx_check import _in

    return _in(model, kind)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op", ["GRU", "LSTM"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_graphs_of_other_precisions_pass_the_check(load, op, direction, kind):
    plain = directed(op, direction)
    imported = load(in_kind(plain, kind))
    assert imported.not_compared == ()
    x = np.random.default_rng(1).normal(size=(9, imported.input_size))
    np.testing.assert_allclose(imported.run(x), load(plain).run(x), atol=5e-3)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_large_weights_pass_the_check(load, direction):
    """Rounding grows from step to step there: a fixed bound calls a right import wrong."""
    model = directed("GRU", direction)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array * 60, tensor.name))
    assert load(model).not_compared == ()


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08" + bytes(100)])
def test_not_a_model(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.onnx: not a"):
        load_onnx(path)


def test_cut_file(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(GTCRN.read_bytes()[:300_000])
    with pytest.raises(InputError, match=r"cut\.onnx: not a"):
        list_nodes(path)


def test_external_data_beside_the_model(tmp_path, load):
    """The onnx package writes it as torch.onnx.export does; what is read is the same model."""
    model = recurrent("GRU", linear_before_reset=1)
    path, x = tmp_path / "two.onnx", random(9, 3)
    onnx.save_model(
        model, path, save_as_external_data=True, location="two.onnx.data", size_threshold=0
    )
    assert (tmp_path / "two.onnx.data").stat().st_size >= 4 * (36 + 48 + 24)
    one = load(recurrent("GRU", linear_before_reset=1))
    np.testing.assert_array_equal(load_onnx(path).run(x), one.run(x))
    (tmp_path / "two.onnx.data").write_bytes(b"short")
    with pytest.raises(
        InputError, match=r"takes \d+ bytes at '\d+' of 'two.onnx.data', which has 5"
    ):
        load_onnx(path)
    (tmp_path / "two.onnx.data").unlink()
    with pytest.raises(InputError, match="is not there: copy it beside the model"):
        load_onnx(path)
    (tmp_path / "two.onnx.data").symlink_to(__file__)
    with pytest.raises(InputError, match="is not there"):
        load_onnx(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", "", "a\\b"])
def test_external_data_elsewhere_is_refused(load, name):
    model = recurrent("GRU")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    with pytest.raises(InputError, match=r"W is stored in .*external_data=False"):
        load(model)


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-1"), ("offset", "9" * 30), ("length", "3"), ("length", "x")]
)
def test_external_data_of_a_wrong_size_is_refused(tmp_path, key, value):
    model, path = recurrent("GRU"), tmp_path / "m.onnx"
    tensor = model.graph.initializer[0]
    (tmp_path / "m.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.data")
    tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="takes 144 bytes"):
        load_onnx(path)


def test_old_opset(load):
    model = recurrent("RNN")
    model.opset_import[0].version = 1
    with pytest.raises(InputError, match=r"opset 1|not a valid"):
        load(model)


def test_huge_input(load):
    model = recurrent("GRU")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 40
    with pytest.raises(InputError, match="input 'X' has shape"):
        load(model)


def test_malformed_attribute(load):
    """ONNX's checker accepts an initializer whose bytes do not fill its shape."""
    model = recurrent("GRU")
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:20]
    with pytest.raises(InputError, match=r"model\.onnx: (malformed|not a valid)"):
        load(model)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:overflow")
def test_damaged_bytes(tmp_path):
    """Files with changed bytes are read or refused, never a crash of another kind."""
    data, rng = (
        recurrent("GRU", linear_before_reset=1).SerializeToString(),
        np.random.default_rng(9),
    )
    path = tmp_path / "damaged.onnx"
    for _ in range(1000):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_onnx(path)
        except (InputError, CheckError):
            pass
