"""Networks that other people trained, end to end: import, fixed point, hardware.

Every bound is a figure of ``docs/models.md`` with a little room. Integers are compared exactly.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.frontends.onnx import list_nodes, load_onnx
from gatewright.compiler.frontends.rtneural import load_rtneural
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.calibration import calibrate
from gatewright.compiler.quantizer.lowering import quantize_network
from gatewright.compiler.quantizer.pipeline import quantize, quantize_stream
from gatewright.compiler.quantizer.rounding import RECIPES
from gatewright.examples.g2p import pronounce as g2p
from gatewright.examples.opendpd import amplifier
from gatewright.examples.rnnoise import suppressor
from gatewright.sim.pysim import Continue, Load, Read, Steps, record
from gatewright.sim.runner import simulate
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support import randoms

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
G2P = ROOT.parent / "shared" / "data" / "models" / "g2p_en"


def assert_exact(program: Program, x: np.ndarray, simulator: str = "verilator") -> None:
    """Simulate the hardware: every code, and the cycle of every step."""
    run = simulate(program, x, simulator=simulator)
    assert run.mismatch == ""
    assert run.bit_exact and run.cycle_exact and run.steps == len(x)


# RNNoise v0.1


@pytest.fixture(scope="module")
def recordings():
    return suppressor.load_recordings()


@pytest.fixture(scope="module")
def suppress(recordings):
    """Quantize RNNoise at some widths, calibrated on both recordings."""
    model = suppressor.network()
    measured = calibrate(model, suppressor.calibration(recordings))

    def quantized(recipe=RECIPES["nearest"][0], **widths):
        config = Config(**widths)
        return Program(quantize_network(model, config, measured, recipe), config)

    return quantized


@pytest.mark.parametrize("recipe", [r for kind in RECIPES.values() for r in kind], ids=str)
def test_rnnoise_keeps_the_shipped_integers(suppress, recipe):
    """8-bit rows are the shipped ones, up to a power of two, whatever the rounding."""
    model = suppressor.network()
    network = suppress(recipe).network
    for layer in model.layers:
        quantized = network.layer(layer.name)
        for gate in quantized.gates:
            linear = isinstance(layer, Linear)
            pairs = [(gate.w, gate.w_frac, layer.w if linear else layer.w[gate.gate.name])]
            if not linear:
                pairs.append((gate.u, gate.u_frac, layer.u[gate.gate.name]))
            for codes, frac, weights in pairs:
                assert np.abs(codes + 0.5).max() < 128
                np.testing.assert_array_equal(codes * 2.0 ** -frac[:, None], weights)


def test_rnnoise_cut(suppress, recordings):
    program = suppress(activation_bits=14)
    for recording in recordings.values():
        cut = suppressor.Recording(*(part[:300] for part in recording))
        found = suppressor.errors(program.run(cut.features), cut)
        assert found.gain.max() <= 0.025 and found.gain.mean() <= 0.0015 and not found.flips


@pytest.mark.full
@pytest.mark.parametrize(
    ("widths", "largest", "mean", "flips"),
    [
        ({"activation_bits": 16}, 0.012, 0.0010, 0),
        ({"activation_bits": 15, "gate_bits": 15}, 0.025, 0.0015, 0),
        ({"activation_bits": 14}, 0.025, 0.0015, 0),
        ({}, 0.03, 0.0025, 2),
    ],
    ids=str,
)
def test_rnnoise(suppress, recordings, widths, largest, mean, flips):
    """States reach 17.8 and features 51; 2,476 frames against the C reference."""
    program = suppress(**widths)
    for recording in recordings.values():
        found = suppressor.errors(program.run(recording.features), recording)
        assert found.gain.max() <= largest
        assert found.gain.mean() <= mean
        assert found.flips <= flips


@pytest.mark.full
def test_rnnoise_does_not_drift(suppress, recordings):
    """The error of frames 5,000 to 10,000 is that of the first ones."""
    program, model = suppress(activation_bits=16), suppressor.network()
    x = np.tile(suppressor.calibration(recordings), (4, 1))
    error = np.abs(program.run(x) - model.run(x))[:, : suppressor.BANDS]
    assert error[5000:].max() <= 0.025
    assert error[5000:].mean() <= 2 * error[:5000].mean()


@pytest.mark.full
def test_rnnoise_hardware(suppress, recordings):
    assert_exact(suppress(activation_bits=14), recordings["speech"].features[400:520])


def test_rnnoise_plot(tmp_path, recordings):
    rng = np.random.default_rng(1)
    found = suppressor.Errors(rng.random((50, 22)), rng.random(50), 0)
    suppressor.plot({"16 bits": found}, tmp_path / "error.png")
    assert (tmp_path / "error.png").stat().st_size > 10_000


# g2p_en


def some_words(count):
    words = json.loads((G2P / "expected_1017_words.json").read_text())
    said = {word: entry["phonemes"] for word, entry in words.items()}
    return list(said)[:count], list(said)[500:], said


@pytest.fixture(scope="module")
def speaker():
    if not G2P.is_dir():
        pytest.skip(f"the weights of g2p_en (3.3 MB) are not in the repository and not at {G2P}")
    return g2p.load(G2P / "checkpoint20.npz")


def test_g2p_cut(speaker):
    words, rest, said = some_words(25)
    assert g2p.pronounce(words, speaker) == [said[word] for word in words]
    programs = g2p.quantize_both(speaker, rest[:10], Config(16, 16, rounding="nearest"))
    assert g2p.pronounce(words, speaker, programs) == [said[word] for word in words]


@pytest.mark.full
@pytest.mark.parametrize(
    ("config", "least"),
    [(Config(16, 16, rounding="nearest"), 500), (Config(), 494)],
    ids=["16 bits", "default"],
)
def test_g2p(speaker, config, least):
    """The decoder starts from the encoder's state and gets its own choice back."""
    words, rest, said = some_words(500)
    programs = g2p.quantize_both(speaker, rest, config)
    found = g2p.pronounce(words, speaker, programs)
    assert sum(a == said[word] for a, word in zip(found, words, strict=True)) >= least


# GTCRN

GTCRN = DATA / "gtcrn_simple.onnx"
STREAMING = [e["name"] for e in list_nodes(GTCRN) if e["direction"] == "forward"]
BOTH_WAYS = [e["name"] for e in list_nodes(GTCRN) if e["direction"] == "bidirectional"]


def gtcrn_node(name):
    """Model, X as (streams, 1, I), h0 and Y of a node, recorded in frame 100 of real speech."""
    with np.load(DATA / "gtcrn_gru_nodes_frame100.npz") as file:
        x, h, y = (file[f"{name}_{key}"].astype(np.float64) for key in ("X", "h0", "Y"))
    return load_onnx(GTCRN, node=name), x.swapaxes(0, 1), h[0], y[:, 0].swapaxes(0, 1)


def gtcrn_program(name, config):
    model, x, h, _ = gtcrn_node(name)
    return quantize_stream(model, x, config, state={name: (h, np.zeros_like(h))})


@pytest.mark.parametrize("name", STREAMING)
def test_gtcrn(name):
    model, x, h, y = gtcrn_node(name)
    start = {name: (h, np.zeros_like(h))}
    np.testing.assert_allclose(model.run(x, dict(start)), y, atol=1e-5, rtol=0)
    for config, bound in ((Config(16, 16), 2e-4), (Config(rounding="nearest"), 2.5e-2)):
        program = gtcrn_program(name, config)
        state = golden.State.encode(program.network, start)
        assert np.abs(program.run(x, state) - y).max() <= bound


def from_recorded_states(name, streams):
    """Load each stream's recorded state, step once, read the state, in the Amaranth simulator."""
    _, x, h, _ = gtcrn_node(name)
    program = gtcrn_program(name, Config(rounding="nearest"))
    codes = program.encode(x)[:streams]
    start = golden.State.encode(program.network, {name: (h[:streams], h[:streams])})
    expected = golden.run(program.network, codes, start)
    jobs = zip(start.flat(program.network), codes, strict=True)
    done = record(program, [item for s, c in jobs for item in (Load(s), Continue(c), Read())])
    np.testing.assert_array_equal(done.outputs, expected.outputs[:, 0])
    np.testing.assert_array_equal(done.states, expected.state.flat(program.network))


def test_gtcrn_recorded_states_in_hardware():
    from_recorded_states(STREAMING[3], 4)


@pytest.mark.full
def test_gtcrn_bands_share_a_core():
    """33 bands, each a stream: their recorded states are loaded, stepped in turn and read back."""
    name = STREAMING[3]
    _, x, h, y = gtcrn_node(name)
    program = gtcrn_program(name, Config(rounding="nearest", streams=33))
    codes, start = program.encode(x), golden.State.encode(program.network, {name: (h, h)})
    loads = [Load(row, band) for band, row in enumerate(start.flat(program.network))]
    steps = Steps(codes[:, 0], np.zeros(33, bool))
    done = record(program, [*loads, steps, *(Read(band) for band in range(33))])
    expected = golden.run(program.network, codes, start)
    np.testing.assert_array_equal(done.outputs, expected.outputs[:, 0])
    np.testing.assert_array_equal(done.states, expected.state.flat(program.network))
    assert np.abs(program.decode(done.outputs) - y[:, 0]).max() <= 2.5e-2
    rounds = program.schedule.predict(40 * 33)[32::33]
    assert (np.diff(rounds)[8:] == 33 * program.summary["cycles_per_step"]).all()


@pytest.mark.full
@pytest.mark.parametrize("name", STREAMING)
def test_gtcrn_hardware(name):
    from_recorded_states(name, 33)
    x = np.random.default_rng(1).normal(size=(100, 8))
    assert_exact(gtcrn_program(name, Config(rounding="nearest")), x)


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_gtcrn_bidirectional_hardware(name):
    assert len(STREAMING) + len(BOTH_WAYS) == 14
    with np.load(DATA / "gtcrn_gru_nodes_frame100.npz") as file:
        x = file[f"{name}_X"].astype(np.float64).swapaxes(0, 1)
    model = load_onnx(GTCRN, node=name)
    chain = quantize(model, x, Config(16, 16, lanes=6))
    assert np.abs(chain.run(x) - model.run(x)).max() <= 1e-3
    done = simulate(chain, x, simulator="amaranth")
    assert done.bit_exact and done.cycle_exact, done.mismatch


# RTNeural and KlonCentaur


def effect(name):
    x = np.loadtxt(DATA / f"rtneural_{name}_x.csv")[:, None]
    y = np.loadtxt(DATA / f"rtneural_{name}_y.csv")[:, None]
    return load_rtneural(DATA / f"rtneural_{name}.json"), x, y


@pytest.mark.parametrize("name", ["gru", "gru_1d"])
def test_rtneural(name):
    model, x, y = effect(name)
    for config, bound in ((Config(16, 16), 6e-5), (Config(), 8e-4)):
        assert np.abs(quantize_stream(model, x, config).run(x) - y).max() <= bound


@pytest.mark.full
def test_rtneural_hardware():
    model, x, _ = effect("gru_1d")
    assert len(x) == 100
    assert_exact(quantize_stream(model, x, Config()), x)


def guitar(steps, inputs):
    """A chord that fades, and knobs in the middle."""
    t = np.arange(steps) / 44100
    x = np.full((steps, inputs), 0.5)
    x[:, 0] = sum(np.sin(2 * np.pi * f * t) for f in (110, 164.8, 220)) * 0.3 * np.exp(-20 * t)
    return x


@pytest.mark.parametrize(("name", "bits", "default"), [("", -45, -25), ("_50", -70, -45)])
def test_kloncentaur(name, bits, default):
    """The larger one has neurons that hold their state: a leak would show within 1,000 samples."""
    model = load_rtneural(DATA / f"kloncentaur{name}.json")
    x = guitar(1000, model.input_size)
    y = model.run(x)
    for config, bound in ((Config(16, 16, rounding="nearest"), bits), (Config(), default)):
        error = quantize_stream(model, x, config).run(x) - y
        assert 10 * np.log10((error**2).mean() / y.var()) <= bound


@pytest.mark.parametrize(("cell", "gate", "bias"), [("gru", "z", 20), ("mgu", "f", -20)])
def test_shut_gate_holds_its_state(cell, gate, bias):
    """Exactly, for any number of steps, whatever the candidate is."""
    rng = np.random.default_rng(1)
    made = randoms.recurrent(rng, "cell", cell, ("x",), 3, 8)
    made = replace(made, b=made.b | {gate: np.full(8, float(bias))})
    program = quantize_stream(Model(3, (made,)), rng.normal(size=(50, 3)), Config())
    codes = rng.integers(-(1 << 15), 1 << 15, (1, 8))
    out = golden.run(
        program.network,
        program.encode(rng.normal(size=(300, 3))),
        golden.State({"cell": codes}, {}),
    ).outputs
    np.testing.assert_array_equal(out[0], np.repeat(codes, 300, axis=0))


# OpenDPD


def amplifier_error(config, steps):
    """NMSE in dB of the float model and of the program, on the first samples."""
    samples, model = amplifier.load_recording(), amplifier.core_model()
    x, side = amplifier.features(samples.test)[:steps], amplifier.skip(samples.test)[:steps]
    program = quantize_stream(model, amplifier.features(samples.calibration), config)
    return [
        amplifier.nmse_db(core + side, samples.target[:steps])
        for core in (model.run(x), program.run(x))
    ]


def test_opendpd_cut():
    exact, fixed = amplifier_error(Config(16, 16, rounding="nearest"), 4000)
    assert fixed <= exact + 0.05


@pytest.mark.full
@pytest.mark.parametrize(("config", "loss"), [(Config(16, 16), 0.05), (Config(), 0.3)], ids=str)
def test_opendpd(config, loss):
    exact, fixed = amplifier_error(config, 20_000)
    assert exact == pytest.approx(-39.630, abs=1e-3)
    assert fixed <= exact + loss


@pytest.mark.full
def test_opendpd_hardware():
    samples = amplifier.load_recording()
    calibration = amplifier.features(samples.calibration)
    program = quantize_stream(amplifier.core_model(), calibration, Config(rounding="nearest"))
    assert_exact(program, amplifier.features(samples.test)[:200])


# Both forms of the GRU, against the operator's definition


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("linear_before_reset", [0, 1])
def test_gru_definition(tmp_path, seed, linear_before_reset):
    """256 steps of random input: the bound of docs/numerics.md for 16 bits."""
    rng = np.random.default_rng(seed)
    inputs, size, steps = (int(rng.integers(1, top)) for top in (20, 24, 2))
    steps = 256
    spread = 1 / np.sqrt(size)
    arrays = {
        "W": rng.uniform(-spread, spread, (1, 3 * size, inputs)),
        "R": rng.uniform(-spread, spread, (1, 3 * size, size)),
        "B": rng.uniform(-spread, spread, (1, 6 * size)),
    }
    node = helper.make_node(
        "GRU", ["X", *arrays], ["Y"], hidden_size=size, linear_before_reset=linear_before_reset
    )
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, inputs])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 1, None, size])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, tmp_path / "case.onnx")
    x = rng.normal(size=(steps, 3, inputs)).astype(np.float32)
    y = ReferenceEvaluator(made).run(None, {"X": x})[0][:, 0].swapaxes(0, 1)
    model = load_onnx(tmp_path / "case.onnx", check=False)
    x = x.swapaxes(0, 1)
    np.testing.assert_allclose(model.run(x), y, atol=1e-5, rtol=0)
    program = quantize_stream(model, x, Config(16, 16, rounding="nearest"))
    assert np.abs(program.run(x) - y).max() <= 1e-3
