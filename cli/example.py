"""``demo`` and ``train``: the whole flow on a real data set, nine speakers saying one vowel."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.config import Config
from ..compiler.errors import CheckError, InputError
from ..compiler.files.owned import refuse_taken
from .common import Console, Parser, add_verb, percent, read_recording, select, table, with_result
from .report import estimates

if TYPE_CHECKING:
    from ..compiler.files.recording import Recording
    from ..compiler.ir.model import Model
    from ..compiler.program.runnable import Runnable
    from ..sim.runner import Simulation

__all__ = ["add_verbs"]

LANES = 24
ACCURACY_LOSS = 0.005
BOARD_UTTERANCES = 4
"""That go through a simulated board: every bit on its serial line takes many cycles."""
CLOCKS = (12e6, 48e6)
MARKER = "example.json"
FILES = {
    MARKER: "mark of a folder that this command may write to again",
    "model.safetensors": "the trained network: GRU 12 -> 32, linear 32 -> 9",
    "model.pt": "the same as a PyTorch state_dict",
    "calibration.npz": "270 training utterances: x, len, y",
    "test.npz": "370 test utterances: x, len, y",
}
DEMO_FILES = {
    "program": "the quantized program: integer weights, schedule, memory images",
    "verilog": "the core as Verilog, and the two memory images it reads",
    "simulated.npz": "the utterances that were simulated: x, len, y",
    "emulated.npz": "outputs of the golden model for the test utterances",
    "report.html": "formats, memories, cycles and error, with plots",
    "result.json": "all figures of this page",
}


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this group."""
    parser = add_verb(
        verbs, "demo", demo, "run the whole flow on real speech, from training to Verilog",
        "Exit code 2 unless every check passes.",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", action="store_true", help="take the network that is shipped: no training"
    )
    parser.add_argument(
        "--utterances", metavar="N", type=int, default=20, help="utterances to simulate (20)"
    )
    parser.add_argument(
        "--board", metavar="B", help="also simulate this board as a whole, its serial line included"
    )
    _add_training(parser, "build/demo")
    parser = add_verb(verbs, "train", train, "train the example network (Japanese Vowels)")
    _add_training(parser, "build/japanese_vowels")


def _add_training(parser: Parser, folder: str) -> None:
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path(folder),
        help=f"folder to write to (default {folder})",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (0)")
    parser.add_argument("--epochs", type=int, default=100, help="epochs of the training (100)")


def _make_files(
    args: argparse.Namespace, console: Console, pretrained: bool = False
) -> dict[str, float]:
    """Train, or take the shipped network, and write the files that the other verbs read."""
    if not pretrained and args.epochs < 1:
        raise InputError(f"--epochs is 1 or more, not {args.epochs}")
    import torch
    from safetensors.torch import save

    from ..compiler.files.recording import atomic_write
    from ..examples.japanese_vowels import train as example

    metrics: dict[str, float] = {}
    if pretrained:
        module = example.pretrained()
    else:
        module, metrics = example.train(args.seed, args.epochs, console.note)
    args.output.mkdir(parents=True, exist_ok=True)
    atomic_write(args.output / MARKER, lambda file: file.write(b'{"gatewright": "example"}\n'))
    tensors = module.state_dict()
    atomic_write(args.output / "model.pt", lambda file: torch.save(tensors, file))
    atomic_write(args.output / "model.safetensors", lambda file: file.write(save(tensors)))
    for name, split in zip(("calibration", "test"), example.load_data(), strict=True):
        _write_data(args.output / f"{name}.npz", split.x, split.lengths, split.labels)
    return metrics


def _write_data(path: Path, x: Any, lengths: Any, labels: Any) -> None:
    """Write sequences as the other verbs read them."""
    import numpy as np

    from ..compiler.files.recording import atomic_write

    arrays = {"x": x, "len": lengths, "y": labels}
    atomic_write(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def train(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Train the example network and write its files."""
    refuse_taken(args.output, MARKER, dict.fromkeys(FILES | DEMO_FILES, "file"))
    metrics = _make_files(args, console)
    console.say(
        f"accuracy: {percent(metrics['test_accuracy'])} on the 370 test utterances, "
        f"{percent(metrics['train_accuracy'])} on the 270 of the training"
    )
    _list(console, args.output, FILES)
    console.say(
        f"\nnext: gatewright quantize {args.output}/model.safetensors "
        f"--calibration {args.output}/calibration.npz -o {args.output}/program"
    )
    return {**metrics, "output": str(args.output), "files": list(FILES)}


def _list(console: Console, folder: Path, files: dict[str, str]) -> None:
    rows = [(folder / name, text) for name, text in files.items() if (folder / name).exists()]
    console.say("\n" + table(rows))


def demo(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run every step of the flow and print one page."""
    from ..compiler.files.recording import atomic_write
    from ..compiler.frontends.registry import load
    from ..compiler.quantizer.pipeline import quantize
    from ..hw import write_verilog
    from ..hw.boards import find_board
    from ..sim import simulate
    from .run import play

    board = find_board(args.board) if args.board else None
    if not 1 <= args.utterances <= 370:
        raise InputError(f"--utterances is 1 to 370, the test utterances, not {args.utterances}")
    refuse_taken(args.output, MARKER, dict.fromkeys(FILES | DEMO_FILES, "file"))
    out: Path = args.output
    times: dict[str, float] = {}
    with console.stage("load the network" if args.checkpoint else "train", times):
        _make_files(args, console, args.checkpoint)
    with console.stage("inspect", times):
        model = load(out / "model.safetensors")
        calibration = read_recording(out / "calibration.npz", model.input_size)
        test = read_recording(out / "test.npz", model.input_size)
    with console.stage("quantize", times):
        config = Config(lanes=LANES)
        program = quantize(model, calibration.x, config, lengths=calibration.lengths)
        program.save(out / "program")
    with console.stage("emulate", times):
        figures = _emulate(program, model, test, out)
    with console.stage("verilog", times):
        write_verilog(program, out / "verilog")
    with console.stage("simulate", times):
        some = _choose(test, args.utterances, out)
        done = simulate(program, some.x, lengths=some.lengths, progress=console.note)
    played = None
    if board is not None:
        with console.stage("board", times):
            played = play(program.passes[0], board, select(some, slice(BOARD_UTTERANCES)), console)
    with console.stage("report", times):
        _report(program, model, test, out, done)
    s = program.summary
    checks = {
        "bit_exact": done.bit_exact,
        "cycle_exact": done.cycle_exact,
        "accuracy": figures["accuracy_fixed"] >= figures["accuracy_float"] - ACCURACY_LOSS,
    }
    if played is not None:
        checks["board"] = played["bit_exact"]
    result = {
        **figures,
        "digest": s["digest"],
        "lanes": s["lanes"],
        "macs_per_step": s["macs_per_step"],
        "cycles_predicted": done.cycles_predicted,
        "cycles_per_step": list(done.cycles_per_step),
        "latency_cycles": done.latency_cycles,
        "utilization": s["utilization"],
        "steps_per_second": {f"{f:.0f}": round(f / s["cycles_per_step"]) for f in CLOCKS},
        "weight_rom_bits": s["weight_rom_bits"],
        "beat_rom_bits": s["beat_rom_bits"],
        "utterances": args.utterances,
        "steps": done.steps,
        "simulator": done.simulator,
        "bit_exact": done.bit_exact,
        "mismatch": done.mismatch,
        "board": played,
        "checks": checks,
        "passed": all(checks.values()),
        "seconds": times,
        "output": str(out),
    }
    text = json.dumps(result, indent=1) + "\n"
    atomic_write(out / "result.json", lambda file: file.write(text.encode()))
    _page(console, result, config)
    _list(console, out, FILES | DEMO_FILES)
    if not result["passed"]:
        failed = ", ".join(name for name, passed in checks.items() if not passed)
        raise with_result(CheckError(f"the demo failed: {failed}. {done.mismatch}"), result)
    return result


def _emulate(program: Runnable, model: Model, test: Recording, out: Path) -> dict[str, Any]:
    """Run the golden and the float model on the whole test set."""
    import numpy as np

    from ..compiler.analysis.emulation import accuracy, emulate_recording
    from ..compiler.arrays import valid_steps
    from ..compiler.files.recording import write_y

    outputs, figures = emulate_recording(program, test)
    write_y(out / "emulated.npz", outputs)
    reference = model.run(test.x)
    valid = valid_steps(test.lengths, *test.x.shape[:2])
    error = np.abs(outputs - reference)[valid]
    return {
        "accuracy_float": accuracy(reference, test),
        "accuracy_fixed": figures["accuracy"],
        "error": {"max": float(error.max()), "mean": float(error.mean())},
        "output_peak": float(np.abs(reference[valid]).max()),
        "saturations": figures["saturations"],
        "emulated_steps": figures["steps"],
    }


def _choose(test: Recording, count: int, out: Path) -> Recording:
    """Take utterances spread evenly over the test set, so that every speaker is among them."""
    import numpy as np

    some = select(test, np.linspace(0, len(test.x) - 1, count).round().astype(int))
    _write_data(out / "simulated.npz", some.x, some.lengths, some.labels)
    return some


def _report(
    program: Runnable, model: Model, test: Recording, out: Path, done: Simulation
) -> None:  # fmt: skip
    """Write the page with pictures."""
    from ..compiler.analysis.figures import analyze
    from ..compiler.files.recording import atomic_write
    from ..compiler.report.page import to_html
    from ..compiler.report.subject import Subject

    figures = analyze(program, test.x, test.lengths, model, test.labels)
    proof = {
        "bit_exact": done.bit_exact, "cycle_exact": done.cycle_exact, "steps": done.steps,
        "simulator": done.simulator,
    }  # fmt: skip
    subject = Subject("Japanese Vowels", program, figures, None, estimates(program), proof)
    page = to_html([subject], "gatewright demo").encode()
    atomic_write(out / "report.html", lambda file: file.write(page))


def _page(console: Console, r: dict[str, Any], config: Config) -> None:
    """Print the result on one page."""

    def verdict(passed: bool) -> str:
        return "PASS" if passed else "FAIL"

    low, high = r["cycles_per_step"]
    rates = [f"{n:,} at {float(f) / 1e6:.0f} MHz" for f, n in r["steps_per_second"].items()]
    loss = 100 * ACCURACY_LOSS
    console.say("Japanese Vowels: which of nine men says /ae/?  GRU 12 -> 32, linear 32 -> 9\n")
    rows = [
        ("accuracy", (f"{percent(r['accuracy_float'])} float, {percent(r['accuracy_fixed'])} "
                     "fixed point, 370 test utterances")),
        ("error", (f"max {r['error']['max']:.2g}, mean {r['error']['mean']:.2g} against float, "
                   f"where outputs reach {r['output_peak']:.2g}")),
        ("widths", (f"weights {config.weight_bits}, operands {config.activation_bits}, state "
                   f"{config.state_bits}, gates {config.gate_bits} bits (the defaults)")),
        ("engine", f"{r['lanes']} lanes, {r['macs_per_step']:,} MACs a step"),
        ("cycles a step", f"{r['cycles_predicted']} predicted, {low} to {high} measured"),
        ("utilization", percent(r["utilization"])),
        ("steps a second", ", ".join(rates)),
        ("ROM", f"{r['weight_rom_bits']:,} bits of weights, {r['beat_rom_bits']:,} of control"),
        ("simulated", f"{r['utterances']} utterances, {r['steps']} steps in {r['simulator']}"),
        ("time", ", ".join(f"{name} {t:.1f} s" for name, t in r["seconds"].items())),
    ]  # fmt: skip
    if b := r["board"]:
        rows.insert(-1, ("board", (
            f"{b['name']}: {b['lanes']} lanes at {b['clock_mhz']:g} MHz, {b['steps']} steps over its "
            f"serial line, {b['steps_per_second']:,.0f} a second")))  # fmt: skip
    console.say(table(rows) + "\n")
    tests = [
        (verdict(r["checks"]["bit_exact"]), "every output of every step equals the golden model"),
        (verdict(r["checks"]["cycle_exact"]), "every step ended in the predicted cycle"),
        (verdict(r["checks"]["accuracy"]), f"accuracy within {loss:g} points of float"),
    ]
    if r["board"]:
        tests.append(
            (verdict(r["checks"]["board"]), "so do the codes that the host got from the board")
        )
    console.say(table(tests))
