"""``emulate``, ``verilog`` and ``simulate``: what a program computes, three ways."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.errors import CheckError, InputError
from .common import (
    Console,
    Parser,
    add_verb,
    check_parent,
    percent,
    read_program,
    read_recording,
    table,
    with_result,
)

if TYPE_CHECKING:
    from ..compiler.arrays import FloatArray
    from ..compiler.files.recording import Recording

__all__ = ["add_verbs", "check_output", "check_simulation"]

WAVE_DEPTH, WAVE_MB = 2, 100.0
STEPS, OUTPUTS = 3, 8
"""Steps and outputs that ``emulate`` shows where there are no labels."""
CONFUSION = 12
"""Classes up to which the confusion matrix is printed."""
SIMULATORS = ("verilator", "verilator-cpp", "icarus", "amaranth")
"""Those of :mod:`gatewright.sim`, which takes too long to import for a help text."""


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this group."""
    parser = add_verb(
        verbs, "emulate", emulate, "run the golden integer model on data",
        "Its outputs are those of the hardware, bit for bit.",
    )  # fmt: skip
    _add_data(parser)
    parser.add_argument(
        "--state", metavar="FILE.npy", type=Path,
        help="initial state, (words,) or (sequences, words): h of each layer, then its c",
    )  # fmt: skip

    parser = add_verb(verbs, "verilog", verilog, "write a program's core as Verilog")
    parser.add_argument("program", metavar="PROGRAM", type=Path, help="folder of a program")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder")
    parser.add_argument(
        "--name",
        metavar="NAME",
        default="",
        help="begin the names of modules and files with it, for several cores in one design",
    )
    parser.add_argument(
        "--vectors", metavar="X", type=Path,
        help="input that the testbench plays: .npy .npz .csv (default: random codes)",
    )  # fmt: skip

    parser = add_verb(
        verbs, "simulate", simulate, "simulate the Verilog and hold it against the golden model",
        "Exit code 2 unless every code of every step and every cycle is as predicted.",
    )  # fmt: skip
    _add_data(parser)
    parser.add_argument(
        "--simulator", choices=SIMULATORS, default="verilator", help="default verilator"
    )
    parser.add_argument(
        "--wave", metavar="FILE", type=Path,
        help="write a waveform of the first sequence (.vcd or .fst), and a layout for viewers beside it",
    )  # fmt: skip
    parser.add_argument(
        "--wave-depth", metavar="N", type=int, default=WAVE_DEPTH,
        help=f"levels of the hierarchy in it, 0: all ({WAVE_DEPTH})",
    )  # fmt: skip
    parser.add_argument(
        "--wave-limit", metavar="MB", type=float, default=WAVE_MB,
        help=f"size that it may have; later steps are left out ({WAVE_MB:g})",
    )  # fmt: skip
    parser.add_argument(
        "--stall", metavar="P", type=float, default=0.0, help="chance of a pause on every transfer"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the pauses")
    parser.add_argument(
        "--netlist", metavar="FAMILY",
        help="simulate what synthesis makes of it: ice40up, ice40hx, ecp5 or gowin",
    )  # fmt: skip
    parser.add_argument("--limit", metavar="N", type=int, default=0, help="first N sequences only")


def _add_data(parser: Parser) -> None:
    parser.add_argument("program", metavar="PROGRAM", type=Path, help="folder of a program")
    parser.add_argument("x", metavar="X", type=Path, help="input: .npy .npz .csv")
    parser.add_argument("-o", "--output", metavar="Y", type=Path, help="outputs: .npy .npz .csv")


def check_output(path: Path | None, data: Recording) -> None:
    """Refuse a file that the outputs could not be written to, before the work."""
    from ..compiler.files.recording import SUFFIXES

    if path is None:
        return
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: data files end in {' '.join(SUFFIXES)}, not {path.suffix!r}")
    if path.suffix.lower() == ".csv" and data.x.ndim == 3:
        raise InputError(f"{path}: a .csv holds 2 dimensions, the outputs have 3: use .npy")
    check_parent(path)


def emulate(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the golden model on a file."""
    from ..compiler.analysis.emulation import emulate_recording
    from ..compiler.files.recording import write_y
    from ..compiler.program.states import read_state

    program = read_program(args.program)
    data = read_recording(args.x, program.input_size)
    check_output(args.output, data)
    sequences = 1 if data.x.ndim == 2 else len(data.x)
    state = (
        read_state(args.state, [p.network for p in program.passes], sequences)
        if args.state
        else None
    )
    outputs, result = emulate_recording(program, data, state)
    console.say(f"{result['steps']:,} steps in {result['seconds']:.2f} s")
    places = result["saturations"]["places"]
    clipped = [f"{p} {v['clipped']:,} of {v['of']:,}" for p, v in places.items()]
    console.say(f"saturations: {', '.join(clipped) or 'none'}")
    if "buffer" in result:
        b = result["buffer"]
        console.say(
            f"sequence buffer: {b['words']:,} words, {b['bits']:,} bits for {b['steps']:,} steps"
        )
    if "delta" in result:
        d = result["delta"]
        console.say(
            f"unchanged columns: {percent(d['skipped'])} of {d['columns']:,} a step; skipping them "
            f"would save {d['saved']:,.0f} of {d['walk']:,} cycles"
        )
    if "classes" in result:
        console.say(f"accuracy at the last step: {percent(result['accuracy'])}\n")
        console.say(_describe_classes(result["classes"]) + "\n")
    else:
        console.say(_first_outputs(outputs[0]))
    if args.output:
        write_y(args.output, outputs[0] if data.x.ndim == 2 else outputs)
        console.say(f"written: {args.output}")
        result["output"] = str(args.output)
    return result


def _describe_classes(found: dict[str, Any]) -> str:
    """Return how each class was told: its figures, and what it was taken for."""
    names, counts = found["names"], found["confusion"]
    small = len(counts) <= CONFUSION
    head = [
        "class",
        "sequences",
        "recall",
        "precision",
        *(names if small else ["mostly taken for"]),
    ]
    rows = []
    for k, row in enumerate(counts):
        others = [0 if j == k else n for j, n in enumerate(row)]
        worst = others.index(max(others))
        shares = (
            "-" if v[k] is None else percent(v[k]) for v in (found["recall"], found["precision"])
        )
        taken = (
            [n or "." for n in row]
            if small
            else [f"{names[worst]} ({others[worst]})" if any(others) else "-"]
        )
        rows.append([names[k], sum(row), *shares, *taken])
    if small:
        head[4:] = [f"as {name}" for name in names]
    return table(rows, head)


def _first_outputs(outputs: FloatArray) -> str:
    """Return the first steps of a sequence."""
    steps, size = outputs.shape
    lines = [
        f"  step {t}: " + " ".join(f"{value:9.5f}" for value in outputs[t, :OUTPUTS])
        + (" ..." if size > OUTPUTS else "")
        for t in range(min(steps, STEPS))
    ]  # fmt: skip
    return f"first outputs, {size} a step:\n" + "\n".join(lines)


def verilog(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Write the core's Verilog and its memory images."""
    from ..hw import write_verilog

    program = read_program(args.program)
    data = read_recording(args.vectors, program.input_size) if args.vectors else None
    given = {"vectors": data.x, "lengths": data.lengths} if data else {}
    names = write_verilog(program, args.output, name=args.name, **given)
    for name in names:
        console.say(f"written: {args.output / name}")
    return {"digest": program.digest, "output": str(args.output), "files": names}


def simulate(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Simulate the Verilog on a file."""
    from ..compiler.files.recording import write_y
    from ..sim import simulate as run

    if args.limit < 0:
        raise InputError(f"--limit is a number of sequences, not {args.limit}")
    if not 0 <= args.seed < 1 << 32:
        raise InputError(f"--seed is a whole number from 0 to {(1 << 32) - 1}, not {args.seed}")
    if args.wave:
        check_parent(args.wave)
    program = read_program(args.program)
    data = read_recording(args.x, program.input_size, args.limit)
    check_output(args.output, data)
    done = run(
        program, data.x, lengths=data.lengths, simulator=args.simulator, stall=args.stall,
        seed=args.seed, wave=args.wave,
        wave_depth=args.wave_depth, wave_limit=args.wave_limit, netlist=args.netlist or "", progress=console.note,
    )  # fmt: skip
    result = {
        "bit_exact": done.bit_exact,
        "cycle_exact": done.cycle_exact,
        "mismatch": done.mismatch,
        "cycles_per_step": list(done.cycles_per_step),
        "cycles_predicted": done.cycles_predicted,
        "latency_cycles": done.latency_cycles,
        "steps": done.steps,
        "simulator": done.simulator,
        "stall": args.stall,
        "seed": args.seed,
    }
    if args.netlist:
        result |= {"netlist": args.netlist, "cells": done.cells}
    if done.passes:
        result["passes"] = [
            {"bit_exact": each.bit_exact, "cycle_exact": each.cycle_exact,
             "cycles_per_step": list(each.cycles_per_step),
             "cycles_predicted": each.cycles_predicted, "latency_cycles": each.latency_cycles}
            for each in done.passes
        ]  # fmt: skip
    if args.output:
        write_y(args.output, done.outputs)
        result["output"] = str(args.output)
    if args.wave:
        result["wave"] = str(args.wave)
    check_simulation(result)
    low, high = done.cycles_per_step
    what = f"the {args.netlist} netlist in {done.simulator}" if args.netlist else done.simulator
    console.say(f"bit-exact: {done.steps:,} steps in {what}, every output equals golden")
    console.say(
        f"cycles a step: {low} to {high}, predicted {done.cycles_predicted}"
        + (f" without pauses (stall {args.stall:g})" if args.stall else ", every step as predicted")
    )
    if args.netlist:
        cells = ", ".join(f"{count:,} {name}" for name, count in done.cells.items())
        console.say(f"netlist: {cells}")
    for path in filter(None, (args.output, args.wave)):
        console.say(f"written: {path}")
    return result


def check_simulation(result: dict[str, Any]) -> None:
    """Fail unless a simulation was bit-exact and, without pauses, cycle-exact."""
    if not (result["bit_exact"] and result["cycle_exact"]):
        what = "bit-exact" if not result["bit_exact"] else "cycle-exact"
        error = CheckError(f"the simulation is not {what}: {result['mismatch']}")
        raise with_result(error, result)
