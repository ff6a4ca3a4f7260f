"""Bitstreams of three networks for the boards: speed, clock, resources, time of the build.

Prints the rows of the table in ``docs/boards.md``::

    python bench/boards.py                                   every board and network (hours)
    python bench/boards.py --boards icebreaker --networks demo
    python bench/boards.py --keep FOLDER                     keep the builds there, and reuse them
    python bench/boards.py --jobs 8                          rows side by side, here or, with an address,
                                                             on a Dask cluster

Lanes are chosen for the board. A network that does not fit prints what is short.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

from gatewright.compiler import quantize
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError, InputError
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.jobs import check_jobs, workers
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize_stream
from gatewright.examples.japanese_vowels import train
from gatewright.examples.opendpd import amplifier
from gatewright.examples.rnnoise import suppressor
from gatewright.hw.bitstream.build import build
from gatewright.hw.bitstream.plan import Options
from gatewright.hw.boards import BOARDS, find_board

HEAD = (
    "network", "board", "lanes", "clock MHz (reaches, seed)", "cycles", "steps/s", "LUTs",
    "multipliers", "block RAMs", "single-port RAMs", "seconds (CPU)",
)  # fmt: skip


def demo() -> Program:
    """Japanese Vowels: GRU 12 -> 32, Linear 9, as the demo ships it."""
    data, _ = train.load_data()
    made = quantize(load(train.pretrained(), check=False), data.x, Config(), lengths=data.lengths)
    assert isinstance(made, Program)  # noqa: S101
    return made


def opendpd() -> Program:
    """OpenDPD power amplifier: GRU 6 -> 37, Linear 2."""
    features = amplifier.features(amplifier.load_recording().calibration)
    return quantize_stream(amplifier.core_model(), features, Config())


def rnnoise() -> Program:
    """RNNoise v0.1: three GRUs and three dense layers, 87 thousand weights."""
    features = suppressor.calibration(suppressor.load_recordings())
    config = Config(activation_bits=14, rounding="nearest")
    return quantize_stream(suppressor.network(), features, config)


NETWORKS = {"demo": demo, "opendpd": opendpd, "rnnoise": rnnoise}


def row(name: str, program: Program, board: str, folder: Path, options: Options) -> list[str]:
    """Build, and return the cells of a row."""

    def note(text: str) -> None:
        print(f"  {name} on {board}: {text}", file=sys.stderr, flush=True)

    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    try:
        found = build(program, find_board(board), folder / f"{name}-{board}", options, note)
    except (InputError, CheckError) as error:
        return [name, board, str(error)]
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu

    def used(kind: str) -> str:
        if kind not in found["resources"]:
            return "-"
        real = found["resources"][kind]
        return f"{real['used']:,} of {real['available']:,} (estimated {found['estimate'][kind]:,})"

    return [
        name, board + ", loadable" * found["loadable"], f"{found['lanes']}",
        f"{found['target_mhz']:.2f} ({found['fmax_mhz']:.2f}, {found['seed']})", f"{found['cycles_per_step']:,}",
        f"{found['steps_per_second']:,.0f}", used("luts"), used("multipliers"),
        used("block_rams"), used("spram"), f"{found.get('seconds', 0):.0f} ({cpu:.0f})",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boards", nargs="*", default=list(BOARDS))
    parser.add_argument("--networks", nargs="*", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--keep", type=Path, help="folder of the builds")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--jobs", type=check_jobs, default=1)
    given = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    with tempfile.TemporaryDirectory() as temporary:
        folder, options = given.keep or Path(temporary), Options(tries=given.tries)
        programs = {name: NETWORKS[name]() for name in given.networks}
        rows = [(name, programs[name], board) for name in programs for board in given.boards]
        with workers(given.jobs) as staff:
            futures = (staff.submit(row, *cells, folder, options) for cells in rows)
            # One worker builds a row when it is asked for: then it is printed before the next.
            for future in futures if staff.count == 1 else list(futures):
                print("| " + " | ".join(future.result()) + " |", flush=True)


if __name__ == "__main__":
    main()
