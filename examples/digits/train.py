"""Handwritten digits row by row: train a GRU, then train it again with coarse weights.

Images of 8 x 8 pixels are sequences of 8 rows. A GRU of 64 units reads them, and a linear layer
says after the last row which digit it was. With weights of 4 bits plain rounding costs accuracy;
:func:`finetune_digits` shows how training in fixed point brings it back, without labels.

Run ``python -m gatewright.examples.digits.train --weight-bits 4 -o FOLDER``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...compiler.config import Config
from ...compiler.training.finetune import Training, finetune
from ...compiler.training.network import Trainable, trainable

__all__ = ["DigitNet", "Split", "accuracy", "finetune_digits", "load_data", "main", "train"]

FOLDER = Path(__file__).parent
HIDDEN, CLASSES, BITS = 64, 10, 4
EPOCHS, BATCH, PEAK_RATE, WEIGHT_DECAY, NOISE = 60, 32, 0.01, 0.1, 0.1
TRAINING = 898
"""Images to learn from, the first ones; the other 899 test."""


class Split(NamedTuple):
    """Half of the data set.

    Parameters
    ----------
    x : numpy.ndarray of float32, shape (N, 8, 8)
        Images, 0 (white) to 1, row by row.
    labels : numpy.ndarray of int64, shape (N,)
    """

    x: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def load_data() -> tuple[Split, Split]:
    """Read the images: the first 898 to learn from, 899 to test."""
    with np.load(FOLDER / "digits.npz") as file:
        x, y = file["x"].astype(np.float32) / 16, file["y"].astype(np.int64)
    return Split(x[:TRAINING], y[:TRAINING]), Split(x[TRAINING:], y[TRAINING:])


class DigitNet(nn.Module):
    """GRU 8 -> 64 and Linear 64 -> 10: 14,858 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score every digit after every row: (N, 8, 8) to (N, 8, 10)."""
        return self.head(self.gru(x)[0])


def accuracy(outputs: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Tell the fraction of images whose highest score after the last row is right.

    Parameters
    ----------
    outputs : array_like, shape (N, 8, 10)
    labels : array_like, shape (N,)
    """
    return float((np.asarray(outputs)[:, -1].argmax(axis=1) == np.asarray(labels)).mean())


def train(seed: int = 0, epochs: int = EPOCHS) -> DigitNet:
    """Train in floating point; the same seed gives the same network."""
    split, _ = load_data()
    x, labels = torch.from_numpy(split.x), torch.from_numpy(split.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = DigitNet()
        optimizer = torch.optim.AdamW(module.parameters(), weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, PEAK_RATE, epochs=epochs, steps_per_epoch=-(-len(x) // BATCH)
        )
        for _ in range(epochs):
            for chosen in torch.randperm(len(x)).split(BATCH):
                noisy = x[chosen] + NOISE * torch.randn_like(x[chosen])
                loss = nn.functional.cross_entropy(module(noisy)[:, -1], labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return module.eval()


def finetune_digits(
    module: nn.Module,
    config: Config,
    seed: int = 0,
    epochs: int = 15,
    progress: Callable[[str], object] | None = None,
) -> tuple[Trainable, Training]:
    """Train a float network again in fixed point.

    Its scores after every row are what the fixed-point network learns, on the images and on noisy
    copies of them. The last 98 images to learn from choose the best epoch.
    """
    x = load_data()[0].x.astype(np.float64)
    learn, check = x[:-98], x[-98:]
    net = trainable(module, x, config)
    random = np.random.default_rng(seed)
    noisy = learn + NOISE * random.normal(size=learn.shape)
    done = finetune(
        net, np.concatenate([learn, noisy]), validation={"x": check},
        epochs=epochs, batch=64, rate=0.01, seed=seed, progress=progress,
    )  # fmt: skip
    return net, done


def main(arguments: list[str] | None = None) -> None:
    """Train twice, print the accuracies, and write the program and the test data."""
    parser = argparse.ArgumentParser(description="Train the digits example in fixed point.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--weight-bits", type=int, default=BITS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=15, help="of the second training")
    given = parser.parse_args(arguments)

    test = load_data()[1]
    module = train(given.seed)
    with torch.no_grad():
        score = accuracy(module(torch.from_numpy(test.x)), test.labels)
    print(f"float: {score:.2%} of {len(test.x)} test images")
    config = Config(weight_bits=given.weight_bits)
    net, _ = finetune_digits(module, config, given.seed, given.epochs, print)
    program = net.to_program(load_data()[0].x)
    given.output.mkdir(parents=True, exist_ok=True)
    program.save(given.output / "program")
    np.savez(given.output / "test.npz", x=test.x, y=test.labels)
    print(f"trained in fixed point: {accuracy(program.run(test.x), test.labels):.2%}")


if __name__ == "__main__":
    main()
