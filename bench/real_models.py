"""Networks that other people trained, in fixed point against what was recorded of them.

Prints one table row per figure, as ``docs/models.md`` holds them::

    python bench/real_models.py                   every network
    python bench/real_models.py rnnoise gtcrn     some
    python bench/real_models.py --rtl             simulate Verilog with Verilator as well
    python bench/real_models.py g2p --checkpoint checkpoint20.npz --words expected.json

``words`` is a JSON object of words with the ``phonemes`` that g2p_en gives for each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gatewright.compiler import golden
from gatewright.compiler.config import Config
from gatewright.compiler.frontends.onnx import list_nodes, load_onnx
from gatewright.compiler.frontends.rtneural import load_rtneural
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize_stream
from gatewright.examples.g2p import pronounce as g2p
from gatewright.examples.opendpd import amplifier
from gatewright.examples.rnnoise import suppressor
from gatewright.sim.runner import simulate

DATA = Path(__file__).parent.parent / "tests" / "data"
CLOCKS = (12, 48)  # MHz

Rows = Iterator[tuple[str, str]]


def rtl(program: Program, x: np.ndarray) -> str:
    """Simulate the Verilog and say whether it equals the golden model."""
    run = simulate(program, x)
    if run.mismatch:
        return f"FAILED: {run.mismatch}"
    return (
        f"bit- and cycle-exact on {run.steps} steps, {run.cycles_predicted} cycles a step on "
        f"{program.geometry.lanes} lanes"
    )


def rnnoise(given: argparse.Namespace) -> Rows:
    """RNNoise v0.1: errors by width, with the weights as shipped, and frames per second."""
    model, recordings = suppressor.network(), suppressor.load_recordings()
    features = suppressor.calibration(recordings)
    program = None
    for widths in (
        {"activation_bits": 16},
        {"activation_bits": 15, "gate_bits": 15},
        {"activation_bits": 14},
        {"activation_bits": 14, "gate_bits": 15},
        {"activation_bits": 14, "state_bits": 15},
        {"activation_bits": 13},
        {"activation_bits": 12},
        {"activation_bits": 10},
        {"activation_bits": 8},
    ):
        config = Config(rounding="nearest", **widths)
        program = quantize_stream(model, features, config)
        setting = f"operands {config.activation_bits}, state {config.state_bits}, gates {config.gate_bits}"
        for name, recording in recordings.items():
            yield (
                f"{setting}; {name}",
                str(suppressor.errors(program.run(recording.features), recording)),
            )
    assert program is not None  # noqa: S101
    for lanes in (1, 6, 12, 24, 48, 96):
        laid = Program(program.network, Config(lanes=lanes))
        cycles = laid.schedule.cycles()[0]
        speeds = ", ".join(f"{clock * 1e6 / cycles:.0f} at {clock} MHz" for clock in CLOCKS)
        yield f"{lanes} lanes", f"{cycles} cycles a frame; frames per second: {speeds}"
    if given.rtl:
        program = quantize_stream(model, features, Config(activation_bits=14, rounding="nearest"))
        yield "Verilog, operands 14", rtl(program, recordings["speech"].features[400:600])


def pronunciation(given: argparse.Namespace) -> Rows:
    """g2p_en: how many of 500 words keep all their phonemes."""
    if not (given.checkpoint and given.words):
        yield "not run", "give --checkpoint and --words"
        return
    network = g2p.load(given.checkpoint)
    words = {k: v["phonemes"] for k, v in json.loads(given.words.read_text()).items()}
    test, rest = list(words)[:500], list(words)[500:]

    def same(said: list[list[str]]) -> str:
        return f"{sum(a == words[b] for a, b in zip(said, test, strict=True))} of {len(test)} words"

    yield "float", same(g2p.pronounce(test, network))
    for config in (
        Config(weight_bits=16, activation_bits=16, rounding="nearest"),
        Config(),
        Config(rounding="nearest"),
    ):
        programs = g2p.quantize_both(network, rest, config)
        setting = f"weights {config.weight_bits}, operands {config.activation_bits}"
        yield f"{setting}, {config.rounding}", same(g2p.pronounce(test, network, programs))


def gtcrn(given: argparse.Namespace) -> Rows:
    """GTCRN: every GRU that streams, on inputs and states recorded at frame 100."""
    path = DATA / "gtcrn_simple.onnx"
    with np.load(DATA / "gtcrn_gru_nodes_frame100.npz") as file:
        recorded = {key: file[key].astype(np.float64) for key in file.files}
    for node in list_nodes(path):
        name = node["name"]
        if node["direction"] != "forward":
            continue
        model = load_onnx(path, node=name)
        x, h, y = (recorded[f"{name}_{key}"] for key in ("X", "h0", "Y"))
        x, h, y = x.swapaxes(0, 1), h[0], y[:, 0].swapaxes(0, 1)
        zero = np.zeros_like(h)
        distance = np.abs(model.run(x, {name: (h, zero)}) - y).max()
        errors = []
        # One step is too little for rounding that trusts the data.
        for config in (Config(16, 16, rounding="nearest"), Config(rounding="nearest")):
            program = quantize_stream(model, x, config, state={name: (h, zero)})
            state = golden.State.encode(program.network, {name: (h, zero)})
            errors.append(np.abs(program.run(x, state) - y).max())
        yield (
            f"{name}: GRU {node['input']} -> {node['hidden']}, {len(x)} streams",
            f"float {distance:.1e}; 16 bits {errors[0]:.1e}; default widths {errors[1]:.1e}",
        )
        if given.rtl:
            yield f"{name}: Verilog", rtl(program, np.random.default_rng(1).normal(size=(200, 8)))


def rtneural(given: argparse.Namespace) -> Rows:
    """RTNeural and KlonCentaur: audio effects, one sample a step."""
    for name in ("gru", "gru_1d"):
        model = load_rtneural(DATA / f"rtneural_{name}.json")
        x = np.loadtxt(DATA / f"rtneural_{name}_x.csv")[:, None]
        y = np.loadtxt(DATA / f"rtneural_{name}_y.csv")[:, None]
        for config in (Config(16, 16), Config()):
            program = quantize_stream(model, x, config)
            e = np.abs(program.run(x) - y)
            setting = f"weights {config.weight_bits}, operands {config.activation_bits}"
            yield (
                f"{name}, {setting}",
                f"error max {e.max():.1e} mean {e.mean():.1e}, outputs {y.min():.2f} to {y.max():.2f}",
            )
        if given.rtl:
            yield f"{name}: Verilog", rtl(program, x)
    for name in ("kloncentaur", "kloncentaur_50"):
        model = load_rtneural(DATA / f"{name}.json")
        x = signal(2000, model.input_size)
        y = model.run(x)
        for config in (Config(16, 16), Config()):
            e = quantize_stream(model, x, config).run(x) - y
            yield (
                f"{name}, weights {config.weight_bits}, operands {config.activation_bits}",
                f"{10 * np.log10((e**2).mean() / y.var()):.1f} dB of float, max {np.abs(e).max():.1e}",
            )


def signal(steps: int, inputs: int) -> np.ndarray:
    """Return a chord like a guitar's that fades, and constant knobs for further inputs."""
    t = np.arange(steps) / 44100
    chord = sum(np.sin(2 * np.pi * f * t) for f in (110, 164.8, 220, 277.2))
    x = np.full((steps, inputs), 0.5)
    x[:, 0] = 0.25 * chord * np.exp(-20 * t)
    return x


def opendpd(given: argparse.Namespace) -> Rows:
    """OpenDPD: normalized mean square error of the whole amplifier model."""
    samples, model = amplifier.load_recording(), amplifier.core_model()
    x, side = amplifier.features(samples.test), amplifier.skip(samples.test)
    steps = len(samples.target)

    def score(core: np.ndarray) -> str:
        return f"{amplifier.nmse_db(core + side[:steps], samples.target):.3f} dB"

    yield "float", score(model.run(x[:steps]))
    calibration = amplifier.features(samples.calibration)
    for config in (
        Config(16, 16), Config(8, 16), Config(), Config(rounding="nearest"), Config(8, 10), Config(6, 12),
    ):  # fmt: skip
        program = quantize_stream(model, calibration, config)
        setting = f"weights {config.weight_bits}, operands {config.activation_bits}"
        yield f"{setting}, {config.rounding}", score(program.run(x[:steps]))
    if given.rtl:
        program = quantize_stream(model, calibration, Config())
        yield "Verilog, default widths", rtl(program, x[:200])


NETWORKS = {
    "rnnoise": rnnoise,
    "g2p": pronunciation,
    "gtcrn": gtcrn,
    "rtneural": rtneural,
    "opendpd": opendpd,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", choices=[[], *NETWORKS], default=[])
    parser.add_argument("--rtl", action="store_true", help="simulate Verilog as well")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint20.npz of g2p_en")
    parser.add_argument("--words", type=Path, help="words and their phonemes, JSON")
    given = parser.parse_args()
    for name in given.networks or NETWORKS:
        print(f"\n| {name} | |\n| --- | --- |", flush=True)
        for setting, figure in NETWORKS[name](given):
            print(f"| {setting} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
