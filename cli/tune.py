"""``tune``: the cheapest widths that keep a metric."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.errors import InputError
from .common import Console, add_jobs, add_verb, read_recording, table
from .knobs import add_knobs, read_config
from .program import add_model, read_model

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_verbs", "read_labels"]


def add_verbs(verbs: Any) -> None:
    """Add the verb of this group."""
    parser = add_verb(
        verbs, "tune", tune, "find the cheapest widths that keep a metric",
        "Writes the program, config.toml, pareto.png, result.json and a journal: an interrupted "
        "search goes on, a finished one returns at once.",
    )  # fmt: skip
    add_model(parser)
    parser.add_argument(
        "--data", metavar="X", type=Path, required=True,
        help="data to evaluate on (.npy .npz .csv); without --calibration half of it calibrates",
    )  # fmt: skip
    parser.add_argument("--calibration", metavar="X", type=Path, help="data to calibrate on")
    parser.add_argument(
        "--labels", metavar="Y", type=Path,
        help="classes, or outputs that are wanted (.npy, .npz key y); default: key y of --data",
    )  # fmt: skip
    parser.add_argument(
        "--max-loss", metavar="L", type=float, required=True,
        help="what may be lost against float: points, dB, percent or absolute, as the metric says",
    )  # fmt: skip
    parser.add_argument(
        "--metric", metavar="accuracy|nmse|rms|max", default="",
        help="default: accuracy with classes, nmse with wanted outputs, rms without labels",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the split (0)")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder")
    add_jobs(parser, "evaluations")
    add_knobs(parser)


def read_labels(path: Path) -> np.ndarray:
    """Read classes (integers) or wanted outputs (floats) from ``.npy`` or ``.npz`` (key ``y``)."""
    import numpy as np

    from ..compiler.files.npy import read_npy, read_npz

    if zipfile.is_zipfile(path):
        arrays = read_npz(path, {"y"})
        if "y" not in arrays:
            raise InputError(f"cannot read labels {path}: it has no key 'y'")
        array = arrays["y"]
    else:
        array = read_npy(path)
    if array.dtype.kind == "U":
        raise InputError(
            f"labels {path} are text; number them 0, 1 and so on, or put them beside x, as key y of an .npz"
        )
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InputError(f"labels {path} are {array.dtype}; they must be finite numbers")
    return array


def tune(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Search, and write the program that was found."""
    from ..compiler.analysis.metric import check_class_names
    from ..compiler.tuning.plot import rows
    from ..compiler.tuning.search import tune as search

    config = read_config(args)
    if not 0 <= args.seed < 1 << 32:
        raise InputError(f"--seed is a whole number from 0 to {(1 << 32) - 1}, not {args.seed}")
    model = read_model(args, args.model)
    data = read_recording(args.data, model.input_size)
    fit = read_recording(args.calibration, model.input_size) if args.calibration else None
    check_class_names(() if args.labels else data.classes, model.output_size)
    labels = read_labels(args.labels) if args.labels else data.labels
    tuning = search(
        model, data.x, args.max_loss, lengths=data.lengths, labels=labels,
        calibration=None if fit is None else fit.x,
        calibration_lengths=None if fit is None else fit.lengths,
        metric=args.metric, config=config, seed=args.seed, folder=args.output,
        progress=console.progress, jobs=args.jobs,
    )  # fmt: skip
    about, chosen = tuning.about, tuning.chosen
    head, *body = rows(tuning)
    saved = 100 * (1 - chosen.memory / tuning.start.memory)
    console.say(
        f"{about['split']}; metric {about['metric']} ({about['unit']}), "
        f"{about['evaluations']} evaluations\n"
    )
    console.say(table(body, head))
    console.say(
        f"\nchosen: loss {chosen.loss:.3g} of {about['max_loss']:g} allowed, {chosen.memory:,} bits "
        f"of memory, {abs(saved):.0f} % {'less' if saved >= 0 else 'more'} than at the start"
    )
    for name in ("program", "config.toml", "pareto.png", "result.json"):
        console.say(f"written: {args.output / name}")
    return {**tuning.to_json(), "output": str(args.output)}
