"""Reference pages made from the code: the command line from its parser, the API from docstrings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isclass

from gatewright.cli.main import build_parser

import gatewright as gw

__all__ = ["ROOMS", "api", "cli"]

SHARED = ("-h", "--json", "-v", "--memory")
"""Options of every verb, described once at the head of the page."""

ROOMS = {
    "compiler.training.layers": "GRU LSTM RNN MGU Linear",
    "compiler.training.network": "calibrate to_program",
    "compiler.ir.cells": "Cell Gate",
    "host.serial_port": "SerialPort",
    "sim.board": "SimulatedBoard",
    "sim.verilated": "VerilatedBoard build_board",
    "hw.boards.board": "Board",
}
"""Public rooms beyond the facade, and the names of each that the pages use."""


def _escape(text: str) -> str:
    """Keep signs of Markdown as they are, in a cell of a table."""
    return re.sub(r"([|*_<>\[\]`$])", r"\\\1", text)


def _name(action: argparse.Action) -> str:
    """Return an option as it is typed: its names, and its value."""
    value = action.metavar or (
        "|".join(map(str, action.choices)) if action.choices else action.dest.upper()
    )
    names = [f"`{name}`" for name in action.option_strings]
    if action.nargs == 0:
        return ", ".join(names)
    shown = f"`{value}`".replace("|", "\\|")
    return f"{', '.join(names)} {shown}".strip()


def _table(actions: list[argparse.Action]) -> Iterator[str]:
    if actions:
        yield from ("| argument | meaning |", "| --- | --- |")
        for action in actions:
            yield f"| {_name(action)} | {_escape(action.help or '')} |"
        yield ""


def _shared(action: argparse.Action) -> bool:
    return any(name in SHARED for name in action.option_strings)


def verbs() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb."""
    [found] = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found.choices)


def cli() -> str:
    """Return a section for each verb of the command line, as Markdown."""
    lines = ["## Options of every verb", ""]
    lines += _table([a for a in next(iter(verbs().values()))._actions if _shared(a)])
    for name, parser in verbs().items():
        lines += [f"## {name}", "", _escape(parser.description or ""), ""]
        for group in parser._action_groups:
            actions = [a for a in group._group_actions if not _shared(a)]
            own = group.title not in ("positional arguments", "options")
            lines += [f"{str(group.title).capitalize()}:", ""] if own and actions else []
            lines += _table(actions)
    return "\n".join(lines)


def _entry(name: str, value: object) -> list[str]:
    kind = "autoclass" if isclass(value) else "autofunction"
    return ["```{eval-rst}", f".. {kind}:: {name}", "```", ""]


def api() -> str:
    """Return an entry for each public name of the facade, in the order of the data."""
    lines = ["## The facade", ""]
    for name in gw._HOME:
        lines += [f"### {name}", "", *_entry(f"gatewright.{name}", getattr(gw, name))]
    lines += ["## Rooms below it", ""]
    for room, names in ROOMS.items():
        module = import_module(f"gatewright.{room}")
        lines += [f"### gatewright.{room}", ""]
        for name in names.split():
            lines += _entry(f"{module.__name__}.{name}", getattr(module, name))
    return "\n".join(lines)
