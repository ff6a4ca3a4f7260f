"""Every figure of speed, as a ratio against another commit.

    python bench/speed.py --against 2dac2b9            all figures, some minutes
    python bench/speed.py --against HEAD~5 simulate    those whose name has this word
    python bench/speed.py                              the figures alone

CPU seconds of one thread with those of children, so that other work on the machine counts little; the
best of some rounds, in which both versions take turns. The other version is checked out into a worktree
and runs in the same environment; each figure has a process of its own and an empty cache. Nothing is
asserted: a ratio is for people.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {"GRU 12->32+9, 24 lanes": (12, 32, 9, 24), "GRU 64->128, 24 lanes": (64, 128, 0, 24)}
SHORT, LONG = (
    48,
    2400,
)  # steps of a run that a person waits for, and of one whose start does not count


def cost(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of work, with those of children."""

    def cpu() -> float:
        return sum(os.times()[:4])

    before = cpu()
    work()
    return cpu() - before


def program(inputs: int, size: int, outputs: int, lanes: int) -> Any:
    """Return a program of a GRU with random weights, and a head where it has outputs."""
    import numpy as np
    from gatewright.compiler import Config, Linear, Model, Recurrent, quantize

    rng = np.random.default_rng(1)
    scale = 1.5 / np.sqrt(inputs + size)

    def draw(*shape: int) -> dict[str, Any]:
        return {gate: rng.normal(0, scale, shape) for gate in "rzn"}

    layers: list[Any] = [
        Recurrent(
            "gru", "gru", ("x",), size, inputs, draw(size, inputs), draw(size, size), draw(size),
            draw(size),
        )
    ]  # fmt: skip
    if outputs:
        layers.append(Linear("head", ("gru",), rng.normal(size=(outputs, size))))
    return quantize(
        Model(inputs, tuple(layers)), rng.normal(size=(2, 32, inputs)), Config(lanes=lanes)
    )


def golden_model(*shape: int) -> float:
    """Return steps per CPU second."""
    import golden

    return golden.golden_rate(*shape)


def quantize() -> float:
    """Return CPU seconds of quantizing 1.9 million weights."""
    import golden

    return golden.quantize_seconds()


def cycles(kind: str, sizes: tuple[int, ...], steps: int) -> float:
    """Return simulated cycles per CPU second, the start of the simulator included."""
    import numpy as np
    from gatewright.sim import Bench

    if kind == "C++":
        from gatewright.sim.compiled import CompiledBench as Bench
    p = program(*sizes)
    codes = p.encode(np.random.default_rng(2).normal(size=(1, steps, sizes[0])))[0]
    first = np.arange(steps) == 0
    got: list[Any] = []
    with Bench(p) as bench:
        seconds = cost(lambda: got.append(bench.record(codes, first)))
    return float(got[0].ends[-1]) / seconds


def command(*words: str, again: bool = False) -> float:
    """Return CPU seconds of a command, or of its second run."""
    import numpy as np
    from safetensors.numpy import save_file

    folder = Path(tempfile.mkdtemp(dir=os.environ["GATEWRIGHT_CACHE"]))
    program(*next(iter(SHAPES.values()))).save(folder / "program")
    np.save(folder / "x.npy", np.random.default_rng(2).normal(size=(SHORT, 12)))
    shapes = {
        "weight_ih_l0": (96, 12),
        "weight_hh_l0": (96, 32),
        "bias_ih_l0": 96,
        "bias_hh_l0": 96,
    }
    tensors = {f"gru.{k}": np.full(shape, 0.1, np.float32) for k, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    # Older versions have no gatewright.__main__; the script of the environment calls what is on the path.
    start = [sys.executable, "-m", "gatewright.__main__", *words]
    if subprocess.run([*start[:3], "--version"], capture_output=True, check=False).returncode:  # noqa: S603
        start[2] = "gatewright.cli.main"

    def run() -> None:
        subprocess.run(start, cwd=folder, capture_output=True, check=True)  # noqa: S603

    if again:
        run()
    return cost(run)


def figures() -> dict[str, tuple[Callable[..., float], tuple[Any, ...], bool]]:
    """Return every figure: what measures it, with what, and whether more is better."""
    import golden

    made: dict[str, tuple[Callable[..., float], tuple[Any, ...], bool]] = {}
    for i, h, n, t in golden.SHAPES:
        made[f"golden model, GRU {i}->{h}, {n} x {t}, steps/s"] = golden_model, (i, h, n, t), True
    made["quantize GRU 400 x 2, s"] = quantize, (), False
    for name, sizes in SHAPES.items():
        for kind in ("cocotb", "C++"):
            for steps in (SHORT, LONG):
                title = f"{kind}, {name}, {steps} steps, cycles/s"
                made[title] = cycles, (kind, sizes, steps), True
    simulate = "simulate", "program", "x.npy"
    made[f"simulate {SHORT} steps, first, s"] = command, simulate, False
    made[f"simulate {SHORT} steps, second, s"] = lambda: command(*simulate, again=True), (), False
    made["gatewright --version, s"] = command, ("--version",), False
    made["gatewright inspect, s"] = command, ("inspect", "model.safetensors"), False
    return made


@contextmanager
def site(commit: str | None) -> Iterator[Path]:
    """Give a folder from which a commit's package, or that of this checkout, is imported."""
    with tempfile.TemporaryDirectory() as made:
        tree, folder = ROOT, Path(made) / "site"
        if commit:
            tree = Path(made) / "tree"
            git = ["git", "-C", str(ROOT), "worktree"]
            subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)  # noqa: S603
        try:
            project = tomllib.loads((tree / "pyproject.toml").read_text())
            places = project["tool"]["setuptools"]["package-dir"]
            (folder / "gatewright").mkdir(parents=True)
            for name, place in places.items():
                inside = folder / name.replace(".", "/")
                if name == "gatewright":
                    for path in (tree / place).iterdir():
                        (inside / path.name).symlink_to(path)
                elif not inside.exists():
                    inside.symlink_to(tree / place)
            yield folder
        finally:
            if commit:
                subprocess.run([*git, "remove", "--force", str(tree)], check=True)  # noqa: S603


def measure(name: str, folder: Path) -> float | None:
    """Return one figure of the package in a folder; nothing where that version cannot do it."""
    with tempfile.TemporaryDirectory() as cache:
        one = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        variables = {"PYTHONPATH": str(folder), "GATEWRIGHT_CACHE": cache, **one}
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__, "--figure", name], env={**os.environ, **variables},
            cwd=cache, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        print(f"{name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of the names of figures; default is all")
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=2, help="best of (2)")
    parser.add_argument("--figure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    known = figures()
    if args.figure:
        import gatewright.compiler

        start = time.perf_counter()
        work, arguments, _ = known[args.figure]
        value = work(*arguments)
        print(
            f"{gatewright.compiler.__file__}, {time.perf_counter() - start:.1f} s", file=sys.stderr
        )
        print(value)
        return
    chosen = [name for name in known if all(word in name for word in args.words)]
    if not chosen:
        parser.error(f"no figure's name has {' '.join(args.words)}: {'; '.join(known)}")
    with site(None) as here, site(args.against) as there:
        for name in chosen:
            more = known[name][2]
            best: list[float | None] = [None, None]
            for _ in range(args.rounds):
                for k, folder in enumerate([there, here] if args.against else [here]):
                    value = measure(name, folder)
                    pick = [each for each in (best[k], value) if each is not None]
                    best[k] = (max if more else min)(pick, default=None)
            text = "".join(f"{v:14,.{0 if more else 2}f}" for v in best if v is not None)
            if args.against and None not in best:
                ratio = best[1] / best[0] if more else best[0] / best[1]  # type: ignore[operator]
                text += f"   {ratio:7.2f} times better"
            print(f"{name:54}{text}", flush=True)


if __name__ == "__main__":
    main()
