"""Speed of the golden model, as ratios against others: float NumPy, torch, the NumPy reference.

Steps per CPU second of one thread, best of some runs; a sequence of T steps counts T. Figures of a
loaded machine differ from run to run, so every line ends in ratios. Nothing is asserted.
``bench/speed.py`` compares with other commits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import gatewright.compiler as gw  # noqa: E402
import numpy as np  # noqa: E402
from gatewright.compiler import golden  # noqa: E402

SHAPES = (
    (12, 32, 1, 400), (12, 32, 32, 100), (12, 32, 256, 50),
    (64, 128, 1, 400), (64, 128, 256, 50), (256, 256, 1, 400), (256, 256, 256, 20),
)  # fmt: skip
"""Inputs, neurons, sequences, steps of one GRU."""
LEAST = 0.3  # CPU seconds of a measurement
RUNS = 3


def gru(inputs: int, size: int, layers: int = 1) -> gw.Model:
    """Return GRU layers with random weights."""
    rng = np.random.default_rng(0)
    made, source = [], ("x", inputs)
    for k in range(layers):
        scale = 1.5 / np.sqrt(source[1] + size)
        w = {g: rng.normal(0, scale, (size, source[1])) for g in "rzn"}
        u = {g: rng.normal(0, scale, (size, size)) for g in "rzn"}
        b, c = ({g: rng.normal(0, 0.3, size) for g in "rzn"} for _ in range(2))
        made.append(gw.Recurrent(f"gru{k}", "gru", (source[0],), size, source[1], w, u, b, c))
        source = (f"gru{k}", size)
    return gw.Model(inputs, tuple(made))


def rate(evaluate: Callable[[], object], steps: int) -> float:
    """Return steps per CPU second, best of some runs."""
    evaluate()
    best = 0.0
    for _ in range(RUNS):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < LEAST:
            evaluate()
            count += 1
        best = max(best, count * steps / spent)
    return best


def float_numpy(model: gw.Model, x: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a plain float64 loop over time."""
    layer = model.layers[0]
    w, u = (np.concatenate([m[g] for g in "rzn"]).T.copy() for m in (layer.w, layer.u))
    b, c = (np.concatenate([m[g] for g in "rzn"]) for m in (layer.b, layer.c))
    size = layer.size

    def run() -> np.ndarray:
        h = np.zeros((len(x), size))
        out = np.empty((*x.shape[:2], size))
        for t in range(x.shape[1]):
            p, q = x[:, t] @ w + b, h @ u + c
            rz = 1 / (1 + np.exp(-(p[:, : 2 * size] + q[:, : 2 * size])))
            n = np.tanh(p[:, 2 * size :] + rz[:, :size] * q[:, 2 * size :])
            h = n + rz[:, size:] * (h - n)
            out[:, t] = h
        return out

    return run


def torch_float(inputs: int, size: int, x: np.ndarray) -> Callable[[], object]:
    """Return ``nn.GRU`` in float32 on one thread."""
    import torch

    torch.set_num_threads(1)
    module, given = torch.nn.GRU(inputs, size, batch_first=True), torch.tensor(x).float()

    def run() -> object:
        with torch.no_grad():
            return module(given)

    return run


def golden_rate(inputs: int, size: int, n: int, steps: int, name: str = "run") -> float:
    """Return the golden model's steps per CPU second."""
    model = gru(inputs, size)
    x = np.random.default_rng(1).normal(size=(n, steps, inputs))
    program = gw.quantize(model, x[:16, :64], gw.Config(lanes=24, rounding="nearest"))
    codes = program.encode(x)
    run = getattr(golden, name)
    return rate(lambda: run(program.network, codes), n * steps)


def quantize_seconds() -> float:
    """Return CPU seconds of quantizing GRU 400 x 2 on 16 x 64 steps."""
    model = gru(400, 400, 2)
    start = time.process_time()
    gw.quantize(model, None, gw.Config(lanes=24))
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    names = ["golden", "reference", "float NumPy", "torch"]
    print(f"{'GRU, N x T':24}" + "".join(f"{name:>13}" for name in names) + "  golden / each")
    for inputs, size, n, steps in SHAPES:
        x = np.random.default_rng(1).normal(size=(n, steps, inputs))
        figures = [
            golden_rate(inputs, size, n, steps),
            golden_rate(inputs, size, n, steps, "reference"),
            rate(float_numpy(gru(inputs, size), x), n * steps),
            rate(torch_float(inputs, size, x), n * steps),
        ]
        label = f"{inputs}->{size}, {n} x {steps}"
        ratios = "  ".join(f"{figures[0] / other:6.2f}" for other in figures[1:])
        print(
            f"{label:24}" + "".join(f"{each:13,.0f}" for each in figures) + f"  {ratios}",
            flush=True,
        )


if __name__ == "__main__":
    main()
