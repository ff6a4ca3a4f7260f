"""A chain of programs: integers, and its folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Model
from gatewright.compiler.layout.images import hex_files
from gatewright.compiler.numerics.fixed import Format
from gatewright.compiler.program.chain import Chain, load_program
from gatewright.compiler.program.program import Program
from gatewright.compiler.program.stage import Stage, convert
from gatewright.compiler.quantizer.calibration import calibrate
from gatewright.compiler.quantizer.lowering import quantize_network
from gatewright.compiler.quantizer.pipeline import quantize
from support.chains import LENGTHS, both_ways, data, small
from support.randoms import recurrent


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
        (lambda d: d.update(outputs=[]), "outputs is \\[\\], expected a list"),
        (lambda d: d.update(schema=99), "schema 99"),
        (lambda d: d.pop("input"), "the file has no input"),
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
