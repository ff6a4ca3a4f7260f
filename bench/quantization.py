"""Cost of narrow widths, before and after training in fixed point: the tables of ``docs/training.md``.

    python bench/quantization.py vowels digits --seeds 0 1 2
    python bench/quantization.py opendpd --opendpd apa-200mhz-b-measured-v4.npz
    python bench/quantization.py rnnoise
    python bench/quantization.py g2p --checkpoint checkpoint20.npz --words expected.json
    python bench/quantization.py delta                    delta thresholds on Japanese Vowels
    python bench/quantization.py --show                   only print what the journal holds

Every figure is of the golden model on the whole test set. Results go to a journal of JSON lines;
what is in it is not computed again, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gatewright.compiler.analysis.skipping import skipping
from gatewright.compiler.config import Config
from quantization_tasks import TASKS, Pronunciation, Task

WIDTHS: dict[str, tuple[tuple[int, int], ...]] = {
    "vowels": ((8, 12), (4, 12), (6, 12), (8, 8), (16, 16)),
    "digits": ((8, 12), (4, 12), (6, 12), (8, 8), (16, 16)),
    "opendpd": ((4, 12), (6, 12), (8, 12), (8, 10), (8, 8), (16, 16)),
    "rnnoise": ((4, 14), (6, 14), (8, 14), (16, 16)),
    "g2p": ((4, 12), (6, 12), (8, 12), (16, 16)),
}
"""Weights and operands."""
OPTIONS: dict[str, dict[str, Any]] = {
    "vowels": {"rate": 0.01},
    "digits": {"rate": 0.01},
    "opendpd": {"rate": 0.02},
    "rnnoise": {"rate": 0.02},
    "g2p": {"rate": 0.02, "epochs": 3},
}
THRESHOLDS = (0, 32, 64, 128, 256, 512)


class Journal:
    """Results by key, in a file of one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {tuple(row["key"]): row for row in map(json.loads, lines)}

    def get(self, key: tuple[Any, ...], compute: Any) -> dict[str, float]:
        """Return a result, computed unless it is known."""
        if key not in self.known:
            start = time.monotonic()
            figures = compute()
            row = {
                "key": key, "figures": figures, "seconds": round(time.monotonic() - start, 1),
            }  # fmt: skip
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self.known[key] = row
            print(f"{key}: {figures}, {row['seconds']} s", flush=True)
        return dict(self.known[key]["figures"])


def widths(name: str, weights: int, operands: int) -> Config:
    """Return the configuration of a row."""
    kind = "nearest" if weights == 16 else "compensated"
    return Config(weight_bits=weights, activation_bits=operands, rounding=kind)


def compute(name: str, seed: int, journal: Journal, given: argparse.Namespace) -> None:
    """Fill the journal with one task and seed."""
    made: list[Any] = []

    def task() -> Any:
        if not made:
            made.append(TASKS[name](seed, given))
        return made[0]

    def figures(weights: int, operands: int, method: str) -> dict[str, float]:
        t = task()
        config, options = widths(name, weights, operands), dict(OPTIONS[name])
        if isinstance(t, Pronunciation):
            return t.count(t.programs(config, seed if method == "trained" else None, **options))
        if method == "post":
            return t.score(t.quantized(config).run)
        return t.score(t.trained(config, seed, **options).to_program().run)

    def plain() -> dict[str, float]:
        t = task()
        return t.count(None) if isinstance(t, Pronunciation) else t.score(t.model.run)

    journal.get((name, seed, "float", "", ""), plain)
    for weights, operands in WIDTHS[name]:
        journal.get(
            (name, seed, "post", weights, operands),
            lambda w=weights, o=operands: figures(w, o, "post"),
        )
        if weights < 16:
            journal.get(
                (name, seed, "trained", weights, operands),
                lambda w=weights, o=operands: figures(w, o, "trained"),
            )
    if name in ("vowels", "digits"):
        journal.get((name, seed, "torch", 8, "float"), lambda: dynamic_int8(task()))


def dynamic_int8(task: Task) -> dict[str, float]:
    """Score torch's own dynamic int8: weights per tensor, operands quantized at every product."""
    from torch.ao.quantization import quantize_dynamic

    module = quantize_dynamic(
        task.module.eval(), {torch.nn.GRU, torch.nn.Linear}, dtype=torch.qint8
    )

    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(x).float()).double())

    off = np.abs(run(task.calibration["x"]) - task.model.run(task.calibration["x"]))
    return task.score(run) | {"error_max": float(off.max()), "error_mean": float(off.mean())}


def delta(seed: int, journal: Journal, given: argparse.Namespace) -> None:
    """Fill the journal with delta thresholds on Japanese Vowels."""
    from gatewright.examples.japanese_vowels.train import load_data

    task = TASKS["vowels"](seed, given)
    _, test = load_data()
    valid = np.arange(test.x.shape[1]) < test.lengths[:, None]

    def figures(threshold: int, train: bool) -> dict[str, float]:
        config = Config(engine="delta", threshold=threshold)
        options = OPTIONS["vowels"] | {"epochs": 12, "rate": 0.05}
        program = (
            task.trained(config, seed, **options).to_program() if train else task.quantized(config)
        )
        found = skipping(program, program.evaluate(program.encode(test.x)), valid)
        assert found is not None  # noqa: S101
        walk = found["saved"] / found["walk"]
        return task.score(program.run) | {"skipped": 100 * found["skipped"], "saved": 100 * walk}

    for threshold in THRESHOLDS:
        for method in ("post", "trained")[: 1 + (threshold > 0)]:
            journal.get(
                ("delta", seed, method, threshold, ""),
                lambda t=threshold, m=method: figures(t, m == "trained"),
            )


def table(name: str, journal: Journal) -> Iterator[str]:
    """Print the rows of one task: the mean over seeds, and the worst and best of them."""
    rows: dict[tuple[Any, ...], list[dict[str, float]]] = {}
    for key, row in journal.known.items():
        if key[0] == name:
            rows.setdefault((key[3], key[4], key[2]), []).append(row["figures"])
    if not rows:
        return
    names = list(next(iter(rows.values()))[0])
    for row in rows.values():
        names += [n for n in row[0] if n not in names]
    head = "threshold | " if name == "delta" else "weights | operands | "
    yield f"\n### {name}\n"
    yield f"| {head}method | seeds | {' | '.join(names)} |"
    yield "| --- " * (names.__len__() + head.count("|") + 2) + "|"
    for (a, b, method), found in rows.items():
        cells = []
        for n in names:
            values = [f[n] for f in found if n in f]
            text = f"{statistics.mean(values):.5g}" if values else ""
            if len(values) > 1:
                text += f" ({min(values):.5g} to {max(values):.5g})"
            cells.append(text)
        where = f"{a} | " if name == "delta" else f"{a} | {b} | "
        yield f"| {where}{method} | {len(found)} | {' | '.join(cells)} |"


def main() -> None:
    """Compute what is missing and print the tables."""
    names = [*TASKS, "delta"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", choices=[[], *names], default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--journal", type=Path, default=Path("quantization.jsonl"))
    parser.add_argument("--show", action="store_true", help="compute nothing")
    parser.add_argument("--opendpd", type=Path, help="x_train of the recording (OpenDPD's wheel)")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint20.npz of g2p_en")
    parser.add_argument("--words", type=Path, help="words and their phonemes, JSON")
    given = parser.parse_args()
    journal = Journal(given.journal)
    for name in [] if given.show else given.tasks or names:
        for seed in given.seeds:
            try:
                (delta if name == "delta" else lambda *a, n=name: compute(n, *a))(
                    seed, journal, given
                )
            except FileNotFoundError as error:
                print(f"{name}: not run: {error}")
    for name in names:
        for line in table(name, journal):
            print(line)


if __name__ == "__main__":
    main()
