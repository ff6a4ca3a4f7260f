"""Every knob of :class:`~gatewright.compiler.config.Config` as an option, or from a file."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..compiler.config import Config, parse_weight_bits
from ..compiler.errors import InputError
from ..compiler.numerics.activation import KINDS
from .common import Parser

__all__ = ["add_knobs", "read_config"]


def add_knobs(parser: Parser) -> Any:
    """Add the options; return their group in the help."""
    parser.add_argument("--config", metavar="FILE.toml", type=Path, help="options from a file")
    group = parser.add_argument_group("fixed point and engine")
    default = Config()
    group.add_argument(
        "--weight-bits", metavar="2..16[,LAYER[.GATE]=N]", type=_weight_bits,
        help=f"width of a weight (default {default.weight_bits}), and of single layers and gates, "
        "as in 8,gru0=6,gru0.n=4",
    )  # fmt: skip
    for name, metavar, text in (
        ("activation-bits", "2..16", "width of an input or operand"),
        ("state-bits", "2..16", "width of a state"),
        ("gate-bits", "2..16", "width of a gate"),
    ):
        value = getattr(default, name.replace("-", "_"))
        text = f"{text} (default {value})"
        group.add_argument(f"--{name}", metavar=metavar, type=_whole, help=text)
    group.add_argument("--lanes", type=_lanes, metavar="N|auto", help="multiply-accumulate lanes")
    group.add_argument("--activation", metavar="|".join(KINDS), help="how tanh is evaluated")
    group.add_argument("--rounding", metavar="compensated|nearest", help="how weights are rounded")
    group.add_argument(
        "--calibration-method", metavar="error|minmax|percentile|mse",
        help="how formats are chosen on the calibration data",
    )  # fmt: skip
    group.add_argument(
        "--argmax",
        action="store_true",
        default=None,
        help="emit only the index of the largest output",
    )
    group.add_argument("--rate", type=_number, metavar="R", help="steps per second that auto meets")
    group.add_argument("--clock", type=_number, metavar="HZ", help="clock that --rate counts on")
    group.add_argument(
        "--engine", metavar="dense|delta", help="delta: report what skipping unchanged columns saves"
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=_whole, metavar="CODES",
        help="delta: pass a state on only where its operand changed by more codes than this",
    )  # fmt: skip
    group.add_argument(
        "--threshold-input", type=_whole, metavar="CODES",
        help="the same for the elements of x (default: as --threshold)",
    )  # fmt: skip
    group.add_argument(
        "--spare", metavar="0..8", type=_whole,
        help="bits of head room for the weights of a model trained again (default 0), see --like",
    )  # fmt: skip
    group.add_argument(
        "--streams", metavar="1..64", type=_whole,
        help="sequences that share the core and take steps in turn (default 1): their waits overlap",
    )  # fmt: skip
    return group


def read_config(args: argparse.Namespace, base: Config | None = None) -> Config:
    """Join defaults, the configuration file and the options, which win."""
    base = Config.from_toml(args.config) if args.config else base or Config()
    given = {f.name: getattr(args, f.name, None) for f in fields(Config)}
    given |= given.pop("weight_bits") or {}
    if given["weight_widths"]:
        given["weight_widths"] = {**base.weight_widths, **given["weight_widths"]}
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _weight_bits(text: str) -> dict[str, Any]:
    try:
        return parse_weight_bits(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _lanes(text: str) -> int:
    return 0 if text == "auto" else _whole(text)
