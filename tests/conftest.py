"""Fixtures that several files use: one tiny trained-looking network, its data, its program."""

from __future__ import annotations

import gc
import os

# Before NumPy and PyTorch are loaded: threads that wait for one another burn the cores that tests need.
# Training a small network in two threads takes 14 times the CPU seconds of one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gatewright.cli.main import main
from safetensors.numpy import save_file
from support.boards import Bench, bench, gru_program, lstm_program

gc.set_threshold(50_000, 100, 100)  # as the command does

FEATURES, HIDDEN, CLASSES = 3, 4, 2


def tiny_tensors(seed: int = 1) -> dict[str, np.ndarray]:
    """A state_dict of GRU 3 -> 4 and Linear 4 -> 2."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)

    return {
        "gru.weight_ih_l0": draw(3 * HIDDEN, FEATURES),
        "gru.weight_hh_l0": draw(3 * HIDDEN, HIDDEN),
        "gru.bias_ih_l0": draw(3 * HIDDEN),
        "gru.bias_hh_l0": draw(3 * HIDDEN),
        "fc.weight": draw(CLASSES, HIDDEN),
        "fc.bias": draw(CLASSES),
    }


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model.safetensors``, ``x.npz`` (x, len, y), ``x.csv`` and ``program``."""
    folder = tmp_path_factory.mktemp("tiny")
    save_file(tiny_tensors(), folder / "model.safetensors")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 6, FEATURES))
    np.savez(folder / "x.npz", x=x, len=np.array([6, 3, 5, 1, 4]), y=np.array([0, 1, 0, 1, 1]))
    np.savetxt(folder / "x.csv", x[0], delimiter=",")
    arguments = ["--calibration", str(folder / "x.npz"), "--lanes", "6", "--json"]
    model, program = str(folder / "model.safetensors"), str(folder / "program")
    assert main(["quantize", model, "-o", program, *arguments]) == 0
    return folder


@pytest.fixture(scope="session")
def gru(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Weights can be exchanged; buffers of 512 bytes."""
    folder = tmp_path_factory.mktemp("gru")
    yield from bench(gru_program(), folder, loadable=True, family="ice40hx")


@pytest.fixture(scope="session")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from bench(lstm_program(), tmp_path_factory.mktemp("lstm"))
