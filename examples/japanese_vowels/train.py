"""Train a GRU to tell nine speakers apart by one vowel: plain PyTorch, seconds on a CPU.

Each recording is a man saying /ae/ as 7 to 29 frames of 12 cepstrum coefficients. The network
reads the raw coefficients frame by frame and says after every frame who it thinks is speaking;
the answer that counts is the one after the last frame. Nothing outside the module touches the
data, so that what is trained here is exactly what the hardware will compute.

Run ``python -m gatewright.examples.japanese_vowels.train -o FOLDER`` for the files that the
``gatewright`` commands take next.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn

__all__ = [
    "CHECKPOINT",
    "Split",
    "VowelNet",
    "accuracy",
    "load_data",
    "main",
    "pretrained",
    "train",
]

FOLDER = Path(__file__).parent
DATA = FOLDER / "japanese_vowels.npz"
CHECKPOINT = FOLDER / "checkpoint.safetensors"

FEATURES, HIDDEN, SPEAKERS = 12, 32, 9
EPOCHS, BATCH, PEAK_RATE, WEIGHT_DECAY = 100, 32, 0.02, 0.1
INPUT_NOISE = 1.0  # times the spread of each coefficient


class Split(NamedTuple):
    """Half of the data set: N sequences, padded with zeros to the T steps of the longest.

    Parameters
    ----------
    x : numpy.ndarray of float32, shape (N, T, 12)
    lengths : numpy.ndarray of int64, shape (N,)
        Steps before the padding.
    labels : numpy.ndarray of int64, shape (N,)
        Speaker, 0 to 8.
    """

    x: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


def load_data() -> tuple[Split, Split]:
    """Read the published split.

    Returns
    -------
    (train, test) : Split
        270 sequences of up to 26 steps, and 370 of up to 29.
    """
    with np.load(DATA) as file:
        train, test = (
            Split(
                file[f"x_{part}"],
                file[f"len_{part}"].astype(np.int64),
                file[f"y_{part}"].astype(np.int64),
            )
            for part in ("train", "test")
        )
    return train, test


class VowelNet(nn.Module):
    """GRU 12 -> 32 and Linear 32 -> 9: 4,713 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, SPEAKERS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Score every speaker after every step.

        Parameters
        ----------
        x : shape (N, T, 12)

        Returns
        -------
        Logits, shape (N, T, 9). A GRU looks only back, so padding at the end of a sequence
        does not change the scores before it.
        """
        states, _ = self.gru(x)  # (N, T, 32)
        return self.head(states)


def accuracy(outputs: npt.ArrayLike, lengths: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Tell the fraction of sequences whose highest score after the last valid step is right.

    Parameters
    ----------
    outputs : array_like, shape (N, T, 9)
        Scores at every step, of the float model or of the hardware.
    lengths, labels : array_like, shape (N,)
    """
    scores, last = np.asarray(outputs), np.asarray(lengths) - 1
    answers = scores[np.arange(len(scores)), last].argmax(axis=1)
    return float((answers == np.asarray(labels)).mean())


def train(
    seed: int = 0, epochs: int = EPOCHS, progress: Callable[[str], object] | None = None
) -> tuple[VowelNet, dict[str, float]]:
    """Train from scratch; the same seed gives the same network.

    Parameters
    ----------
    seed : int
        Of the first weights, of the order of the sequences and of the input noise.
    epochs : int
    progress : callable, optional
        Gets a line of text every tenth epoch, e.g. ``print``.

    Returns
    -------
    (module, metrics)
        ``metrics`` has ``train_accuracy`` and ``test_accuracy`` (0 to 1), and ``loss``, the mean
        cross entropy of the last epoch.
    """
    train_split, test_split = load_data()
    x = torch.from_numpy(train_split.x)
    last = torch.from_numpy(train_split.lengths) - 1
    labels = torch.from_numpy(train_split.labels)
    # The last coefficients vary a quarter as much as the first: noise in proportion drowns none.
    frames = torch.cat([sequence[:end] for sequence, end in zip(x, last + 1, strict=True)])
    noise = INPUT_NOISE * frames.std(dim=0)  # (12,)
    batches = -(-len(x) // BATCH)

    with _deterministic(seed):
        module = VowelNet()
        optimizer = torch.optim.AdamW(module.parameters(), weight_decay=WEIGHT_DECAY)
        # The rate climbs to its peak in the first third and falls to almost nothing.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=PEAK_RATE, epochs=epochs, steps_per_epoch=batches
        )
        for epoch in range(1, epochs + 1):
            total = 0.0
            for chosen in torch.randperm(len(x)).split(BATCH):
                # 270 recordings are few: noise makes each one new in every epoch.
                noisy = x[chosen] + noise * torch.randn_like(x[chosen])
                logits = module(noisy)  # (B, T, 9)
                answers = logits[torch.arange(len(chosen)), last[chosen]]  # (B, 9)
                loss = nn.functional.cross_entropy(answers, labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() * len(chosen)
            if progress and epoch % 10 == 0:
                progress(f"epoch {epoch} of {epochs}: loss {total / len(x):.3f}")
        module.eval()
        metrics = {"loss": total / len(x)}
        for name, split in (("train", train_split), ("test", test_split)):
            with torch.no_grad():
                outputs = module(torch.from_numpy(split.x))
            metrics[f"{name}_accuracy"] = accuracy(outputs, split.lengths, split.labels)
    return module, metrics


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed PyTorch and fix the order of its sums; afterwards everything is as it was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


def pretrained() -> VowelNet:
    """Give the network that :func:`train` made with seed 0."""
    module = VowelNet()
    module.load_state_dict(load_file(CHECKPOINT))
    return module.eval()


def main(arguments: list[str] | None = None) -> None:
    """Train, and write the weights and the data as files that gatewright reads."""
    parser = argparse.ArgumentParser(description="Train the Japanese Vowels example.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args(arguments)

    module, metrics = train(given.seed, given.epochs, print)
    print(f"test accuracy {metrics['test_accuracy']:.2%}, train {metrics['train_accuracy']:.2%}")

    given.output.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), given.output / "model.pt")
    save_file(module.state_dict(), given.output / "model.safetensors")
    for name, split in zip(("calibration", "test"), load_data(), strict=True):
        np.savez(given.output / f"{name}.npz", x=split.x, len=split.lengths, y=split.labels)


if __name__ == "__main__":
    main()
