"""Recurrent nodes of ONNX against ONNX's own cases and reference evaluator."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from gatewright.compiler.errors import InputError
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support.onnx_graphs import (
    GATES,
    both_ways,
    random,
    recurrent,
)


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
    assert any("the first step only is given out" in note for note in load(one).notes)
    imported = load(two)
    assert imported.outputs == ("cell", "cell_reverse")
    assert any("the last step of some outputs and the first of others" in n for n in imported.notes)


@pytest.mark.parametrize(
    ("op", "activations", "slope"),
    [
        ("GRU", ["Sigmoid", "Relu"], 0.2),
        ("GRU", ["Sigmoid", "Sigmoid"], 0.2),
        ("GRU", ["HardSigmoid", "Tanh"], 0.2),
        ("GRU", ["HardSigmoid", "Tanh"], 0.25),
        ("LSTM", ["HardSigmoid", "Relu", "Tanh"], 0.25),
        ("LSTM", ["Sigmoid", "Sigmoid", "Relu"], 0.2),
        ("LSTM", ["HardSigmoid", "Tanh", "Sigmoid"], 0.25),
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
