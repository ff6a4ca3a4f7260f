"""Modules by their forward: each equals float64 PyTorch or is refused, none is silently different."""

from __future__ import annotations

import random
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from gatewright.compiler.errors import InputError
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.ir.model import Model
from support.random_modules import Net, must_refuse, wrap
from torch import nn

TOLERANCE = 1e-6
STEPS = 7
IMPORT = "ignore:.*:UserWarning"


def truth(net: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Run in float64; give the first tensor."""
    net = net.to(torch.float64).eval()
    with torch.no_grad():
        out = net(x if x.dtype == torch.long else x.double())
    while not isinstance(out, torch.Tensor):
        out = next(iter(out.values())) if isinstance(out, dict) else out[0]
    return out.numpy()


def data(model: Model, x: torch.Tensor) -> np.ndarray:
    """Give the model's own input: sequences first, tokens as one-hot vectors."""
    return np.eye(model.input_size)[x.numpy()] if x.dtype == torch.long else x.numpy().astype(float)


def arranged(model: Model, y: np.ndarray, end: str) -> np.ndarray:
    """Cut the model's outputs of every step to what a random module's end gives out."""
    if end in ("softmax", "log_softmax"):
        y = np.exp(y - y.max(-1, keepdims=True))
        y = y / y.sum(-1, keepdims=True)
        y = np.log(y) if end == "log_softmax" else y
    if end in ("last", "h"):
        notes = " ".join(model.notes)
        return y[:, -1] if "last step only" in notes else y[:, 0] if "first step only" in notes else y
    if end == "first":
        return y[:, 0]
    if end == "time first":
        return y.swapaxes(0, 1)
    return y.reshape(-1, y.shape[-1]) if end == "flat" else y


def outcomes(seeds: range, folder) -> Counter[str]:
    """Load each random module by itself and by its file; count what happened."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        torch.manual_seed(seed)
        rng = random.Random(seed)
        net = Net(rng).eval()
        size = (2, STEPS)
        x = torch.randint(0, net.features, size) if net.tokens else torch.randn(*size, net.features)
        path = folder / "net.pt2"
        with torch.no_grad():
            net(x)  # so that hooks have made their weights
            torch.export.save(torch.export.export(net, (x,)), path)
        for way, arguments in (("module", (wrap(rng, net), x)), ("pt2", (path,))):
            try:
                model = load(*arguments)
            except InputError as error:
                assert not str(error).startswith("malformed"), (seed, str(error))
                counts[f"{way} refused"] += 1
                counts[f"why: {str(error).partition(': ')[2][:70]}"] += way == "module"
                continue
            assert not must_refuse(net), (seed, way, net.plan, model.notes)
            want = truth(net, x)
            got = arranged(model, model.run(data(model, x)), net.end)
            assert got.shape == want.shape, (seed, way, net.plan, model.notes)
            assert np.abs(got - want).max() <= TOLERANCE * np.abs(want).max(), (seed, way, net.plan)
            counts[f"{way} equal"] += 1
            net.float()
    return counts


@pytest.mark.filterwarnings(IMPORT)
def test_random_modules_equal_pytorch_or_are_refused(tmp_path):
    counts = outcomes(range(60), tmp_path)
    print(*sorted(counts.items()), sep="\n")
    assert counts["module equal"] + counts["module refused"] == 60
    assert counts["module equal"] >= 40


@pytest.mark.full
@pytest.mark.filterwarnings(IMPORT)
def test_more_random_modules_equal_pytorch_or_are_refused(tmp_path):
    counts = outcomes(range(1000, 1200), tmp_path)
    print(*sorted(counts.items()), sep="\n")
    assert counts["module equal"] >= 130
