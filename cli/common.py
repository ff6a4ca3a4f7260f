"""Console, argument parser and tables that every verb shares."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from ..compiler.errors import GatewrightError, InputError, did_you_mean
from .tables import table

if TYPE_CHECKING:
    from ..compiler.files.recording import Recording
    from ..compiler.jobs import Jobs
    from ..compiler.program.chain import Chain
    from ..compiler.program.program import Program
    from .terminal import Bar

__all__ = [
    "Console",
    "Parser",
    "Verb",
    "add_jobs",
    "add_verb",
    "percent",
    "read_program",
    "read_recording",
    "select",
    "table",
    "with_result",
]

SHOWN = 8  # classes that are listed

Verb = Callable[[argparse.Namespace, "Console"], dict[str, Any]]


def with_result(error: GatewrightError, result: dict[str, Any]) -> GatewrightError:
    """Attach what was found all the same to an error, for ``--json``."""
    error.result = result
    return error


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are the user's input at fault, like any other."""

    def error(self, message: str) -> NoReturn:
        """Refuse arguments, with the verb or option that is closest to one that is not known."""
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message, re.DOTALL)
        option = re.search(r"unrecognized arguments: (--[\w-]+)", message)
        hint = ""
        if choice:
            hint = did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
        elif option:
            names = [name.lstrip("-") for name in self._options()]
            hint = did_you_mean(option[1].lstrip("-"), names).replace(" '", " '--")
        raise InputError(f"{message}{hint or ';'} see: {self.prog} --help")

    def _options(self) -> list[str]:
        """Return the options of this parser and of its verbs."""
        found = list(self._option_string_actions)
        return [*found, *(name for v in self.verbs.values() for name in v._option_string_actions)]

    @property
    def verbs(self) -> dict[str, Parser]:
        """Parsers of the verbs, by name."""
        return {
            name: parser
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name, parser in action.choices.items()
        }


def add_verb(verbs: Any, name: str, run: Verb, text: str, detail: str = "") -> Parser:
    """Add a verb with the options that all verbs have, and return its parser."""
    parser: Parser = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {detail}".rstrip(),
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and no text")
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    parser.add_argument(
        "--memory", metavar="GIB", type=_gibibytes, help="memory that reading a file may take (2)"
    )
    parser.set_defaults(run=run)
    return parser


def add_jobs(parser: Parser, what: str) -> None:
    """Add the option that says how many jobs run side by side."""
    parser.add_argument(
        "--jobs", metavar="N|ADDRESS", type=_jobs, default=1,
        help=f"{what} side by side, or the address of a Dask scheduler (1)",
    )  # fmt: skip


def _jobs(text: str) -> Jobs:
    """Read a number of processes or an address."""
    from ..compiler.jobs import check_jobs

    return check_jobs(text)


def _gibibytes(text: str) -> int:
    """Read a size in GiB as bytes."""
    value = float(text)
    if not 0 < value < 1 << 20:
        raise argparse.ArgumentTypeError(f"{text} is not a size from 0 to 1048576 GiB")
    return int(value * (1 << 30))


class Console:
    """Text for people on standard output, or JSON for programs; progress on standard error.

    Parameters
    ----------
    out : text file
        Standard output, which verbs reach by this object only.
    as_json : bool
        Print nothing but the final object.
    """

    def __init__(self, out: IO[str], as_json: bool) -> None:
        self.out, self.as_json = out, as_json
        self._shown = 0.0
        self._bar: Bar | None = None

    def say(self, text: str = "") -> None:
        """Print a line of the result for people; a table as :func:`table` returns it."""
        if self.as_json:
            return
        self.close()
        if capable(self.out):
            from .terminal import print_result

            print_result(self.out, text)
        else:
            print(text, file=self.out)

    def result(self, value: dict[str, Any]) -> None:
        """Print the result for programs."""
        self.close()
        if self.as_json:
            print(json.dumps(value, indent=1, default=_plain), file=self.out)

    def note(self, text: str) -> None:
        """Print a line that is not part of the result."""
        bar = self._terminal()
        if bar:
            bar.note(text)
        else:
            print(text, file=sys.stderr)

    def progress(self, done: float, text: str = "") -> None:
        """Show how much of a task is done (0 to 1), at most every half second.

        On a terminal by a bar with the time that is left, else by a line.
        """
        now = time.monotonic()
        if now - self._shown > 0.5:
            self._shown = now
            bar = self._terminal()
            if bar:
                bar.show(done, text)
            else:
                self.note(f"  {100 * done:3.0f} %  {text}".rstrip())

    def close(self) -> None:
        """Take the bar away, if there is one."""
        if self._bar:
            self._bar.end()

    def _terminal(self) -> Bar | None:
        """Return the bar of standard error; None where that is no terminal."""
        if self._bar is None and capable(sys.stderr):
            from .terminal import Bar

            self._bar = Bar(sys.stderr)
        return self._bar

    @contextlib.contextmanager
    def stage(self, name: str, times: dict[str, float]) -> Iterator[None]:
        """Announce a stage and record how many seconds it took."""
        self.note(f"{name} ...")
        start = time.monotonic()
        yield
        times[name] = round(time.monotonic() - start, 2)


def capable(stream: IO[str]) -> bool:
    """Tell whether a stream is a terminal that takes colours, and nobody has forbidden them."""
    forbidden = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not forbidden


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays, and paths, into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextlib.contextmanager
def standard_output() -> Iterator[IO[str]]:
    """Give standard output to the caller alone.

    Whatever else writes to it, tools that are called included, reaches standard error.
    """
    own = sys.stdout
    try:
        number = own.fileno()
    except (OSError, ValueError):  # replaced by an object in memory
        with contextlib.redirect_stdout(sys.stderr):
            yield own
        return
    own.flush()
    with os.fdopen(os.dup(number), "w", encoding=own.encoding, errors=own.errors) as out:
        try:
            os.dup2(2, number)
            with contextlib.redirect_stdout(sys.stderr):
                yield out
                out.flush()
        finally:
            os.dup2(out.fileno(), number)


def percent(fraction: float) -> str:
    """Format a fraction as a percentage."""
    return f"{100 * fraction:.1f} %"


def read_program(folder: Path) -> Program | Chain:
    """Read a program's folder, of one pass or of several."""
    from ..compiler.program.chain import load_program

    return load_program(folder)


def read_recording(path: Path, features: int, limit: int = 0) -> Recording:
    """Read input data, the first ``limit`` sequences of it where that is not zero."""
    from ..compiler.files.recording import read_x

    data = read_x(path, features)
    if data.classes:
        shown = [f"{k} is {name!r}" for k, name in enumerate(data.classes[:SHOWN])]
        more = f" and {len(data.classes) - SHOWN} more" if len(data.classes) > SHOWN else ""
        print(
            f"warning: the labels in {path.name} are text, taken in sorted order for the outputs of "
            f"the model: {', '.join(shown)}{more}",
            file=sys.stderr,
        )
    return select(data, slice(limit)) if limit and data.x.ndim == 3 else data


def check_parent(path: Path) -> None:
    """Refuse a file whose folder is not there, before the work for it begins."""
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; make it first")


def select(data: Recording, sequences: Any) -> Recording:
    """Take some sequences of a recording, named as an index of an array."""
    from ..compiler.files.recording import Recording

    lengths, labels = (
        None if part is None else part[sequences] for part in (data.lengths, data.labels)
    )
    return Recording(data.x[sequences], lengths, labels, data.classes)
