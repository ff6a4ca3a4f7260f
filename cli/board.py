"""``boards``, ``build`` and ``flash``: onto a real board."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.errors import GatewrightError, InputError
from .common import Console, add_jobs, add_verb, percent, read_program, table

if TYPE_CHECKING:
    from ..hw.boards import Board

__all__ = ["add_verbs", "describe_build", "describe_target", "placed"]

PROFILED = ("luts", "multipliers", "block_rams")
"""Resources that ``profile`` shows as shares of the device."""


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this group."""
    parser = add_verb(verbs, "boards", boards, "list the boards: capacity, price class, what fits")
    parser.add_argument(
        "--program", metavar="PROGRAM", type=Path, help="profile this one, on its own lanes if it has some"
    )  # fmt: skip

    parser = add_verb(
        verbs, "profile", profile, "estimate a program on every board: fit, lanes, clock, speed",
        "One table, before synthesis. Outputs do not depend on the lanes.",
    )  # fmt: skip
    parser.add_argument("program", metavar="PROGRAM", type=Path, help="folder of a program")
    parser.add_argument(
        "--lanes", metavar="N", default="auto", help="lanes on all boards (chosen for each board)"
    )

    parser = add_verb(
        verbs, "build", build, "build a board's bitstream with tools that pip installs",
        "Searches the fastest clock at which the timing is met, unless --frequency gives one.",
    )  # fmt: skip
    parser.add_argument("program", metavar="PROGRAM", type=Path, help="folder of a program")
    parser.add_argument("--board", metavar="B", required=True, help="name, as 'boards' lists it")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder")
    parser.add_argument(
        "--lanes", metavar="N|auto", help="lanes; auto chooses them for the board (default: those "
        "of the program, chosen for the board where it leaves them open)"
    )  # fmt: skip
    parser.add_argument(
        "--frequency", metavar="MHZ", type=float, default=0.0, help="clock (default: the fastest)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of place and route (1)")
    parser.add_argument(
        "--tries", metavar="N", type=int, default=3, help="place and routes to find the clock (3)"
    )
    parser.add_argument(
        "--loadable", action="store_true", help="let weights be exchanged over the link"
    )
    parser.add_argument("--baud", type=int, default=1_000_000, help="of the link (1000000)")
    add_jobs(parser, "place and routes")

    parser = add_verb(verbs, "flash", flash, "write a build to its board")
    parser.add_argument("build", metavar="DIR", type=Path, help="folder of a build")
    parser.add_argument("--board", metavar="B", help="refuse a build for another board")
    parser.add_argument(
        "--persistent", action="store_true", help="write the flash: it stays after power-down"
    )


def describe_target(estimate: dict[str, Any], clock: float) -> str:
    """Return an estimate of :class:`~..hw.bitstream.target.Target` as text; clock in hertz."""
    rows = [
        (name.replace("_", " "), x["estimate"], x["available"])
        for name, x in estimate["resources"].items()
        if x["available"]
    ]
    text = table(rows, (f"on {estimate['name']}", "estimated", "of"))
    if estimate["fits"] is not True:
        return f"{text}\nwarning: does not fit: {estimate['fits']}"
    return f"{text}\n{estimate['steps_per_second']:,.0f} steps a second at {clock / 1e6:g} MHz"


def boards(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """List the boards."""
    from ..hw.boards import BOARDS

    if args.program:
        args.lanes = None
        return profile(args, console)
    found = [_capacity(board) for board in BOARDS.values()]
    rows = [
        (entry["name"], entry["device"], entry["luts"], entry["multipliers"], entry["block_rams"],
         entry["block_ram_kbit"], board.capacity.spram_bits // 8192, board.price_class)
        for board, entry in zip(BOARDS.values(), found, strict=True)
    ]  # fmt: skip
    head = ("board", "device", "LUTs", "multipliers", "block RAMs", "kbit", "SPRAM kB", "price")
    console.say(table(rows, head))
    return {"boards": found}


def _capacity(board: Board) -> dict[str, Any]:
    """Return what a board has, by name."""
    have = board.capacity.resources
    return {
        "name": board.name, "title": board.title, "device": board.device, "family": board.family,
        "price": board.price, "clock_mhz": board.clock / 1e6,
        "block_ram_kbit": have["block_rams"] * board.capacity.block_ram_bits // 1024, **have,
    }  # fmt: skip


def profile(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Estimate a program on every board."""
    from ..compiler.program.program import Program
    from ..hw.bitstream.profile import profile as estimate

    program = read_program(args.program)
    if not isinstance(program, Program):
        raise InputError(
            f"{args.program} has {len(program.passes)} passes, each a bitstream of its own: name "
            f"one of them, such as {args.program / 'pass0'}"
        )
    found = estimate(program, lanes=_lanes(args.lanes), progress=console.progress)
    fitting = sorted(
        (e for e in found if not e.refusal), key=lambda e: (e.microseconds, e.board.price)
    )
    rows = [
        (e.board.name, e.board.price_class, e.lanes, f"{e.clock / 1e6:.0f}", f"{e.estimate.cycles_per_step:,}",
         f"{e.microseconds:,.2f}", f"{1e6 / e.microseconds:,.0f}",
         *(percent(e.fullness.get(name, 0)) for name in PROFILED),
         "loaded" if e.loadable else "in the bitstream")
        for e in fitting if e.estimate
    ]  # fmt: skip
    head = ("board", "price", "lanes", "MHz", "cycles", "us a step", "steps a second",
            *(name.replace("_", " ") for name in PROFILED), "weights")  # fmt: skip
    if rows:
        console.say(table(rows, head))
    for each in found:
        if each.refusal:
            console.say(f"{each.board.name}: {each.refusal}")
    if fitting:
        cheapest = min(fitting, key=lambda e: (e.board.price, e.microseconds))
        chosen = args.lanes == "auto" and any(e.lanes != program.config.lanes for e in fitting)
        console.say(
            f"\nfastest: {fitting[0].board.name}; cheapest: {cheapest.board.name}. Cycles are exact; "
            "clocks and LUTs are estimates, which gatewright build"
            f"{' --lanes auto' if chosen and program.config.lanes else ''} replaces by what it reaches"
        )
    return {"boards": [_capacity(e.board) | e.to_json() for e in found]}


def build(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Build a bitstream."""
    from ..compiler.program.program import Program
    from ..hw.bitstream.build import build as make
    from ..hw.bitstream.plan import Options
    from ..hw.boards import find_board

    board = find_board(args.board)
    program = read_program(args.program)
    if not isinstance(program, Program):
        raise InputError(
            f"{args.program} has {len(program.passes)} passes, each a bitstream of its own: build "
            f"its folders {args.program / 'pass0'} and so on"
        )
    options = Options(
        lanes=_lanes(args.lanes), frequency=args.frequency * 1e6, seed=args.seed,
        tries=args.tries, loadable=args.loadable, baud=args.baud,
    )  # fmt: skip
    try:
        report = make(program, board, args.output, options, console.note, args.jobs)
    except GatewrightError as error:
        if error.result:
            error.result = placed(error.result, args.output)
        raise
    report = placed(report, args.output)
    console.say(describe_build(report))
    return report


def _lanes(text: str | None) -> int | None:
    """Read ``--lanes``: a number, ``auto``, or nothing."""
    if text is None or text == "auto":
        return None if text is None else 0
    if not text.isdigit() or not 0 < int(text) <= 4096:
        raise InputError(f"--lanes is auto or a whole number from 1 to 4096, not {text!r}")
    return int(text)


def placed(report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a report with the path of the bitstream instead of its name."""
    name = report.get("bitstream")
    return {**report, "bitstream": str(folder / name) if name else None}


def describe_build(report: dict[str, Any]) -> str:
    """Return a build's report as text."""
    rows = [
        ("board", f"{report['board']} ({report['device']})"),
        ("program", report["program"][:16] + (", weights exchangeable" * report["loadable"])),
        ("engine", f"{report['lanes']} lanes, {report['cycles_per_step']:,} cycles a step"),
    ]
    if "fmax_mhz" in report:
        verdict = "met" if report["met"] else "MISSED"
        rows += [
            ("clock", (f"{report['target_mhz']:.2f} MHz, {verdict}: reaches {report['fmax_mhz']:.2f} "
             f"(seed {report['seed']})")),
            ("speed", (f"{report['steps_per_second']:,.0f} steps a second, "
             f"{report['microseconds_per_step']:,.2f} microseconds a step")),
        ]  # fmt: skip
    if report.get("hold_violations"):
        rows.append(("hold", f"{report['hold_violations']} violations named by place and route"))
    rows.append(("tools", ", ".join(f"{n} {v}" for n, v in report["tools"].items())))
    rows.append(("bitstream", report["bitstream"] or f"none: {report.get('error', '')}"))
    text = table(rows)
    if "resources" in report:
        found = [
            (name.replace("_", " "), x["used"], x["available"],
             f"{100 * x['used'] / x['available']:.0f} %", report["estimate"].get(name, ""))
            for name, x in report["resources"].items()
        ]  # fmt: skip
        text += "\n\n" + table(found, ("resource", "used", "of", "", "estimated"))
    return text


def flash(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Write a build to its board."""
    from ..hw.bitstream.build import read_build
    from ..hw.bitstream.programmer import flash as write
    from ..hw.boards import find_board

    report = read_build(args.build)
    board = find_board(args.board or report["board"])
    done = write(board, args.build, report, persistent=args.persistent, progress=console.note)
    console.say(f"{done['bitstream']} is in the {done['memory']} of {board.name}")
    if not board.sram and not args.persistent:
        console.note(f"{board.name} is written through its flash: there is no way around it here")
    return done
