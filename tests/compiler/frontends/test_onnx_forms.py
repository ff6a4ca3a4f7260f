"""Forms in which converters write the same networks: equal to onnx.reference in float64, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from gatewright.compiler.errors import InputError
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from support.onnx_graphs import in_kind, make, random, weights

T, N, F, H = 7, 2, 3, 4
GRU = {"hidden_size": H, "linear_before_reset": 1}
VALUES = {
    **weights("GRU", F, H),
    **{f"{k}2": np.concatenate([weights("GRU", F, H, s)[k] for s in (3, 4)]) for k in "WRB"},
    **{f"L{k}": v for k, v in weights("LSTM", F, H, 6).items()},
    "Wh": weights("GRU", H, H, 7)["W"],
    "M": random(H, 2), "Mt": random(2, H), "M8": random(2 * H, 2), "Q": random(F, H), "bias": random(2), "mean": random(F),
    "std": np.abs(random(F, seed=5)) + 0.5, "var": np.abs(random(H, seed=6)) + 0.5, "vector": random(H),
    "table": random(5, F), "off_on": np.float32([0, 1]), "depth": np.array(3), "one": np.array([1]),
    "zero": np.array([0]), "minus": np.array([-1]), "first": np.array(0), "last": np.array(-1),
    "far": np.array([1 << 40]), "flat": np.array([0, 0, -1]), "full": np.full(N, T),
    "full32": np.full(N, T, np.int32), "short32": np.array([T, T - 1], np.int32), "h0": np.zeros((1, N, H), np.float32),
    "ones": np.ones((1, N, H), np.float32), "half": np.float32(0.5), "four": np.array([1, 0, H]),
}  # fmt: skip


def graph(lines: str, x=(T, N, F), inputs=None, kind=TensorProto.FLOAT, opset=17):
    """Build a graph of lines ``outputs = Op(inputs) key=value``; the last one's first output is y."""
    nodes = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        outputs, _, rest = line.partition(" = ")
        call, _, given = rest.partition(")")
        op, _, names = call.partition("(")
        options = GRU if op == "GRU" else {"hidden_size": H} if op in ("LSTM", "RNN") else {}
        options = options | {k: eval(v) for k, _, v in (g.partition("=") for g in given.split())}
        nodes.append(helper.make_node(op, [n.strip() for n in names.split(",")], outputs.split(", "),
                                      name=f"n{len(nodes)}", **options))  # fmt: skip
    used = {name for node in nodes for name in node.input}
    values = {k: v for k, v in VALUES.items() if k in used}
    model = make(nodes, {"x": x, **(inputs or {})}, {"y": None}, values, opset)
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


TF = "a = Transpose(x) perm=[1,0,2]\n"  # Keras' layout of x: sequences first
SQUEEZED = "Y = GRU(x, W, R, B)\ns = Squeeze(Y, one)\n"

EQUAL = {  # lines, layers, where the output stands in the model's: 'all' is (T, N, O)
    "tf2onnx layout": (TF + "Y = GRU(a, W, R, B)\ns = Squeeze(Y, one)\nt = Transpose(s) perm=[1,0,2]\n"
                       "m = MatMul(t, M)\nn = Add(m, bias)\ny = Relu(n)", 2, "batch first"),
    "reset before": (TF + "Y = GRU(a, W, R, B) linear_before_reset=0\nu = Squeeze(Y, one)\n"
                     "y = Transpose(u) perm=[1,0,2]", 1, "batch first"),
    "backwards by ReverseSequence": (
        ("r = ReverseSequence(x, full) batch_axis=1 time_axis=0\nY = GRU(r, W, R, B)\ns = Squeeze(Y, one)\n"
        "y = ReverseSequence(s, full) batch_axis=1 time_axis=0"), 1, "all"),
    "backwards by Slice": (("r = Slice(x, minus, far_back, zero, minus)\nY = GRU(r, W, R, B)\ns = Squeeze(Y, one)\n"
                           "y = Slice(s, minus, far_back, zero, minus)"), 1, "all"),
    "state by ConstantOfShape": (("k = Shape(x)\nb = Gather(k, one)\nf = Concat(one, b, size) axis=0\n"
                                 "h = ConstantOfShape(f)\nY, Yh = GRU(x, W, R, B, , h)\ny = Squeeze(Y, one)"), 1, "all"),
    "full sequence_lens": ("Y = GRU(x, W, R, B, full32, h0)\ny = Squeeze(Y, one)", 1, "all"),
    "both directions": (("Y = GRU(x, W2, R2, B2) direction='bidirectional'\nt = Transpose(Y) perm=[0,2,1,3]\n"
                        "c = Reshape(t, flat)\ny = MatMul(c, M8)"), 3, "all"),
    "sum of directions": (("Y = GRU(x, W2, R2, B2) direction='bidirectional'\nf, b = Split(Y) axis=1\n"
                          "p = Squeeze(f, one)\nq = Squeeze(b, one)\ns = Add(p, q)\ny = MatMul(s, M)"), 3, "all"),
    "mean of directions": (("Y = GRU(x, W2, R2, B2) direction='bidirectional'\nf, b = Split(Y) axis=1\n"
                           "m = Mean(f, b)\ny = Squeeze(m, one)"), 3, "all"),
    "noise": (("i = Identity(x)\nu = Unsqueeze(i, zero)\nv = Unsqueeze(u, one)\nw = Squeeze(v, zero)\n"
              "q = Squeeze(w, zero)\nd, mask = Dropout(q)\nc = Cast(d) to=11\nY = GRU(c, W, R, B)\n"
              "s = Squeeze(Y, one)\ny = Cast(s) to=1"), 1, "all"),
    "softmax": (SQUEEZED + "m = MatMul(s, M)\ny = Softmax(m) axis=2", 2, "softmax"),
    "log softmax, then layout": (SQUEEZED + "m = MatMul(s, M)\nl = LogSoftmax(m) axis=-1\nu = Unsqueeze(l, zero)\n"
                                 "y = Squeeze(u, zero)", 2, "log softmax"),
    "normalization in front": ("c = Sub(x, mean)\nd = Div(c, std)\nY = GRU(d, W, R, B)\ny = Squeeze(Y, one)", 1, "all"),
    "normalization between": (SQUEEZED + "t = Transpose(s) perm=[1,2,0]\n"
                              "b = BatchNormalization(t, vector, vector, vector, var)\nu = Transpose(b) perm=[2,0,1]\n"
                              "Z = GRU(u, Wh, R, B)\ny = Squeeze(Z, one)", 2, "all"),
    "scale behind": (SQUEEZED + "m = MatMul(s, M)\na = Mul(half, m)\nb = Sub(bias, a)\nc = Neg(b)\ny = Div(c, half)",
                     2, "all"),
    "residual": (SQUEEZED + "q = MatMul(x, Q)\na = Add(s, q)\ny = MatMul(a, M)", 3, "all"),
    "skip of x": (SQUEEZED + "c = Concat(x, s) axis=2\nd = MatMul(c, C)\nt = Tanh(d)\ny = MatMul(t, M)", 3, "all"),
    "weight on the left": (SQUEEZED + "t = Transpose(s) perm=[0,2,1]\nm = MatMul(Mt, t)\ny = Transpose(m) perm=[0,2,1]",
                           2, "all"),
    "Gemm of all steps": (SQUEEZED + "f = Flatten(s) axis=2\ng = Gemm(f, M, bias) alpha=0.5 beta=3.0\n"
                          "y = Reshape(g, steps)", 2, "all"),
    "last by Gather": (SQUEEZED + "h = Gather(s, last) axis=0\ny = Gemm(h, M, bias)", 2, "last"),
    "last by Slice": (SQUEEZED + "h = Slice(s, minus, far, zero)\nk = Squeeze(h, zero)\ny = MatMul(k, M)", 2, "last"),
    "last state": ("Y, Yh = GRU(x, W, R, B)\nh = Squeeze(Yh, zero)\ny = MatMul(h, M)", 2, "last"),
    "last state of LSTM": ("Y, Yh, Yc = LSTM(x, LW, LR, LB)\nh = Squeeze(Yh, zero)\ny = MatMul(h, M)", 2, "last"),
    "first step": (SQUEEZED + "h = Gather(s, first) axis=0\ny = MatMul(h, M)", 2, "first"),
    "backward half of Y_h": (("Y, Yh = GRU(x, W2, R2, B2) direction='bidirectional'\nh = Gather(Yh, last) axis=0\n"
                             "y = MatMul(h, M)"), 2, "first"),
}  # fmt: skip
VALUES |= {
    "C": random(F + H, H),
    "size": np.array([H]),
    "steps": np.array([T, N, 2]),
    "far_back": np.array([-99]),
}


def want(model, x):
    """Run the graph in float64."""
    double = in_kind(model, TensorProto.DOUBLE)
    feed = x.astype(np.float64) if x.dtype.kind == "f" else x
    return np.asarray(ReferenceEvaluator(double).run(None, {"x": feed})[0])


@pytest.mark.parametrize("name", EQUAL)
def test_form_equals_the_reference(load, name):
    lines, layers, where = EQUAL[name]
    x = random(T, N, F, seed=11)
    model = graph(lines, x=(N, T, F) if where == "batch first" else (T, N, F))
    imported = load(model)
    assert len(imported.layers) == layers and imported.not_compared == ()
    y = imported.run(x.swapaxes(0, 1).astype(float)).swapaxes(0, 1)
    if "softmax" in where:
        y = np.exp(y - y.max(-1, keepdims=True))
        y = y / y.sum(-1, keepdims=True)
        y = np.log(y) if where == "log softmax" else y
    y = {"last": y[-1], "first": y[0], "batch first": y.swapaxes(0, 1)}.get(where, y)
    feed = x.swapaxes(0, 1) if where == "batch first" else x
    np.testing.assert_allclose(y, want(model, feed), atol=1e-6, rtol=0)


@pytest.mark.parametrize("opset", [11, 12])
def test_softmax_of_old_opsets_is_over_all_later_axes(load, opset):
    lines = "Y, Yh = GRU(x, W, R, B)\nh = Squeeze(Yh) axes=[0]\nm = MatMul(h, M)\ny = Softmax(m)"
    assert load(graph(lines, opset=opset)).output_size == 2
    lines = "Y = GRU(x, W, R, B)\ns = Squeeze(Y) axes=[1]\ny = Softmax(s)"
    with pytest.raises(InputError, match=r"n2: reads different steps|n2: reads other"):
        load(graph(lines, opset=opset))


@pytest.mark.parametrize("lines", ["e = Gather(table, x)", "i = Cast(x) to=6\ne = Gather(table, i)",
                                   "e = OneHot(x, depth, off_on)"], ids=["table", "cast", "one-hot"])  # fmt: skip
def test_tokens_are_one_hot_rows(load, lines):
    model = graph(
        f"{lines}\nY = GRU(e, W, R, B)\ny = Squeeze(Y, one)", (T, N), kind=TensorProto.INT64
    )
    imported = load(model)
    tokens = np.random.default_rng(3).integers(0, imported.input_size, (T, N))
    y = imported.run(np.eye(imported.input_size)[tokens.T]).swapaxes(0, 1)
    np.testing.assert_allclose(y, want(model, tokens), atol=1e-6)


def test_a_network_of_one_step_keeps_its_state(load):
    """A streaming graph: x is one frame, the state is an input and an output."""
    lines = "Y, yh = GRU(x, W, R, B, , h)\ns = Squeeze(Y, one)\ny = MatMul(s, M)"
    model = graph(lines, (1, 1, F), {"h": (1, 1, H)})
    model.graph.output.append(helper.make_tensor_value_info("yh", TensorProto.FLOAT, [1, 1, H]))
    imported, x = load(model), random(T, 1, F, seed=4).astype(float)
    assert imported.outputs == ("n2",)
    assert any("final state of n0 is kept inside the core" in note for note in imported.notes)
    state, rows = np.zeros((1, 1, H)), []
    double = ReferenceEvaluator(in_kind(model, TensorProto.DOUBLE))
    for frame in x:
        y, state = double.run(None, {"x": frame[None], "h": state})
        rows.append(y[0])
    np.testing.assert_allclose(imported.run(x.swapaxes(0, 1)), np.swapaxes(rows, 0, 1), atol=1e-6)


def test_a_frame_without_an_axis_of_steps_is_one_step(load):
    imported = load(
        graph("u = Unsqueeze(x, zero)\nY = GRU(u, W, R, B)\ny = Squeeze(Y, one)", (N, F))
    )
    assert imported.input_size == F and len(imported.layers) == 1


def test_equal_layers_that_start_from_other_states_stay_two(load):
    lines = "Y = GRU(x, W, R, B, , h)\nZ = GRU(x, W, R, B, , k)\nc = Concat(Y, Z) axis=3\ny = Squeeze(c, one)"
    imported = load(graph(lines, inputs={"h": (1, N, H), "k": (1, N, H)}))
    assert [layer.name for layer in imported.layers] == ["n0", "n1"]
    assert imported.not_compared == ()


def test_states_of_one_size_fix_an_open_batch(load):
    """The graph runs with two sequences only: the check takes two."""
    model = graph("Y = GRU(x, W, R, B, , h0)\ny = Squeeze(Y, one)", ("steps", "batch", F))
    imported = load(model)
    assert imported.not_compared == () and "onnx.reference in float64" in imported.notes[-1]


def test_an_input_that_is_given_back_is_left_out(load):
    model = graph(SQUEEZED + "y = MatMul(s, M)")
    model.graph.node.append(helper.make_node("Identity", ["x"], ["again"]))
    model.graph.output.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, [T, N, F]))
    imported = load(model)
    assert imported.output_size == 2 and any("'again' gives x back" in n for n in imported.notes)


REFUSED = {
    "constant state": ("Y = GRU(x, W, R, B, , ones)\ny = Squeeze(Y, one)", "n0: initial_h is a constant that is not zero; .* make it an input"),
    "short sequences": ("Y = GRU(x, W, R, B, short32)\ny = Squeeze(Y, one)", "n0: sequence_lens .7, 6. differ from the 7 steps"),
    "clip": ("Y = GRU(x, W, R, B) clip=3.0\ny = Squeeze(Y, one)", "n0: clip 3 is not supported; train without"),
    "softmax inside": (SQUEEZED + "a = Softmax(s)\ny = MatMul(a, M)", "n2: softmax is not at the end"),
    "part reversed": ("r = ReverseSequence(x, part) batch_axis=1 time_axis=0\nY = GRU(r, W, R, B)\ny = Squeeze(Y, one)",
                      "n0: reverses .7, 3. of 7 steps; .* one by one"),
    "mean of steps": (SQUEEZED + "y = ReduceMean(s) axes=[0]", r"ReduceMean \(1\): pooling over steps is for the host"),
    "quantized": ("q = QuantizeLinear(x, half)\ny = DequantizeLinear(q, half)", "give the float model from before"),
    "own gate": (SQUEEZED + "g = Sigmoid(s)\ny = Mul(s, g)", "n3: multiplies two tensors that depend on the input"),
    "both ends": (("Y, Yh = GRU(x, W2, R2, B2) direction='bidirectional'\nt = Transpose(Yh) perm=[1,0,2]\n"
                  "c = Reshape(t, wide)\ny = MatMul(c, M8)"), "n3: reads the last step of one vector together with the first"),
    "shift by a step": ("c = Concat(row, x) axis=0\nY = GRU(c, W, R, B)\ny = Squeeze(Y, one)", "n0: Concat of constants and data"),
    "cell state": ("Y, Yh, Yc = LSTM(x, LW, LR, LB)\nc = Squeeze(Yc, zero)\ny = MatMul(c, M)", "n0: an LSTM's cell state is read"),
}  # fmt: skip
VALUES |= {"part": np.array([T, 3]), "wide": np.array([N, 2 * H]), "row": random(1, N, F)}


@pytest.mark.parametrize("name", REFUSED)
def test_form_that_no_core_computes_is_refused_by_node_and_way_out(load, name):
    lines, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        load(graph(lines))


def test_lengths_and_a_second_x_that_are_inputs_are_refused(load):
    lines = "Y = GRU(x, W, R, B, n)\ny = Squeeze(Y, one)"
    model = graph(lines, inputs={"n": (N,)})
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.INT32
    with pytest.raises(InputError, match=r"n0: sequence_lens \('n'\) is an input"):
        load(model)
    with pytest.raises(InputError, match=r"inputs 'x', 'z' are read as data; .* one input x"):
        load(graph(SQUEEZED + "a = Add(s, z)\ny = MatMul(a, M)", inputs={"z": (T, N, H)}))


def test_zip_map_is_refused_with_the_option_that_leaves_it_out(load):
    model = graph(SQUEEZED + "y = MatMul(s, M)")
    node = helper.make_node("ZipMap", ["y"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[1, 2])
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    with pytest.raises(
        InputError, match=r"ai.onnx.ml::ZipMap \(1\): convert with options=.'zipmap"
    ):
        load(model)
