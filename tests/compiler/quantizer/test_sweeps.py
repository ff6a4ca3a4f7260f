"""Layers that walk sequences from their end: float, passes, integer chain, folder, simulation."""

from __future__ import annotations

import json
import pathlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.keras import load_keras
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.numerics.fixed import Format
from gatewright.compiler.program.chain import Chain, load_program
from gatewright.compiler.program.program import Program
from gatewright.compiler.program.stage import Stage, convert
from gatewright.compiler.quantizer.calibration import calibrate
from gatewright.compiler.quantizer.lowering import quantize_network
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.quantizer.sweeps import split
from gatewright.hw import write_verilog
from gatewright.sim import simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support.exported import FILES
from support.randoms import recurrent

SLEEP = pathlib.Path(__file__).parents[2] / "data" / "sleepecg_wrn-gru-mesa.keras"
LENGTHS = np.array([6, 1, 4])


def both_ways(
    cell: str = "gru", layers: int = 1, i: int = 3, h: int = 4, head: int = 0, seed: int = 0
) -> Model:
    """Return a stack of bidirectional layers, with a linear head where it has outputs."""
    rng = np.random.default_rng(seed)
    reads, made = ("x",), []
    for k in range(layers):
        size = i if k == 0 else 2 * h
        made.append(recurrent(rng, f"f{k}", cell, reads, size, h))
        made.append(replace(recurrent(rng, f"b{k}", cell, reads, size, h), reverse=True))
        reads = (f"f{k}", f"b{k}")
    if head:
        made.append(Linear("head", reads, rng.normal(0, 0.4, (head, 2 * h)), None))
        reads = ("head",)
    return Model(i, tuple(made), reads)


def data(n: int = 3, steps: int = 6, i: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, steps, i))


def small(**options: int) -> Chain:
    chain = quantize(both_ways(**options), data(), Config(lanes=4), lengths=LENGTHS)
    assert isinstance(chain, Chain)
    return chain


# -- float ------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before", "lstm", "rnn", "mgu"])
def test_reversed_layer_is_the_forward_layer_on_the_reversed_sequence(cell):
    layer = recurrent(np.random.default_rng(0), "h", cell, ("x",), 3, 5)
    forward, backward = (Model(3, (replace(layer, reverse=r),)) for r in (False, True))
    x = data(4, 9)
    np.testing.assert_array_equal(backward.run(x), forward.run(x[:, ::-1])[:, ::-1])
    trace = {}
    backward.run(x, trace=trace)
    np.testing.assert_array_equal(np.stack(trace["h"], axis=1), backward.run(x))


def test_state_of_a_reversed_layer_enters_at_the_end():
    model = both_ways("lstm")
    x, state = data(), model.initial_state(3)
    whole = model.run(x, state)
    np.testing.assert_array_equal(state["b0"][0], whole[:, 0, 4:])
    np.testing.assert_array_equal(state["f0"][0], whole[:, -1, :4])
    # The first half, given what the second half hands back.
    later = model.initial_state(3)
    model.run(x[:, 3:], later)
    start = {"f0": model.initial_state(3)["f0"], "b0": later["b0"]}
    np.testing.assert_allclose(model.run(x[:, :3], start), whole[:, :3], atol=1e-15, rtol=0)


def test_padding_is_never_seen():
    model, x = both_ways(layers=2, head=2), data()
    padded = model.run(x, lengths=LENGTHS)
    for k, n in enumerate(LENGTHS):
        alone = model.run(x[k, :n])
        np.testing.assert_allclose(padded[k, :n], alone, atol=1e-15, rtol=0)
    assert np.abs(model.run(x)[2, :4] - padded[2, :4]).max() > 1e-3


@pytest.mark.parametrize(
    "lengths", [[6, 1], [6, 1, 7], [6, -1, 2], [1.5, 2, 3], "abc", [[1, 2, 3]]]
)
def test_wrong_lengths(lengths):
    with pytest.raises(InputError, match="lengths are 3 whole numbers from 0 to 6"):
        both_ways().run(data(), lengths=lengths)
    with pytest.raises(InputError, match="lengths are 3 whole numbers from 0 to 6"):
        small().run(data(), lengths=lengths)


# -- passes -----------------------------------------------------------------------


def test_split_of_a_stack():
    passes = split(both_ways(layers=2, head=2))
    assert [(p.reads, p.reverse, p.model.outputs) for p in passes] == [
        (("x",), False, ("f0",)),
        (("x",), True, ("b0",)),
        (("f0", "b0"), False, ("f1",)),
        (("f0", "b0"), True, ("b1",)),
        (("f1", "b1"), False, ("head",)),
    ]
    assert all(p.model.streams for p in passes)


def test_layers_that_walk_alike_share_a_pass():
    rng = np.random.default_rng(0)
    dense = Linear("dense", ("x",), rng.normal(size=(5, 3)), None, "relu")
    one = replace(recurrent(rng, "one", "gru", ("dense",), 5, 4), reverse=True)
    two = replace(recurrent(rng, "two", "gru", ("one", "x"), 7, 4), reverse=True)
    unused = recurrent(rng, "unused", "gru", ("x",), 3, 4)
    (only,) = split(Model(3, (dense, one, unused, two), ("two",)))
    assert only.reverse and [layer.name for layer in only.model.layers] == ["dense", "one", "two"]


def passes_in_float(model: Model, x: np.ndarray) -> np.ndarray:
    """Run the passes of a model by hand."""
    vectors = {"x": x}
    for part in split(model):
        flip = slice(None, None, -1 if part.reverse else 1)
        given = np.concatenate([vectors[name] for name in part.reads], axis=2)
        made = part.model.run(given[:, flip])[:, flip]
        sizes = [part.model.sizes[name] for name in part.model.outputs]
        vectors |= zip(part.model.outputs, np.split(made, np.cumsum(sizes)[:-1], 2), strict=True)
    return np.concatenate([vectors[name] for name in model.outputs], axis=2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_passes_compute_the_model(seed):
    """Any directions, skips, vectors in any order and more than once."""
    rng = np.random.default_rng(seed)
    sizes, layers = {"x": 3}, []
    for k in range(int(rng.integers(1, 7))):
        reads = tuple(str(n) for n in rng.choice(list(sizes), int(rng.integers(1, 4))))
        width, h = sum(sizes[n] for n in reads), int(rng.integers(1, 4))
        if rng.random() < 0.3:
            layers.append(Linear(f"l{k}", reads, rng.normal(size=(h, width)), None, "tanh"))
        else:
            layer = recurrent(rng, f"l{k}", "gru", reads, width, h)
            layers.append(replace(layer, reverse=bool(rng.random() < 0.5)))
        sizes[f"l{k}"] = h
    names = [layer.name for layer in layers]
    outputs = tuple(dict.fromkeys(str(n) for n in rng.choice(names, 2)))
    model, x = Model(3, tuple(layers), outputs), data(2, 5)
    np.testing.assert_allclose(passes_in_float(model, x), model.run(x), atol=1e-12, rtol=0)


# -- integers ---------------------------------------------------------------------


def test_convert_rounds_half_up_and_saturates():
    codes = np.array([-32768, -24, -9, -8, -7, 7, 8, 24, 32759, 32767])
    made, clipped = convert(codes, 15, Format(12, 11))
    assert made.tolist() == [-2048, -1, -1, 0, 0, 0, 1, 2, 2047, 2047] and clipped == 0
    made, clipped = convert(np.array([-40, 3, 40]), 4, Format(6, 5))
    assert made.tolist() == [-32, 6, 31] and clipped == 2


@pytest.mark.parametrize("seed", range(4))
def test_chain_is_its_programs_by_hand(seed):
    """Padding is cut off, sequences turned around and codes moved here without the chain's code."""
    rng = np.random.default_rng(seed)
    cell = ["gru", "lstm", "rnn", "mgu"][seed]
    config = Config(activation_bits=int(rng.integers(6, 15)), state_bits=int(rng.integers(14, 17)))
    chain = quantize(both_ways(cell, 2, head=2), data(), config, lengths=LENGTHS)
    codes = chain.encode(3 * data(seed=seed + 5))
    done = chain.evaluate(codes, lengths=LENGTHS)
    assert set(done.state.h) == {"f0", "b0", "f1", "b1"}
    assert set(done.state.c) == (set(done.state.h) if cell == "lstm" else set())
    for k, n in enumerate(LENGTHS):
        vectors = {"x": (codes[k : k + 1, :n], chain.input_format.frac)}
        for stage in chain.stages:
            net = stage.program.network
            fmt, parts = net.input_format, []
            for name in stage.reads:
                values, frac = vectors[name]
                assert frac >= fmt.frac
                half = 2 ** (frac - fmt.frac)
                moved = np.floor(values / half + 0.5).astype(np.int64)
                parts.append(np.clip(moved, fmt.low, fmt.high))
            given, way = np.concatenate(parts, axis=2), -1 if stage.reverse else 1
            result = golden.run(net, given[:, ::way])
            (name,) = net.outputs
            vectors[name] = result.outputs[:, ::way], net.layer(name).frac
        np.testing.assert_array_equal(done.outputs[k, :n], vectors["head"][0][0])


def test_one_reversed_layer_is_the_program_of_the_forward_one():
    layer = recurrent(np.random.default_rng(3), "h", "gru", ("x",), 3, 5)
    x = data(2, 20)
    program = quantize(Model(3, (layer,)), x[:, ::-1])
    chain = quantize(Model(3, (replace(layer, reverse=True),)), x)
    assert isinstance(program, Program) and isinstance(chain, Chain)
    np.testing.assert_array_equal(chain.run(x), program.run(x[:, ::-1])[:, ::-1])
    np.testing.assert_array_equal(chain.run(x[0]), chain.run(x)[0])


def test_input_formats_are_those_of_the_operands():
    """A ReLU layer's vector is coarser than a tanh layer's; together they take its format."""
    rng = np.random.default_rng(0)
    wide = replace(
        recurrent(rng, "wide", "gru", ("x",), 3, 4, candidate="relu"), reverse=True,
        b={g: np.full(4, 2.0) for g in "rzn"},
    )  # fmt: skip
    plain = recurrent(rng, "plain", "gru", ("x",), 3, 4)
    top = recurrent(rng, "top", "gru", ("plain", "wide"), 8, 4)
    chain = quantize(Model(3, (plain, wide, top)), data(2, 30))
    nets = {net.outputs[0]: net for net in (p.network for p in chain.passes)}
    assert nets["wide"].layer("wide").frac < nets["plain"].layer("plain").frac == 15
    assert nets["top"].input_format == nets["wide"].operand("wide")
    assert chain.quality["error"]["max"] < 0.05


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before", "lstm", "rnn", "mgu"])
def test_error_at_16_bits(cell):
    model, x = both_ways(cell, 2, i=4, h=8), data(2, 256, 4)
    chain = quantize(model, x, Config(weight_bits=16, activation_bits=16))
    error = np.abs(chain.run(x) - model.run(x)).max()
    assert error == chain.quality["error"]["max"] <= 1e-3


def test_widths_reach_their_pass():
    widths = {"b0": 6, "f0.n": 5, "head": 4}
    chain = quantize(both_ways(head=2), data(), Config(weight_widths=widths))
    bits = {
        f"{layer.name}.{g.gate.name}": g.bits
        for p in chain.passes for layer in p.network.layers for g in layer.gates
    }  # fmt: skip
    assert bits == {
        "f0.r": 8, "f0.z": 8, "f0.n": 5, "b0.r": 6,
        "b0.z": 6, "b0.n": 6, "head.y": 4,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"'layer1'.* does not have"):
        quantize(both_ways(), data(), Config(weight_widths={"layer1": 4}))


def test_rate_is_met_by_all_passes_together():
    config = Config(rate=30_000, clock=12e6)
    chain = quantize(both_ways(layers=2, h=8, head=2), data(), config)
    assert chain.summary["cycles_per_step"] <= 12e6 / 30_000
    with pytest.raises(InputError, match="too few for this network"):
        quantize(both_ways(), data(), Config(rate=4e6))


def test_summary_and_buffer():
    chain = small(layers=2, head=2)
    s, each = chain.summary, [p.summary for p in chain.passes]
    assert s["macs_per_step"] == 2 * (3 * 4 * (3 + 4)) + 2 * (3 * 4 * (8 + 4)) + 16
    assert s["cycles_per_step"] == sum(e["cycles_per_step"] for e in each)
    assert [p["reverse"] for p in s["passes"]] == [False, True, False, True, False]
    # x (read twice, 12 bits) and four vectors of 4; the head comes out in order.
    assert chain.buffer() == (3 + 16, 3 * 12 + 16 * 16)
    assert chain.buffer(100) == (1900, 29_200)
    assert s["buffer"] == {"words_per_step": 19, "bits_per_step": 292}
    # The last pass is reversed: its outputs are kept as well.
    assert small().buffer() == (3 + 8, 3 * 12 + 8 * 16)


def test_argmax():
    model = both_ways(head=3)
    plain, chain = (quantize(model, data(), Config(argmax=on)) for on in (False, True))
    assert (chain.output_size, chain.digest != plain.digest) == (1, True)
    np.testing.assert_array_equal(chain.run(data())[..., 0], plain.run(data()).argmax(-1))
    assert chain.quality["error"] == plain.quality["error"]
    with pytest.raises(InputError, match="argmax takes the outputs of one layer, not f0, b0"):
        quantize(both_ways(), data(), Config(argmax=True))


def test_refused():
    with pytest.raises(InputError, match="b0: a network streams"):
        model = both_ways()
        quantize_network(model, Config(), calibrate(model, data()))
    with pytest.raises(InputError, match="NaN or infinite"):
        quantize(both_ways(), np.full((1, 4, 3), np.nan))
    with pytest.raises(InputError, match=r"x has shape \(3, 6, 2\)"):
        small().run(data(i=2))
    chain = small()
    stage = Stage(chain.passes[0], ("y",), False)
    with pytest.raises(InputError, match="pass 0 takes 3 inputs but reads y"):
        Chain(chain.input_format, 3, (stage,), ("f0",), chain.config)
    with pytest.raises(InputError, match="handed out by no pass"):
        Chain(chain.input_format, 3, chain.stages, ("top",), chain.config)


# -- folder -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    chain, folder = small(), tmp_path_factory.mktemp("chain") / "program"
    chain.save(folder)
    return chain, folder


def test_folder_is_read_back(saved, tmp_path):
    chain, folder = saved
    again = load_program(folder)
    assert isinstance(again, Chain)
    assert (again.digest, again.quality) == (chain.digest, chain.quality)
    np.testing.assert_array_equal(again.run(data()), chain.run(data()))
    again.save(tmp_path / "again")
    names = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(names) == 1 + sum(2 + len(hex_files(p.images)) for p in chain.passes)
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert isinstance(load_program(folder / "pass1"), Program)
    with pytest.raises(InputError, match=r"a program of 2 passes.*pass0"):
        Program.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["passes"][1].update(reverse=False), "damaged: its digest"),
        (lambda d: d["passes"].reverse(), "damaged: its digest"),
        (lambda d: d.update(passes=[]), "0 passes; 1 to 64"),
        (lambda d: d.update(passes=5), "is damaged"),
        (lambda d: d["passes"].append(d["passes"][0]), "pass2 is not a program folder"),
        (lambda d: d["passes"][0].update(reads=["f0"]), "pass 0 takes 3 inputs but reads f0"),
        (lambda d: d.update(outputs=[]), "handed out by no pass"),
        (lambda d: d.update(schema=99), "schema 99"),
        (lambda d: d.pop("input"), "KeyError"),
    ],
)
def test_damaged_folder(saved, tmp_path, change, message):
    shutil.copytree(saved[1], tmp_path / "p")
    path = tmp_path / "p" / "program.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_program(tmp_path / "p")


def test_exchanged_pass(saved, tmp_path):
    shutil.copytree(saved[1], tmp_path / "p")
    shutil.rmtree(tmp_path / "p" / "pass1")
    shutil.copytree(tmp_path / "p" / "pass0", tmp_path / "p" / "pass1")
    with pytest.raises(InputError, match="handed out by no pass"):
        load_program(tmp_path / "p")


# -- hardware ---------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_simulation_in_amaranth(cell):
    """Each pass is fed with what the core of the one before gave out."""
    chain = small(cell=cell, layers=2, head=2)
    done = simulate(chain, data(), lengths=LENGTHS, simulator="amaranth", stall=0.0)
    assert done.bit_exact and done.cycle_exact and not done.mismatch
    assert len(done.passes) == 5 and done.steps == LENGTHS.sum()
    # Steps of a pass may take turns at being a cycle longer; the longest is what is promised.
    assert done.cycles_per_step[1] == done.cycles_predicted == chain.summary["cycles_per_step"]
    assert done.cycles_per_step[0] == sum(
        np.diff(program.schedule.predict(LENGTHS.max())).min() for program in chain.passes
    )
    expected = chain.run(data(), lengths=LENGTHS)
    expected[np.arange(6) >= LENGTHS[:, None]] = 0
    np.testing.assert_array_equal(done.outputs, expected)


def test_wrong_hardware_is_found_and_named(monkeypatch):
    from gatewright.sim import pysim

    record, calls = pysim.record, []

    def wrong(program, *args, **options):
        done = record(program, *args, **options)
        calls.append(program)
        if len(calls) == 2:
            done.outputs[1, 3] += 1
        return done

    monkeypatch.setattr(pysim, "record", wrong)
    done = simulate(small(head=2), data(1), simulator="amaranth")
    assert not done.bit_exact and [each.bit_exact for each in done.passes] == [True, False, True]
    assert done.mismatch.startswith("pass 1: step 1, output 3 (b0[3])")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is optional")
def test_simulation_of_verilog(tmp_path):
    done = simulate(small(h=2), data()[0], simulator="icarus", folder=tmp_path)
    assert done.bit_exact and done.cycle_exact and done.outputs.shape == (6, 4)
    assert (tmp_path / "pass1" / "verilog" / "core.v").is_file()


def test_simulation_in_verilator():
    """One pass that starts at the end of each sequence: one build is half a minute."""
    layer = replace(recurrent(np.random.default_rng(0), "h", "gru", ("x",), 3, 2), reverse=True)
    chain = quantize(Model(3, (layer,)), data(), Config(lanes=2))
    done = simulate(chain, data(), lengths=LENGTHS)
    assert done.bit_exact and done.cycle_exact and done.steps == LENGTHS.sum()


def test_a_network_without_states_in_verilator():
    """A pass of linear layers alone has nothing for the state port to read or load."""
    weight = np.random.default_rng(2).normal(0, 0.4, (2, 3))
    model = Model(3, (Linear("head", ("x",), weight, None),), ("head",))
    done = simulate(quantize(model, data(), Config(lanes=2)), data(), lengths=LENGTHS)
    assert done.bit_exact and done.cycle_exact and done.steps == LENGTHS.sum()


@pytest.mark.full
def test_published_model_in_verilator():
    """All five passes of a sleep-stage classifier, some steps of two sequences."""
    model = load_keras(SLEEP, check=False)
    with np.load(SLEEP.parent / "sleepecg_expected.npz") as file:
        x = file["x"][:, :12].astype(float)
    chain = quantize(model, x)
    assert [stage.reads[0] for stage in chain.stages] == [
        "x", "dense", "bidirectional", "bidirectional", "bidirectional_1",
    ]  # fmt: skip
    done = simulate(chain, x, lengths=[12, 7])
    assert done.bit_exact and done.cycle_exact and done.steps == 19


def test_verilog_folder(tmp_path):
    chain = small()
    names = write_verilog(chain, tmp_path / "v")
    assert names == ["program.json"] + [f"pass{k}/{name}" for k in (0, 1) for name in FILES]
    told = json.loads((tmp_path / "v" / "program.json").read_text())
    assert [(p["reads"], p["reverse"], p["shifts"]) for p in told["passes"]] == [
        (["x"], False, [0]), (["x"], True, [0]),
    ]  # fmt: skip
    assert write_verilog(chain, tmp_path / "v") == names


# -- command line -----------------------------------------------------------------


def call(capsys, *arguments: object) -> dict:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_command_line(tmp_path, capsys):
    model = both_ways(head=2, seed=4)
    tensors = {}
    for name, layer in zip(("", "_reverse"), model.layers[:2], strict=True):
        for key, part in (("weight_ih", layer.w), ("weight_hh", layer.u),
                          ("bias_ih", layer.b), ("bias_hh", layer.c)):  # fmt: skip
            tensors[f"gru.{key}_l0{name}"] = np.concatenate([part[g] for g in "rzn"])
    tensors |= {"fc.weight": model.layers[2].w.copy(), "fc.bias": np.zeros(2)}
    save_file(tensors, tmp_path / "m.safetensors")
    np.savez(tmp_path / "x.npz", x=data(), len=LENGTHS)
    m, x, p = tmp_path / "m.safetensors", tmp_path / "x.npz", tmp_path / "p"
    layers = call(capsys, "inspect", m)["layers"]
    assert [layer["reverse"] for layer in layers] == [False, True, False]
    made = call(capsys, "quantize", m, "--calibration", x, "-o", p)
    assert made["buffer"]["words_per_step"] == 11 and len(made["passes"]) == 3
    assert made["error"]["max"] < 0.02
    assert call(capsys, "inspect", p)["digest"] == made["digest"]
    emulated = call(capsys, "emulate", p, x, "-o", tmp_path / "y.npy")
    assert emulated["buffer"] == {"steps": 6, "words": 66, "bits": 6 * (3 * 12 + 8 * 16)}
    y = np.load(tmp_path / "y.npy")
    want = model.run(data(), lengths=LENGTHS)
    want[np.arange(6) >= LENGTHS[:, None]] = 0
    np.testing.assert_allclose(y, want, atol=0.02, rtol=0)
    done = call(
        capsys, "simulate", p, x, "--simulator", "amaranth", "-o", tmp_path / "s.npy"
    )  # fmt: skip
    assert done["bit_exact"] and done["cycle_exact"] and len(done["passes"]) == 3
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), y)
    files = call(capsys, "verilog", p, "-o", tmp_path / "v")["files"]
    assert "pass2/core.v" in files
    report = call(capsys, "report", p, "--data", x, "--model", m)
    assert report["error"]["max"] == pytest.approx(np.abs(y - want).max())
    assert [r["words"] for r in report["memories"] if "outside" in r["memory"]] == [66]
    assert {"pass0.x", "pass2.x"} <= {r["tensor"] for r in report["formats"] if "peak" in r}
    assert main(["report", str(p), "--data", str(x), "--html", str(tmp_path / "r.html")]) == 0
    assert "pass 1" in (tmp_path / "r.html").read_text()


def test_state_on_the_command_line(tmp_path, capsys):
    """Words of the passes one after the other; the reversed layer's enters at the end."""
    chain = small()
    chain.save(tmp_path / "p")
    np.save(tmp_path / "x.npy", data()[0])
    state = np.linspace(-0.9, 0.9, 8)
    np.save(tmp_path / "h.npy", state)
    call(capsys, "emulate", tmp_path / "p", tmp_path / "x.npy", "--state", tmp_path / "h.npy",
         "-o", tmp_path / "y.npy")  # fmt: skip
    model = both_ways()
    start = {"f0": state[None, :4], "b0": state[None, 4:]}
    want = model.run(data()[:1], {name: (h, 0 * h) for name, h in start.items()})
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want[0], atol=0.03, rtol=0)
    np.save(tmp_path / "h.npy", state[:5])
    arguments = ["emulate", str(tmp_path / "p"), str(tmp_path / "x.npy"), "--state"]
    assert main([*arguments, str(tmp_path / "h.npy")]) == 1
    assert "expected (8,)" in capsys.readouterr().err


def test_sleepecg_in_fixed_point():
    """A folded batch norm reads features from 0.4 to 1e5: each has its own binary point."""
    folder = pathlib.Path(__file__).parents[2] / "data"
    model = load_keras(folder / "sleepecg_wrn-gru-mesa.keras")
    x = np.load(folder / "sleepecg_expected.npz")["x"].astype(float)
    for bits, most in ((16, 1e-3), (8, 0.05)):
        chain = quantize(model, x, Config(weight_bits=bits, activation_bits=max(bits, 12)))
        error = np.abs(chain.run(x) - model.run(x)).max()
        print(f"{bits}-bit weights: max error {error:.1e}")
        assert chain.exponents and error < most
