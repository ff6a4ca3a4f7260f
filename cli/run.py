"""``run``: data through a board, each code compared with the golden model."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.errors import CheckError, InputError
from .common import Console, add_verb, percent, read_program, read_recording, with_result
from .evaluate import check_output

if TYPE_CHECKING:
    from ..compiler.files.recording import Recording
    from ..compiler.program.program import Program
    from ..host.device import Device
    from ..hw.boards import Board

__all__ = ["add_verbs", "play"]

BAUD = 1_000_000
CLOCK_MHZ = 12.0
"""Of a board that is simulated without a build."""
SIMULATED = "sim"


def add_verbs(verbs: Any) -> None:
    """Add the verb of this file."""
    parser = add_verb(
        verbs, "run", run, "run data through a board",
        "Exit code 2 unless every code equals that of the golden model.",
    )  # fmt: skip
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="folder of the board's build, or of its program"
    )
    parser.add_argument("x", metavar="X", type=Path, help="input: .npy .npz .csv")
    parser.add_argument("-o", "--output", metavar="Y", type=Path, help="outputs: .npy .npz .csv")
    parser.add_argument(
        "--port",
        metavar="P",
        required=True,
        help="serial port, such as /dev/ttyUSB1 or COM3; "
        f"{SIMULATED}: no board, the whole design in Verilator",
    )
    parser.add_argument(
        "--baud", type=int, default=0, help=f"rate of the port (default: the build's, or {BAUD})"
    )
    parser.add_argument(
        "--state", metavar="FILE.npy", type=Path,
        help="initial state, (words,) or (sequences, words): h of each layer, then its c",
    )  # fmt: skip
    parser.add_argument("--limit", metavar="N", type=int, default=0, help="first N sequences only")
    parser.add_argument(
        "--verify", action="store_true",
        help="compare what the board's memories hold before and after the run; exit code 2 if it is "
        "not the program",
    )  # fmt: skip
    parser.add_argument(
        "--verify-every",
        metavar="N",
        type=int,
        default=0,
        help="also after every N steps; a board that was hit is loaded again, and the steps are repeated",
    )
    parser.add_argument("--no-check", action="store_true", help="leave out the golden model")


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run data through a board."""
    import numpy as np

    from ..compiler.analysis.emulation import accuracy
    from ..compiler.arrays import valid_steps
    from ..compiler.files.recording import write_y
    from ..compiler.program.states import read_state
    from ..host.device import Counters, Device

    if args.limit < 0:
        raise InputError(f"--limit is a number of sequences, not {args.limit}")
    if args.verify_every < 0:
        raise InputError(f"--verify-every is a number of steps, not {args.verify_every}")
    program, build = _board(args.folder)
    baud = args.baud or build["baud"]
    if baud < 0:
        raise InputError(f"--baud is a rate in bits per second, not {args.baud}")
    data = read_recording(args.x, program.input_size, args.limit)
    check_output(args.output, data)
    codes = program.encode(data.x)
    state = (
        read_state(args.state, [p.network for p in program.passes], len(codes))
        if args.state
        else None
    )

    with _open(args.port, program, {**build, "baud": baud}, console) as (port, seconds_now):
        device = Device(port, program, scrub=args.verify_every)
        _load(device, console)
        if args.verify:
            _verify(device, "before the run: nothing was run")
        before = device.counters()
        start = seconds_now()
        made = device.run_codes(codes, state, lengths=data.lengths, progress=console.progress)
        seconds = seconds_now() - start
        counters = device.counters()
        if args.verify:
            _verify(device, "after the run: its outputs are not to be trusted, none were written")

    if device.scrubs.upsets:  # the counters began anew
        before = Counters(0, 0, 0)
    valid = valid_steps(data.lengths, *codes.shape[:2])
    steps = int(valid.sum())
    outputs = np.where(valid[..., None], program.decode(made), 0.0)
    result: dict[str, Any] = {
        "steps": steps,
        "sequences": len(codes),
        "seconds": round(seconds, 3),
        "steps_per_second": round(steps / seconds, 1) if seconds else None,
        "simulated": args.port == SIMULATED,
        "counters": {
            name: getattr(counters, name) - getattr(before, name) for name in counters.__dataclass_fields__
        },
        "link": device.session.counts.__dict__,
        "board": {
            "program": device.identity.program.hex(), "hardware": device.identity.hardware.hex(),
            "clock_hz": device.identity.clock_hz, "lanes": device.identity.lanes,
            "loadable": device.loadable,
        },
        "verify": asdict(device.scrubs) if args.verify or args.verify_every else None,
        "accuracy": accuracy(outputs, data),
        "bit_exact": None,
        "mismatch": "",
    }  # fmt: skip
    if args.output:
        write_y(args.output, outputs[0] if data.x.ndim == 2 else outputs)
        result["output"] = str(args.output)
    if not args.no_check:
        expected = program.evaluate(codes, state, data.lengths).outputs
        wrong = np.argwhere((expected != made) & valid[..., None])
        result["bit_exact"] = not len(wrong)
        if len(wrong):
            n, t, k = (int(i) for i in wrong[0])
            result["mismatch"] = (
                f"sequence {n}, step {t}, output {k}: expected {expected[n, t, k]}, got "
                f"{made[n, t, k]}; {len(wrong)} of {steps * made.shape[2]} codes differ"
            )
            raise with_result(
                CheckError(f"the board is not bit-exact: {result['mismatch']}"), result
            )
        console.say(f"bit-exact: {steps:,} steps, every output equals golden")
    console.say(
        f"{steps:,} steps in {seconds:.2f} s{' of the simulated board' * result['simulated']}, "
        f"{steps / max(seconds, 1e-9):,.0f} a second"
    )
    _say_counters(result, console)
    if result["verify"]:
        scrubs = device.scrubs
        console.say(
            f"memories: verified {scrubs.passes} times, {scrubs.upsets} upsets, "
            f"{scrubs.repeated_steps} steps repeated"
        )
    if result["accuracy"] is not None:
        console.say(f"accuracy at the last step: {percent(result['accuracy'])}")
    if args.output:
        console.say(f"written: {args.output}")
    return result


@contextmanager
def _open(
    port: str, program: Program, build: dict[str, Any], console: Console
) -> Iterator[tuple[Any, Callable[[], float]]]:
    """Open the way to a board, for the duration of a block, and give the clock of its time in seconds."""
    if port == SIMULATED:
        from ..sim.verilated import simulated_board

        with simulated_board(
            program, clock_hz=build["target_mhz"] * 1e6, baud=build["baud"],
            loadable=build["loadable"], progress=console.note,
        ) as board:  # fmt: skip
            yield board, lambda: board.cycle / board.clock_hz
        return
    from ..host.serial_port import SerialPort

    with closing(SerialPort(port, build["baud"])) as serial:
        yield serial, time.monotonic


def play(program: Program, board: Board, data: Recording, console: Console) -> dict[str, Any]:
    """Lay a program out for a board, simulate all of it, and run data through it.

    Returns what is to be known of the run; ``bit_exact`` says whether every code equals golden.
    """
    from ..compiler.arrays import valid_steps
    from ..host.device import Device
    from ..hw.bitstream.plan import Options, prepare

    # As many lanes as the board has room for.
    laid, options, _ = prepare(program, board, Options(lanes=0))
    codes = laid.encode(data.x)
    build = {
        "target_mhz": board.typical_clock / 1e6, "baud": BAUD, "loadable": options.loadable,
    }  # fmt: skip
    with _open(SIMULATED, laid, build, console) as (port, seconds_now):
        device = Device(port, laid)
        _load(device, console)
        start = seconds_now()
        made = device.run_codes(codes, lengths=data.lengths, progress=console.progress)
        seconds = seconds_now() - start
    valid = valid_steps(data.lengths, *codes.shape[:2])
    steps = int(valid.sum())
    expected = laid.evaluate(codes, None, data.lengths).outputs
    return {
        "name": board.name, "lanes": laid.geometry.lanes, "clock_mhz": build["target_mhz"],
        "steps": steps, "steps_per_second": round(steps / seconds, 1),
        "bit_exact": bool((made == expected)[valid].all()),
    }  # fmt: skip


def _board(folder: Path) -> tuple[Program, dict[str, Any]]:
    """Read the program that a board holds, and ``baud``, ``target_mhz`` and ``loadable`` of its build."""
    from ..compiler.program.program import Program

    build: dict[str, Any] = {"baud": BAUD, "target_mhz": CLOCK_MHZ, "loadable": False}
    if (folder / "build.json").is_file():
        from ..hw.bitstream.build import read_build

        report = read_build(folder)
        build |= {name: report[name] for name in build if report.get(name) is not None}
        limits = {"baud": (int, 1 << 30), "target_mhz": (int | float, 10_000)}
        for name, (kind, limit) in limits.items():
            if not isinstance(build[name], kind) or not 0 < build[name] < limit:
                raise InputError(
                    f"{folder / 'build.json'} is damaged ({name} is {str(build[name])[:40]}); build "
                    "again: gatewright build"
                )
        build["loadable"] = bool(build["loadable"])
        folder = folder / "program"
    program = read_program(folder)
    if not isinstance(program, Program):
        raise InputError(
            f"{folder} has {len(program.passes)} passes, each a bitstream of its own: name one of them, "
            f"such as {folder / 'pass0'}"
        )
    return program, build


def _load(device: Device, console: Console) -> None:
    """Load the weights where the board takes them and has others, or none."""
    if not device.loaded and device.loadable:
        console.note("loading weights ...")
        device.load(progress=console.progress)


def _verify(device: Device, when: str) -> None:
    """Refuse a board whose memories hold something else than the program."""
    if not device.verify():
        raise CheckError(
            f"{device.name}: the board's memories do not hold the program, found {when}. An upset, or "
            "the supply, changed them; run again: the board is then loaded anew. --verify-every N "
            "repeats what was hit"
        )


def _say_counters(result: dict[str, Any], console: Console) -> None:
    counters, link = result["counters"], result["link"]
    console.say(
        f"core: {counters['cycles']:,} cycles with steps in it, {counters['stalls']:,} of them waiting "
        "for the link"
    )
    faults = link["bad_frames"] + link["board_bad_frames"]
    if faults or link["resent"] or link["repeats"]:
        console.say(
            f"line: {faults} bad frames, {link['resent']} times resent, {link['repeats']} times asked "
            "again; all recovered"
        )
