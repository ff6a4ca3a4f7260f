"""``report``: what a program is made of, and how well it computes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import Console, add_verb, read_program, read_recording, table
from .program import add_reading, read_model
from .tune import read_labels

if TYPE_CHECKING:
    from ..compiler.ir.model import Model
    from ..compiler.program.runnable import Runnable
    from ..compiler.report.subject import Subject

__all__ = ["add_verbs", "estimates", "recorded_proof"]

PROOF = "result.json"
"""File beside a program that ``demo`` records its simulation in."""


def add_verbs(verbs: Any) -> None:
    """Add the verb of this group."""
    parser = add_verb(
        verbs, "report", report, "report formats, memories, cycles and error",
        "Several programs or builds are put side by side.",
    )  # fmt: skip
    parser.add_argument(
        "folders", metavar="DIR", type=Path, nargs="+", help="folder of a program or of a build"
    )
    parser.add_argument("--data", metavar="X", type=Path, help="add what this input does")
    parser.add_argument(
        "--model", metavar="MODEL", type=Path, help="add the error against the float model"
    )
    parser.add_argument(
        "--labels", metavar="Y", type=Path,
        help="class of each sequence (.npy, .npz key y); default: key y of --data",
    )  # fmt: skip
    parser.add_argument("--html", metavar="FILE", type=Path, help="write one page with pictures")
    add_reading(parser)


def report(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Print or write the report."""
    from ..compiler.files.recording import atomic_write
    from ..compiler.report.page import to_html

    subjects = _subjects(args)
    results = [
        _result(subject, folder) for subject, folder in zip(subjects, args.folders, strict=True)
    ]
    result = results[0] if len(results) == 1 else {"reports": results}
    if args.html:
        page = to_html(subjects, _command(args)).encode()
        atomic_write(args.html, lambda file: file.write(page))
        console.say(f"written: {args.html}")
        return {**result, "html": str(args.html)}
    if len(subjects) > 1:
        console.say(_side_by_side(subjects))
    else:
        console.say(_text(subjects[0], args.folders[0]))
    return result


def _subjects(args: argparse.Namespace) -> list[Subject]:
    """Read every folder, and measure what is asked for."""
    from ..compiler.errors import InputError

    model = read_model(args, args.model) if args.model else None
    subjects = []
    for name, folder in zip(_names(args.folders), args.folders, strict=True):
        try:
            subjects.append(_subject(args, name, folder, model))
        except InputError as error:
            if len(args.folders) == 1 or str(folder) in str(error):
                raise
            raise InputError(f"{folder}: {error}") from error
    return subjects


def _subject(args: argparse.Namespace, name: str, folder: Path, model: Model | None) -> Subject:
    """Read a folder, and measure what is asked for."""
    from ..compiler.analysis.figures import analyze
    from ..compiler.analysis.metric import check_class_names, class_count
    from ..compiler.report.subject import Subject

    program, build = _read(folder)
    x = lengths = labels = None
    names: Sequence[str] = ()
    if args.data:
        data = read_recording(args.data, program.input_size)
        x, lengths, names = data.x, data.lengths, data.classes or ()
        check_class_names(names, class_count(program))
        # One output tells no classes apart: a y in the data is then something else.
        labels = data.labels if class_count(program) > 1 else None
    if args.labels:
        labels = read_labels(args.labels)
    analysis = analyze(program, x, lengths, model, labels)
    if names and "classes" in analysis:
        analysis["classes"]["names"] = list(names)
    wanted = args.html or len(args.folders) > 1
    boards = estimates(program) if wanted and not build else []
    return Subject(name, program, analysis, build, boards, recorded_proof(folder, program))


def _read(folder: Path) -> tuple[Runnable, dict[str, Any] | None]:
    """Return the program of a folder, and the figures of the build if it is one."""
    from ..compiler.errors import InputError
    from ..hw.bitstream.build import REPORT
    from ..hw.bitstream.figures import read_figures

    if not (folder / REPORT).is_file() or (folder / "program.json").is_file():
        return read_program(folder), None
    build, program = read_figures(folder), read_program(folder / "program")
    if build["program"] != program.digest:
        raise InputError(
            f"{folder / 'program'} is not the program that {folder / REPORT} is of; build again"
        )
    return program, build


def estimates(program: Runnable) -> list[dict[str, Any]]:
    """Return how a program's own engine does on each board; nothing where it is several bitstreams."""
    from ..hw.bitstream.profile import profile

    if len(program.passes) > 1:
        return []
    return [
        {"name": found.board.name, "device": found.board.device, "price": found.board.price,
         **found.board.capacity.resources, **found.to_json()}
        for found in profile(program.passes[0], lanes=program.passes[0].geometry.lanes)
    ]  # fmt: skip


def recorded_proof(folder: Path, program: Runnable) -> dict[str, Any] | None:
    """Return what ``demo`` recorded beside a program of its simulation, if it was of this program."""
    from ..compiler.errors import InputError
    from ..compiler.files.json_file import read_json

    try:
        found = read_json((folder.parent / PROOF).read_bytes(), PROOF, "run the demo again")
        if found["digest"] != program.digest:
            return None
        return {
            "bit_exact": found["bit_exact"] is True,
            "cycle_exact": found["checks"]["cycle_exact"] is True,
            "steps": int(found["steps"]), "simulator": str(found["simulator"]),
        }  # fmt: skip
    except (OSError, InputError, KeyError, TypeError, ValueError):
        return None  # some other file


def _names(folders: Sequence[Path]) -> list[str]:
    """Name each folder by as much of its path as tells it from the others."""
    parts = [
        folder.parts[-2:] if folder.name == "program" else folder.parts[-1:] for folder in folders
    ]
    parts = [part[:-1] if len(part) > 1 else part for part in parts]
    for more in range(1, 8):
        names = ["/".join(part) or "program" for part in parts]
        if len(set(names)) == len(names):
            break
        parts = [folder.parts[-1 - more :] for folder in folders]
    return names


def _command(args: argparse.Namespace) -> str:
    """Return the command of a page, with the names of files but not their folders."""
    words = ["gatewright", "report", *(folder.name for folder in args.folders)]
    for option in (
        "data",
        "model",
        "labels",
        "key",
        "forward",
        "expect",
        "order",
        "node",
        "nonlinearity",
    ):
        value = getattr(args, option)
        if value is not None:
            words += [f"--{option}", value.name if isinstance(value, Path) else value]
    for option in ("ignore", "head"):
        for value in getattr(args, option) or ():
            words += [f"--{option}", value]
    words += ["--no-check"] * args.no_check + ["--html", args.html.name]
    return shlex.join(words)


def _result(subject: Subject, folder: Path) -> dict[str, Any]:
    """Return the figures of a program, or those of a build with its program's."""
    from .board import placed

    if subject.build is None:
        return subject.analysis
    return placed(subject.build, folder) | {"analysis": subject.analysis}


def _text(subject: Subject, folder: Path) -> str:
    """Return the report of one program or build."""
    from ..compiler.report.text import to_text
    from .board import describe_build, placed

    if subject.build is None:
        return to_text(subject.analysis)
    text = describe_build(placed(subject.build, folder))
    return f"{text}\n\n{to_text(subject.analysis)}" if "data" in subject.analysis else text


def _side_by_side(subjects: Sequence[Subject]) -> str:
    """Return the main facts of several programs, a column each."""
    from ..compiler.report.verdicts import facts

    found = [{fact.label: fact for fact in facts(subject, subjects)} for subject in subjects]
    labels = dict.fromkeys(label for each in found for label in each)
    rows = [
        [label, *(each[label].value if label in each else "-" for each in found)]
        for label in labels
    ]
    return table(rows, ["", *(subject.name for subject in subjects)])
