"""``inspect`` and ``quantize``: from a trained model to a program's folder."""

from __future__ import annotations

import argparse
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.config import Config
from ..compiler.errors import InputError
from ..compiler.frontends.registry import READERS
from .board import describe_target
from .common import (
    Console,
    Parser,
    add_verb,
    check_parent,
    percent,
    read_program,
    read_recording,
    table,
)
from .knobs import add_knobs, read_config

if TYPE_CHECKING:
    from ..compiler.ir.model import Layer, Model
    from ..compiler.program.runnable import Runnable
    from ..hw.bitstream.target import Target

__all__ = ["add_model", "add_verbs", "describe", "read_model"]

READING = ("key", "ignore", "node", "nonlinearity", "forward", "expect")
CLIPPING_MAX, CLIPPING_MEAN = 1.5, 1.1
"""How much larger than without clipping the largest and the mean error are worth a warning."""
MODEL = f"trained model: {' '.join(READERS)}"


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this group."""
    parser = add_verb(verbs, "inspect", inspect, "show what is understood of a model")
    parser.add_argument("model", metavar="MODEL", type=Path, help=f"{MODEL}, or a program's folder")
    add_reading(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE.toml",
        type=Path,
        help="write the model as a description, its arrays as FILE.npz beside it",
    )

    parser = add_verb(verbs, "quantize", quantize, "turn a model into a fixed-point program")
    add_model(parser, optional=True)
    parser.add_argument(
        "--calibration", metavar="X", type=Path,
        help="typical input (.npy .npz .csv) that sets ranges and formats",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="PROGRAM", type=Path, help="folder to write")
    parser.add_argument(
        "--like", metavar="PROGRAM", type=Path,
        help="take over this program's formats, so that the new one can be loaded into its core",
    )  # fmt: skip
    parser.add_argument(
        "--write-config", metavar="FILE", help="write every option to a file, - for the screen"
    )
    group = add_knobs(parser)
    group.add_argument(
        "--board", metavar="B", help="choose lanes for a board: all it has room for, or by --rate"
    )


def add_model(parser: Parser, *, optional: bool = False) -> None:
    """Add MODEL and the options of reading it."""
    parser.add_argument(
        "model", metavar="MODEL", type=Path, nargs="?" if optional else None, help=MODEL
    )
    add_reading(parser)


def add_reading(parser: Parser) -> None:
    """Add the options that say what a file does not."""
    group = parser.add_argument_group("reading the model, where the file does not say")
    group.add_argument("--key", help="entry of a checkpoint that holds the weights")
    group.add_argument(
        "--ignore", metavar="PATTERN", action="append", help="tensors to leave out, as in 'tcn.*'"
    )
    group.add_argument(
        "--forward", metavar="STEPS",
        help="what a state_dict's model computes: modules and activations in the order of the "
        "data, as in 'gru, fc1, relu, fc2'; also last, softmax, a + b, cat(a, b), embedding(a), "
        "rnn(a, b), with x for the input",
    )  # fmt: skip
    group.add_argument(
        "--expect", metavar="XY.npz", type=Path,
        help="recorded input x and the model's own outputs y, which the model read must give",
    )  # fmt: skip
    group.add_argument("--order", metavar="A,B", help="modules in the order of the data")
    group.add_argument("--node", metavar="NAME", help="one recurrent node of an ONNX graph")
    group.add_argument("--nonlinearity", metavar="tanh|relu", help="of plain RNN layers")
    group.add_argument(
        "--head", metavar="MODULE=ACT", action="append", help="activation after a linear module"
    )
    group.add_argument(
        "--no-check", action="store_true", help="do not compare with the model's own framework"
    )


def read_model(args: argparse.Namespace, path: Path) -> Model:
    """Read a model with the options of :func:`add_reading`.

    What was compared with nothing is kept in ``args.not_compared``: :func:`~.main.main` says it
    when the verb is done.
    """
    from ..compiler.frontends.registry import load

    model = load(path, check=not args.no_check, **_options(args))
    args.not_compared = list(model.not_compared)
    return model


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Join the table ``[model]`` of the configuration file and the options, which win."""
    options: dict[str, Any] = {}
    if getattr(args, "config", None):
        table = tomllib.loads(args.config.read_text(encoding="utf-8")).get("model", {})
        wrong = set(table) - {*READING, "order", "head"}
        if wrong:
            raise InputError(
                f"configuration {args.config}: [model] has no {sorted(wrong)[0]!r}; it takes "
                f"{', '.join((*READING, 'order', 'head'))}"
            )
        options = {"activations" if k == "head" else k: v for k, v in table.items()}
    options |= {name: getattr(args, name) for name in READING if getattr(args, name)}
    if args.order:
        options["order"] = args.order.split(",")
    if args.head:
        wrong_text = [text for text in args.head if "=" not in text]
        if wrong_text:
            raise InputError(
                f"--head takes MODULE=ACTIVATION, as in fc=sigmoid, not {wrong_text[0]!r}"
            )
        options["activations"] = dict(text.split("=", 1) for text in args.head)
    return options


def inspect(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Show a model's layers, or a program's summary."""
    if (args.model / "program.json").is_file():
        from ..compiler.program.interface import interface

        if args.output:
            raise InputError("-o writes a float model, and this is a program: inspect its model")
        program = read_program(args.model)
        result = {"kind": "program", **program.summary, "config": program.config.to_json()}
        facts = [interface(each) for each in program.passes]
        if "passes" in result:
            result["passes"] = [
                {**each, "interface": of} for each, of in zip(result["passes"], facts, strict=True)
            ]
        else:
            result["interface"] = facts[0]
        console.say(describe(program))
        return result
    if args.output:
        check_parent(args.output)
    model = read_model(args, args.model)
    layers, refusal = [_layer(layer) for layer in model.layers], _refusal(model)
    console.say(
        f"{model.source}: {model.input_size} inputs, {model.output_size} outputs "
        f"({' + '.join(model.outputs)})"
    )
    console.say(f"{model.parameters:,} parameters, {model.macs:,} multiply-accumulates a step\n")
    head = ("layer", "cell", "reads", "inputs", "size", "activations", "MACs")
    rows = [
        (x["name"], x["title"] + ", reversed" * x["reverse"], " + ".join(x["reads"]), x["inputs"], x["size"],
         ", ".join(x["activations"]), x["macs"])
        for x in layers
    ]  # fmt: skip
    console.say(table(rows, head))
    console.say("\nequations (x: what the layer reads, h: its state; b, d: biases; *: by element)")
    for layer in model.layers:
        console.say("\n".join(f"  {layer.name}: {line}" for line in layer.equations))
    for note in model.notes:
        console.say(f"note: {note}")
    if args.output:
        from ..compiler.frontends.description import write_description

        write_description(model, args.output)
        console.say(f"written: {args.output} and {args.output.with_suffix('.npz')}")
    if refusal:
        console.note(f"warning: quantize will refuse this model: {refusal}")
    return {
        "kind": "model",
        "source": model.source,
        "inputs": model.input_size,
        "outputs": model.output_size,
        "parameters": model.parameters,
        "macs_per_step": model.macs,
        "layers": layers,
        "notes": list(model.notes),
        "quantize_refuses": refusal,
        "not_compared": list(model.not_compared),
    }


def _refusal(model: Model) -> str:
    """Return why ``quantize`` refuses a model whatever the data, or nothing."""
    from ..compiler.quantizer.lowering import check_support

    try:
        check_support(model)
    except InputError as error:
        return str(error)
    return ""


def _layer(layer: Layer) -> dict[str, Any]:
    """Describe one layer of a float model."""
    from ..compiler.ir.model import Linear

    if isinstance(layer, Linear):
        cell, title, activations = "linear", "linear", [layer.activation]
    else:
        cell, title = layer.cell, layer.spec.title
        activations = [layer.gate, layer.candidate]
        activations += [layer.output] * layer.spec.has_cell_state
    return {
        "name": layer.name,
        "cell": cell,
        "title": title,
        "reads": list(layer.inputs),
        "inputs": layer.input_size,
        "size": layer.size,
        "activations": activations,
        "macs": layer.macs,
        "equations": layer.equations,
        "reverse": getattr(layer, "reverse", False),
    }


def quantize(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Quantize a model and write the program's folder."""
    from ..compiler.files.atomic import check_folder
    from ..compiler.files.recording import atomic_write
    from ..compiler.quantizer.pipeline import quantize as make

    config = read_config(args)
    if args.write_config == "-":
        console.say(config.to_toml().rstrip())
    elif args.write_config:
        atomic_write(args.write_config, lambda file: file.write(config.to_toml().encode()))
    if args.write_config and None in (args.model, args.output):
        return {"config": config.to_json()}
    if args.model is None:
        raise InputError("quantize needs a MODEL; see: gatewright quantize --help")
    if args.output is None:
        raise InputError("quantize needs a folder to write the program to: -o PROGRAM")
    check_folder(args.output)
    model = read_model(args, args.model)
    x = lengths = None
    if args.calibration:
        data = read_recording(args.calibration, model.input_size)
        x, lengths = data.x, data.lengths
    else:
        print(
            "warning: no --calibration: formats assume input features that are normally "
            "distributed (mean 0, deviation 1); give typical input wherever that is not so",
            file=sys.stderr,
        )
    like = read_program(args.like) if args.like else None
    if like is not None:
        # Options that were not given are those of the other program.
        config = replace(read_config(args, like.config), lanes=like.config.lanes)
    target = _target(args, config)
    program: Runnable = make(
        model, x, target.config if target else config, lengths=lengths, like=like
    )
    board: dict[str, Any] = {}
    if target:
        program = laid_out = target.lay_out(program)
        config, board = program.config, target.estimate(laid_out)
    program.save(args.output)
    for each in program.passes:
        if warning := _clipping(each.quality):
            console.note(warning)
    # With the configuration on the screen, the summary would spoil it.
    if args.write_config != "-":
        console.say(describe(program))
        if board:
            console.say("\n" + describe_target(board, config.clock))
        console.say(f"\nwritten: {args.output}")
    places = program.quality["saturations"]
    return {
        **program.summary,
        "saturations": {
            "total": sum(clipped for clipped, _ in places.values()),
            "places": {name: {"clipped": c, "of": of} for name, (c, of) in places.items()},
        },
        "config": config.to_json(),
        "output": str(args.output),
        **({"board": board} if board else {}),
    }


def _clipping(quality: dict[str, Any]) -> str:
    """Warn where clipping, more than rounding, makes the error on the calibration data."""
    cost = quality.get("clipping")
    if not cost or (
        cost["max"] <= CLIPPING_MAX * cost["max_without"]
        and cost["mean"] <= CLIPPING_MEAN * cost["mean_without"]
    ):
        return ""
    places = ", ".join(f"{p} {c:,} of {of:,}" for p, (c, of) in quality["saturations"].items())
    return (
        f"warning: clipping on the calibration data moves outputs by up to {cost['moved']:.2g}: their "
        f"largest error is {cost['max']:.2g}, without clipping {cost['max_without']:.2g}. Clipped: "
        f"{places}. --calibration-method minmax leaves head room, more --state-bits and "
        "--activation-bits make up for it"
    )


def _target(args: argparse.Namespace, config: Config) -> Target | None:
    """Return the board that lanes are chosen for."""
    if args.board is None:
        return None
    from ..hw.bitstream.target import Target

    if args.like:
        raise InputError("--like takes the lanes of the other program: leave out --board")
    return Target.of(args.board, config, clock_given=args.clock is not None)


def describe(program: Runnable) -> str:
    """Return a program's summary as text."""
    s, n = program.summary, program.config
    narrow = "".join(f", {name} {bits}" for name, bits in n.weight_widths.items())
    widths = (
        f"weights {n.weight_bits}{f' ({narrow[2:]})' if narrow else ''}, operands {n.activation_bits}, state {n.state_bits}, "
        f"gates {n.gate_bits} bits; activation {n.activation}"
    )
    engines = (
        [("", s)] if "passes" not in s else [(f"pass {k}: ", p) for k, p in enumerate(s["passes"])]
    )
    rom = f"{s['weight_rom_bits']:,} bits of weights, {s['beat_rom_bits']:,} bits of control"
    rows = [
        ("digest", s["digest"][:16]),
        *([("hardware", s["hardware_digest"][:16])] if "hardware_digest" in s else []),
        ("widths", widths),
        ("input format", str(program.input_format)),
        *(("engine", name + _engine(p)) for name, p in engines),
        ("MACs a step", f"{s['macs_per_step']:,}"),
        ("cycles a step", f"{s['cycles_per_step']:,} (a lone step: {s['latency_cycles']:,}{_turns(program)})"),
        ("utilization", percent(s["utilization"])),
        ("ROM", rom),
        ("accumulator", f"{s['accumulator_bits']} bits, sums {s['sum_bits']} bits"),
    ]  # fmt: skip
    if "buffer" in s:
        words, bits = s["buffer"]["words_per_step"], s["buffer"]["bits_per_step"]
        rows.append(
            ("buffer", f"{words:,} words, {bits:,} bits for each step of a sequence, outside")
        )
    if "error" in s:
        on = "normally distributed input" if s["calibration"] == "synthetic" else "calibration data"
        rows.append(
            ("error on", f"{on}: max {s['error']['max']:.2g}, mean {s['error']['mean']:.2g}")
        )
        clipped = [f"{p} {c:,} of {of:,}" for p, (c, of) in s["saturations"].items()]
        rows.append(("saturations", ", ".join(clipped) or "none"))
    return table(rows)


def _turns(program: Runnable) -> str:
    """Say what a step takes where one stream has the core to itself: whether turns pay."""
    from ..compiler.layout.schedule import Schedule

    if program.config.streams == 1:
        return ""
    each = [Schedule(p.network, p.geometry).cycles()[0] for p in program.passes]
    return f"; with one stream: {sum(each):,}"


def _engine(s: dict[str, Any]) -> str:
    """Say what the engine of a program, or of one pass, is like."""
    text = f"{s['lanes']} lanes ({s['split']} columns at once, {s['beat']} rows a beat)"
    if "streams" in s:
        text += f", {s['streams']} streams in turn"
    if "reads" in s:
        way = "end first" if s["reverse"] else "start first"
        text += f", {s['cycles_per_step']:,} cycles a step; {' + '.join(s['reads'])}, {way}"
    return text
