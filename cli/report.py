"""``report``: what a program is made of, and how well it computes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import Console, add_verb, read_program, read_recording
from .program import add_reading, read_model
from .tune import read_labels

__all__ = ["add_verbs"]


def add_verbs(verbs: Any) -> None:
    """Add the verb of this group."""
    parser = add_verb(verbs, "report", report, "report formats, memories, cycles and error")
    parser.add_argument(
        "program", metavar="DIR", type=Path, help="folder of a program or of a build"
    )
    parser.add_argument("--data", metavar="X", type=Path, help="add what this input does")
    parser.add_argument(
        "--model", metavar="MODEL", type=Path, help="add the error against the float model"
    )
    parser.add_argument(
        "--labels", metavar="Y", type=Path,
        help="class of each sequence (.npy, .npz key y); default: key y of --data",
    )  # fmt: skip
    parser.add_argument("--html", metavar="FILE", type=Path, help="write one page with plots")
    add_reading(parser)


def report(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Print or write the report."""
    from ..compiler.analysis.figures import analyze
    from ..compiler.analysis.metric import class_count
    from ..compiler.files.recording import atomic_write
    from ..compiler.report.page import to_html, to_text

    if (args.program / "build.json").is_file() and not (args.program / "program.json").is_file():
        return _build(args, console)
    program = read_program(args.program)
    x = lengths = labels = None
    if args.data:
        data = read_recording(args.data, program.input_size)
        x, lengths = data.x, data.lengths
        # One output tells no classes apart: a y in the data is then something else.
        labels = data.labels if class_count(program) > 1 else None
    if args.labels:
        labels = read_labels(args.labels)
    model = read_model(args, args.model) if args.model else None
    analysis = analyze(program, x, lengths, model, labels)
    if args.html:
        page = to_html(analysis, program).encode()
        atomic_write(args.html, lambda file: file.write(page))
        console.say(f"written: {args.html}")
        return {**analysis, "html": str(args.html)}
    console.say(to_text(analysis))
    return analysis


def _build(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Print the report of a build."""
    from ..compiler.errors import InputError
    from ..hw.bitstream.build import read_build
    from .board import describe_build, placed

    if args.data or args.model or args.html:
        raise InputError(
            f"{args.program} is a build: for --data, --model and --html name the program in it, "
            f"{args.program / 'program'}"
        )
    found = placed(read_build(args.program), args.program)
    console.say(describe_build(found))
    return found
