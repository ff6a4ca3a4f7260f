"""Time of a training step of the quantized GRU over that of a float GRU unrolled in Python.

    python bench/qat_speed.py

Both compute outputs of a batch of sequences and all gradients, on one thread; times are of the processor. The float GRU is
what one writes without ``torch.nn.GRU``: input products of the whole sequence at once, then one
step after the other. ``torch.nn.GRU`` itself, which is compiled, is shown as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from gatewright.compiler.config import Config
from gatewright.compiler.training.layers import GRU
from gatewright.compiler.training.network import calibrate
from torch import nn

SHAPES = ((12, 32, 32, 26), (6, 37, 64, 100), (64, 64, 64, 64), (256, 256, 32, 32))
"""Inputs, hidden, sequences, steps."""


def unrolled(gru: nn.GRU, x: torch.Tensor) -> torch.Tensor:
    """Evaluate a GRU step by step; x has shape (T, N, I)."""
    inputs = nn.functional.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)
    h, out = x.new_zeros(x.shape[1], gru.hidden_size), []
    for part in inputs:
        hidden = nn.functional.linear(h, gru.weight_hh_l0, gru.bias_hh_l0)
        i_r, i_z, i_n = part.chunk(3, 1)
        h_r, h_z, h_n = hidden.chunk(3, 1)
        r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        h = n + z * (h - n)
        out.append(h)
    return torch.stack(out)


def seconds(evaluate: Callable[[], torch.Tensor], repeats: int = 9) -> float:
    """Return the median time of a forward and a backward pass."""
    times = []
    for _ in range(repeats + 2):
        start = time.process_time()
        evaluate().square().mean().backward()
        times.append(time.process_time() - start)
    return statistics.median(times[2:])


def main() -> None:
    """Print a table."""
    torch.set_num_threads(1)
    print("| inputs, hidden, sequences, steps | unrolled float | quantized | ratio | nn.GRU |")
    print("| --- | --- | --- | --- | --- |")
    for inputs, hidden, sequences, steps in SHAPES:
        torch.manual_seed(0)
        plain, quantized = nn.GRU(inputs, hidden), GRU(inputs, hidden)
        quantized.load_state_dict(plain.state_dict())
        x = torch.randn(steps, sequences, inputs)
        calibrate(quantized, x[:16].transpose(0, 1).numpy(), Config(rounding="nearest"))
        quantized.train()
        first, second, third = (
            seconds(call)
            for call in (
                lambda p=plain, x=x: unrolled(p, x),
                lambda q=quantized, x=x: q(x)[0],
                lambda p=plain, x=x: p(x)[0],
            )
        )
        print(
            f"| {inputs}, {hidden}, {sequences}, {steps} | {1e3 * first:.1f} ms | {1e3 * second:.1f} ms "
            f"| {second / first:.2f} | {1e3 * third:.1f} ms |", flush=True
        )  # fmt: skip


if __name__ == "__main__":
    main()
