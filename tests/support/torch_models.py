"""PyTorch modules run as they were trained, to compare imports with."""

from __future__ import annotations

import numpy as np
import torch
from gatewright.compiler.ir.model import Model
from torch import nn

TOLERANCE = 1e-5


def data(model: Model, seed: int = 5, n: int = 4, steps: int = 23) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, steps, model.input_size))


def torch_run(module: nn.Module, x: np.ndarray, batch_first: bool = True) -> np.ndarray:
    """Run float32 as trained, in the layout the module wants."""
    given = torch.from_numpy(x if batch_first else x.swapaxes(0, 1).copy()).float()
    with torch.no_grad():
        out = module.eval()(given)
    out = out[0] if isinstance(out, tuple) else out
    return (out if batch_first else out.swapaxes(0, 1)).double().numpy()


def close(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= TOLERANCE


class First(nn.Module):
    def forward(self, x):
        return x[0]
