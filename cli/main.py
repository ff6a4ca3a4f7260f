"""The ``gatewright`` command: one parser, and one place that maps errors to exit codes."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
import warnings
from collections.abc import Sequence

from ..compiler.errors import GatewrightError, InputError
from ..compiler.files.budget import memory_limit
from . import board, environment, evaluate, example, program, report, run, tune
from .common import Console, Parser, standard_output

__all__ = ["build_parser", "main", "with_flags"]

INTERRUPTED = 130
FLAGS = {
    "calibration": "--calibration",
    "labels": "--labels",
    "max_loss": "--max-loss",
    "spare": "--spare",
    "threshold": "--threshold",
    "weight_bits": "--weight-bits",
}
"""Options of the command line by the parameters of the library that its messages name."""


def build_parser() -> Parser:
    """Return the parser; verbs are in the order of the data."""
    parser = Parser(
        prog="gatewright",
        description="Takes a trained gated recurrent network to verified FPGA hardware.",
        epilog="Exit codes: 0 done, 1 the input is at fault, 2 a check failed, 3 a tool missing.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for group in (example, program, tune, evaluate, board, run, report, environment):
        group.add_verbs(verbs)
    parser.set_defaults(root=parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 the input is at fault, 2 a check failed, 3 a tool is missing,
        130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "-v" in given or "--verbose" in given
    try:
        # Help and version belong on standard output, so they come before it is kept apart.
        parser = build_parser()
        early = Console(sys.stdout, "--json" in given)
        try:
            args = parser.parse_args(given)
        except InputError as error:
            return _failed(error, early, verbose)
        except SystemExit as done:  # --help
            return int(done.code or 0)
        if args.version:
            return _version(early)
        if "run" not in args:
            parser.print_help()
            return 0
        with standard_output() as out:
            console = Console(out, args.json)
            try:
                with warnings.catch_warnings():
                    warnings.showwarning = _warn
                    with memory_limit(args.memory):
                        result = args.run(args, console)
                        open_ = getattr(args, "not_compared", None)
                        console.result(
                            result if open_ is None else result | {"not_compared": open_}
                        )
                        if open_:
                            console.note(_not_compared(open_))
            except (Exception, KeyboardInterrupt) as error:
                return _failed(error, console, verbose)
        return 0
    except (OSError, KeyboardInterrupt) as error:  # standard output itself failed
        with contextlib.suppress(OSError):
            _explain(error, verbose)
        return _code(error)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Show a library's warning as one line, without its place in the source."""
    print(f"warning: {message}", file=sys.stderr)


def _not_compared(open_: list[str]) -> str:
    """Say what of a model was taken for granted: the last line of every verb that reads one."""
    return (
        f"warning: not compared with your model: {'; '.join(open_)}. Record x and what the model "
        "gives, np.savez('y.npz', x=x, y=y), and add --expect y.npz"
    )


def _version(console: Console) -> int:
    from importlib.metadata import version

    console.say(f"gatewright {version('gatewright')}")
    console.result({"version": version("gatewright")})
    return 0


def _code(error: BaseException) -> int:
    """Map an error to an exit code."""
    if isinstance(error, GatewrightError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "exit_code", INTERRUPTED)
    if isinstance(error, ImportError):
        return 3
    if isinstance(error, OSError | MemoryError):
        return 1
    return 2


def with_flags(message: str) -> str:
    """Name options where the library names parameters: ``--threshold 0`` for ``threshold=0``."""
    return re.sub(
        rf"(?<!\S)({'|'.join(FLAGS)})=(\w?)",
        lambda match: f"{FLAGS[match[1]]} {match[2]}".rstrip(),
        message,
    )


def _message(error: BaseException) -> str:
    """Say in one message what went wrong."""
    if isinstance(error, GatewrightError):
        return with_flags(str(error))
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed: pip install 'gatewright[all]'"
    if isinstance(error, BrokenPipeError):
        return "the output was closed before everything was written"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error or 'use less data, or a smaller model'}"
    return (
        f"internal error, please report it: {type(error).__name__}: {error} "
        "(-v shows the traceback)"
    )


def _explain(error: BaseException, verbose: bool) -> None:
    if verbose:
        traceback.print_exception(error, file=sys.stderr)
    print(f"error: {_message(error)}", file=sys.stderr, flush=True)


def _failed(error: BaseException, console: Console, verbose: bool) -> int:
    """Report an error as text, and as JSON where asked; return the exit code."""
    console.close()
    _explain(error, verbose)
    code = _code(error)
    console.result(
        {**(getattr(error, "result", None) or {}), "error": _message(error), "exit_code": code}
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
