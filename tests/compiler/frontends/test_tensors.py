"""Tensors hold no computation: one reading is taken, stated ones equal PyTorch, others refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.frontends.tensors import from_state_dict
from support.random_modules import outcomes, spelled, truth
from torch import nn
from torch.nn.utils import parametrizations, prune, weight_norm


def tensors(**modules: nn.Module) -> dict[str, torch.Tensor]:
    return {f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()}


def modules() -> dict[str, nn.Module]:
    """A network whose first linear layer is large enough for every activation to show."""
    torch.manual_seed(1)
    fc1 = nn.Linear(8, 6)
    with torch.no_grad():
        fc1.weight *= 6
    return {"gru": nn.GRU(5, 8, batch_first=True), "fc1": fc1, "fc2": nn.Linear(6, 3)}


X = np.random.default_rng(3).standard_normal((4, 12, 5))


def run(function, x: np.ndarray = X) -> np.ndarray:
    """Evaluate with PyTorch in float32, as a user records it."""
    with torch.no_grad():
        return function(torch.from_numpy(x).float()).numpy()


FORWARDS = {
    "gru, fc1, relu, fc2": lambda m, x: m["fc2"](torch.relu(m["fc1"](m["gru"](x)[0]))),
    "gru, fc1, tanh, fc2, sigmoid": lambda m, x: torch.sigmoid(
        m["fc2"](torch.tanh(m["fc1"](m["gru"](x)[0])))
    ),
    "gru, relu, fc1, fc2": lambda m, x: m["fc2"](m["fc1"](torch.relu(m["gru"](x)[0]))),
    "gru, last, fc1, hardtanh, fc2": lambda m, x: m["fc2"](
        nn.functional.hardtanh(m["fc1"](m["gru"](x)[0][:, -1]))
    ),
    "gru, fc1, hard_sigmoid, fc2, softmax": lambda m, x: torch.softmax(
        m["fc2"](nn.functional.hardsigmoid(m["fc1"](m["gru"](x)[0]))), -1
    ),
    "gru, fc1, fc2, log_softmax": lambda m, x: torch.log_softmax(
        m["fc2"](m["fc1"](m["gru"](x)[0])), -1
    ),
}


@pytest.mark.parametrize("forward", FORWARDS)
def test_a_stated_forward_equals_what_pytorch_computes(forward):
    nets = modules()
    y = run(lambda x: FORWARDS[forward](nets, x))
    model = from_state_dict(tensors(**nets), forward=forward)
    assert model.not_compared == (f"that the model computes {forward!r}, as stated",)
    proven = load(tensors(**nets), forward=forward, expect=(X, y))
    assert proven.not_compared == ()
    assert "compared with the outputs in expect" in proven.notes[-1]
    for other in set(FORWARDS) - {forward}:
        with pytest.raises(CheckError, match=r"not the computation .* begins at step 0"):
            load(tensors(**nets), forward=other, expect=(X, y))


def test_sums_and_concatenations_equal_pytorch():
    torch.manual_seed(2)
    nets = {"a": nn.Linear(5, 5), "gru": nn.GRU(5, 5, batch_first=True), "b": nn.Linear(10, 5)}

    def forward(x):
        first = torch.tanh(nets["a"](x))
        h = nets["gru"](first)[0] + first
        return nets["b"](torch.cat([h, x], -1)) + x

    text = "a, tanh, gru, gru + a, relu, gru + a, cat(gru, x), b, b + x"
    with pytest.raises(CheckError):
        load(tensors(**nets), forward=text, expect=(X, run(forward)))

    def simple(x):
        h = nets["gru"](torch.tanh(nets["a"](x)))[0]
        return nets["b"](torch.cat([h, x], -1)) + x

    model = load(
        tensors(**nets), forward="a, tanh, gru, cat(gru, x), b, b + x", expect=(X, run(simple))
    )
    assert [layer.name for layer in model.layers] == ["linear0", "gru0", "linear1"]
    assert set(model.layers[-1].inputs) == {"gru0", "x"}

    def residual(x):
        first = torch.tanh(nets["a"](x))
        return torch.relu(nets["gru"](first)[0] + first)

    values = tensors(a=nets["a"], gru=nets["gru"])
    load(values, forward="a, tanh, gru, gru + a, relu", expect=(X, run(residual)))


def test_recorded_outputs_choose_the_computation():
    nets = modules()
    y = run(lambda x: FORWARDS["gru, fc1, relu, fc2"](nets, x))
    model = load(tensors(**nets), expect=(X, y))
    assert "forward, chosen by the recorded outputs: gru, fc1, relu, fc2" in model.notes
    assert model.not_compared == ()
    want = run(lambda x: FORWARDS["gru, fc1, relu, fc2"](nets, x), X + 1)
    assert np.abs(model.run(X + 1) - want).max() < 1e-5
    with pytest.raises(CheckError, match=r"none of 64 computations of gru, fc1, fc2 gives"):
        load(tensors(**nets), expect=(X, y + 0.1 * y**2))


def test_recorded_outputs_of_the_last_step_and_of_padded_sequences():
    nets = modules()
    lengths = np.array([12, 3, 7, 1])
    every = run(lambda x: FORWARDS["gru, fc1, relu, fc2"](nets, x))
    last = every[np.arange(4), lengths - 1]
    model = load(tensors(**nets), expect={"x": X, "y": last, "len": lengths})
    assert "gru, fc1, relu, fc2" in model.notes[-3]
    with pytest.raises(CheckError, match="none of"):
        load(tensors(**nets), expect=(X, last))


def test_recordings_that_tell_nothing_apart_are_refused():
    nets = modules()
    with torch.no_grad():
        nets["fc1"].weight.zero_()
        nets["fc1"].bias.fill_(0.0)
    y = run(lambda x: FORWARDS["gru, fc1, relu, fc2"](nets, x))
    with pytest.raises(InputError, match="does not tell these apart: gru, fc1, fc2"):
        load(tensors(**nets), expect=(X, y))


def test_a_plain_rnn_of_relu_is_found_by_its_outputs():
    torch.manual_seed(4)
    rnn = nn.RNN(5, 6, batch_first=True, nonlinearity="relu")
    model = load(rnn.state_dict(), expect=(X, run(lambda x: rnn(x)[0])))
    assert model.layers[0].candidate == "relu"
    with pytest.raises(CheckError):
        load(rnn.state_dict(), nonlinearity="tanh", expect=(X, run(lambda x: rnn(x)[0])))


def test_the_rnn_of_the_character_tutorial():
    """``h = tanh(i2h(x) + h2h(h)); y = h2o(h)``: refused as three linear layers, taken as stated."""
    torch.manual_seed(5)
    nets = {"i2h": nn.Linear(5, 16), "h2h": nn.Linear(16, 16), "h2o": nn.Linear(16, 4)}

    def forward(x):
        h, out = torch.zeros(len(x), 16), []
        for t in range(x.shape[1]):
            h = torch.tanh(nets["i2h"](x[:, t]) + nets["h2h"](h))
            out.append(nets["h2o"](h))
        return torch.stack(out, 1)

    text = r'look like a recurrence .* --forward "rnn\(i2h, h2h\), h2o"'
    with pytest.raises(InputError, match=text):
        load(tensors(**nets))
    load(tensors(**nets), forward="rnn(i2h, h2h), h2o", expect=(X, run(forward)))


def test_an_embedding_is_refused_and_taken_as_stated():
    torch.manual_seed(6)
    nets = {
        "emb": nn.Embedding(12, 12),
        "gru": nn.GRU(12, 6, batch_first=True),
        "fc": nn.Linear(6, 12),
    }
    for name in ("emb", "table"):  # by its name, and by its place and shape
        values = {k.replace("emb", name): v for k, v in tensors(**nets).items()}
        way_out = f'table of an embedding.* --forward "embedding\\({name}\\), gru, fc"'
        with pytest.raises(InputError, match=rf"{name} \(12, 12\), .*{way_out}"):
            load(values)
    tokens = np.random.default_rng(7).integers(0, 12, (4, 9))
    with torch.no_grad():
        y = nets["fc"](nets["gru"](nets["emb"](torch.from_numpy(tokens)))[0]).numpy()
    one_hot = np.eye(12)[tokens]
    load(tensors(**nets), forward="embedding(emb), gru, fc", expect=(one_hot, y))
    with pytest.raises(InputError, match="is no table"):
        load(tensors(**nets), forward="emb, gru, embedding(fc)")


def test_a_bidirectional_head_has_two_readings():
    torch.manual_seed(8)
    gru, fc = nn.GRU(5, 8, batch_first=True, bidirectional=True), nn.Linear(16, 2)
    with pytest.raises(InputError, match=r"two readings: fc on each step.*cat\(h\[-2\], h\[-1\]\)"):
        load(tensors(gru=gru, fc=fc))
    every = run(lambda x: fc(gru(x)[0]))
    for y in (every, every[:, -1]):
        load(tensors(gru=gru, fc=fc), expect=(X, y))
    load(tensors(gru=gru, fc=fc), forward="gru, last, fc", expect=(X, every[:, -1]))
    states = run(lambda x: fc(torch.cat([*gru(x)[1]], 1)))
    with pytest.raises(CheckError, match="none of"):
        load(tensors(gru=gru, fc=fc), expect=(X, states))
    assert load(tensors(gru=gru)).output_size == 16  # its own outputs: one reading


def rewritten() -> dict[str, tuple[nn.Module, str]]:
    normed, parametrized, pruned = nn.GRU(5, 8), nn.GRU(5, 8), nn.GRU(5, 8)
    weight_norm(normed, "weight_hh_l0")
    parametrizations.weight_norm(parametrized, "weight_hh_l0")
    prune.l1_unstructured(pruned, "weight_ih_l0", 0.5)
    return {
        "weight_norm": (normed, r"gru\.weight_hh_l0_g, .*remove_weight_norm\(module, 'weight_hh_l0'\) on gru"),
        "parametrization": (parametrized, r"original0.*remove_parametrizations\(module, 'weight_hh_l0'\)"),
        "pruning": (pruned, r"weight_ih_l0_(orig|mask).*prune\.remove\(module, 'weight_ih_l0'\)"),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["weight_norm", "parametrization", "pruning"])
def test_halves_of_a_weight_are_refused_with_the_way_out(kind):
    module, message = rewritten()[kind]
    with pytest.raises(InputError, match=message):
        load(tensors(gru=module))


def test_readings_are_listed_and_the_ways_out_named():
    nets = modules()
    with pytest.raises(InputError) as error:
        load(tensors(**nets))
    for word in ('"gru, fc1, fc2"', "--forward", "--expect", "gru: GRU 5 -> 8", "activations"):
        assert word in str(error.value)
    front = {"proj": nn.Linear(5, 5), "gru": nets["gru"]}
    with pytest.raises(InputError, match='in the order "proj, gru"'):
        load(tensors(**front))
    with pytest.raises(InputError, match='in the order "fc1"'):
        load(tensors(fc1=nets["fc1"]))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("gru, fcc1, fc2", r"'fcc1' is no module .* did you mean 'fc1'"),
        ("gru, fc1, rellu, fc2", "did you mean 'relu'"),
        ("gru, fc1", "does not use fc2"),
        ("gru, fc2, fc1", "fc2: linear 6 -> 3 reads gru, which has 8 values"),
        ("gru, last, gru", "reads gru, which has 8"),
        ("relu, gru, fc1, fc2", "before any module"),
        ("gru, fc1, softmax, fc2", "follows 'softmax'"),
        ("gru, fc1 + x, fc2", "'fc1' is no earlier module"),
        ("gru, fc1, fc1 + gru, fc2", "takes as many of each"),
        ("gru, rnn(fc1), fc2", "two linear modules"),
        ("gru,,fc1", "a list of up to"),
        ("", "a list of up to"),
    ],
)  # fmt: skip
def test_a_forward_that_is_wrong_is_refused_at_its_step(forward, message):
    with pytest.raises(InputError, match=message):
        load(tensors(**modules()), forward=forward)


def test_order_and_activations_must_say_what_follows_each_linear_module():
    nets = modules()
    order = ["gru", "fc1", "fc2"]
    with pytest.raises(InputError, match=r"what follows fc1: --head fc1=relu"):
        load(tensors(**nets), order=order)
    model = load(tensors(**nets), order=order, activations={"fc1": "relu"})
    want = run(lambda x: FORWARDS["gru, fc1, relu, fc2"](nets, x))
    assert np.abs(model.run(X) - want).max() < 1e-5
    with pytest.raises(InputError, match="leave those out"):
        load(tensors(**nets), forward="gru", order=order)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": X}, "x and y are needed"),
        ((X, np.zeros((4, 11, 3))), "expected .sequences"),
        ((X, np.zeros((4, 12, 3), int)), "int64"),
        ((X[:, :, :4], np.zeros((4, 12, 3))), "4 features and 3 outputs"),
        ((X, np.full((4, 12, 3), np.nan)), "NaN"),
        ("y.csv", "one .npz"),
        ("absent.npz", "cannot read absent.npz"),
    ],
)
def test_recordings_that_do_not_belong_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        load(tensors(**modules()), forward="gru, fc1, fc2", expect=given)


# -- random modules, their computation in words ---------------------------------------------


def in_words(rng, net, x):
    """Read a state_dict by the words that say its module."""
    text = spelled(net)
    if text is None:
        raise LookupError
    values = {key: v for key, v in net.state_dict().items() if key not in ("mean", "std")}
    kinds = [part.nonlinearity for _, part in net.plan if isinstance(part, torch.nn.RNN)]
    return from_state_dict(values, forward=text, nonlinearity=kinds[0] if kinds else None)


def by_record(rng, net, x):
    """Read a state_dict by what its module gave in double precision."""
    values = {key: v for key, v in net.state_dict().items() if key not in ("mean", "std")}
    y, text = truth(net, x), spelled(net)
    chain = text is not None and "(" not in text and "+" not in text
    if not chain or y.shape[:2] != tuple(x.shape[:2]):
        raise LookupError
    try:
        return load(values, expect=(x.numpy().astype(float), y))
    except CheckError as error:  # none of the readings that were tried
        raise InputError(str(error)) from error


def test_random_modules_in_words_are_equal_or_refused(capsys):
    counts = outcomes(range(2000, 2060), {"words": in_words})
    with capsys.disabled():
        print(dict(counts))
    assert counts["words equal"] >= 5


@pytest.mark.full
@pytest.mark.parametrize("way", [in_words, by_record])
def test_more_random_modules_in_words_and_by_record(way, capsys):
    """Recordings of ten steps often fit several readings, which is refused."""
    counts = outcomes(range(3000, 3400), {"read": way})
    with capsys.disabled():
        print(way.__name__, dict(counts))
    assert counts["read equal"] + counts["read refused"] >= 20
