"""One way to train a quantized network: its outputs follow those of the float model.

Distillation (Hinton et al. 2015, arXiv 1503.02531) needs inputs and no labels; other targets and
losses can be given.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..arrays import FloatArray, check_lengths
from ..errors import InputError
from ..ir.model import Model
from .network import State, Trainable
from .quantizable import Quantizable

__all__ = ["Training", "finetune", "windows"]

Tensor = torch.Tensor


@dataclass
class Training:
    """Record of a run of :func:`finetune`.

    Attributes
    ----------
    errors : list of float
        Score on the validation data before training and after every epoch, smaller is better:
        by default the mean squared error against the targets, relative to their variance.
    best : int
        Epoch whose weights were kept; 0 is the start.
    loss : list of float
        Mean training loss of every epoch.
    """

    errors: list[float] = field(default_factory=list)
    best: int = 0
    loss: list[float] = field(default_factory=list)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class _Data:
    """Sequences, what the outputs should be, and which steps count."""

    x: Tensor
    target: Tensor
    mask: Tensor
    state: State

    def __len__(self) -> int:
        return len(self.x)

    def part(self, index: Tensor) -> _Data:
        state = {
            layer: {k: v[index] for k, v in values.items()} for layer, values in self.state.items()
        }
        return _Data(self.x[index], self.target[index], self.mask[index], state)


def finetune(
    net: Trainable,
    x: npt.ArrayLike,
    *,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
    targets: npt.ArrayLike | None = None,
    validation: Mapping[str, Any] | None = None,
    loss: Loss | None = None,
    score: Callable[[Trainable], float] | None = None,
    epochs: int = 30,
    batch: int = 32,
    rate: float = 0.05,
    warmup: int = 0,
    average: float = 0.0,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> Training:
    """Train a quantized network so that its outputs follow given ones.

    Adam with a rate that falls to zero along a cosine. After every epoch the network is evaluated
    exactly, and the best weights, those of the start included, are what is left in it.

    Parameters
    ----------
    net : Trainable
        Changed in place.
    x : array_like, shape (N, T, I)
        Input. Cut long recordings (:func:`windows`).
    lengths : array_like of int, shape (N,), optional
        True lengths of zero-padded sequences.
    state : mapping of layer -> (h, c), shapes (N, H), optional
        First state of each sequence; default zero.
    targets : array_like, shape (N, T, outputs), optional
        Default: the outputs of the float model from the same states.
    validation : mapping, optional
        ``x`` and, as they are needed, ``lengths``, ``state`` and ``targets`` to choose the best
        weights by; default: the training data.
    loss : callable, optional
        Takes outputs (B, T, O), targets (B, T, O) and which steps count (B, T), and gives what is
        made small; default: the mean squared error relative to the variance of each output.
    score : callable, optional
        Takes the network in evaluation mode and gives what the best weights are chosen by, smaller
        is better, instead of the loss on the validation data.
    epochs, batch : int
    rate : float
        At the start, in codes a step: 0.05 moves a weight by at most about a twentieth of the
        distance between two codes.
    warmup : int
        First steps of every sequence that do not count.
    average : float
        Keep running averages of the weights with this decay (0.99), and score and keep those; 0:
        the weights themselves.
    seed : int
        Of the order of the sequences. The same seed gives the same weights.
    progress : callable, optional
        Gets a line of text after every epoch.

    Returns
    -------
    Training
    """
    if epochs < 1 or batch < 1 or not 0 <= average < 1 or rate <= 0:
        raise InputError(
            f"epochs and batch are 1 or more, rate above 0 and average from 0 to 1, not {epochs}, "
            f"{batch}, {rate} and {average}"
        )
    train = _data(net, {"x": x, "lengths": lengths, "state": state, "targets": targets}, warmup)
    check = train if validation is None else _data(net, dict(validation), warmup)
    spread = _spread(train)
    measure = loss or _relative(spread)
    optimizer = _Adam(net)
    batches = math.ceil(len(train) / batch)
    random = torch.Generator().manual_seed(seed)
    mean = copy.deepcopy(net) if average else net

    def now() -> float:
        mean.eval()
        if score is not None:
            return score(mean)
        with torch.no_grad():
            parts = [check.part(i) for i in torch.arange(len(check)).split(256)]
            errors = [float(measure(mean.walk(p.x, p.state)[0], p.target, p.mask)) for p in parts]
        return float(np.average(errors, weights=[float(p.mask.sum()) for p in parts]))

    done = Training([now()])
    best = copy.deepcopy(mean.state_dict()), done.errors[0]
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for index in torch.randperm(len(train), generator=random).split(batch):
            part = train.part(index)
            outputs, _ = net.walk(part.x, part.state)
            value = measure(outputs, part.target, part.mask)
            net.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            done_part = optimizer.count / (epochs * batches)
            optimizer.step(rate * 0.5 * (1 + math.cos(math.pi * done_part)))
            total += float(value.detach()) * len(index)
            if average:
                with torch.no_grad():
                    for slow, fast in zip(mean.parameters(), net.parameters(), strict=True):
                        slow.lerp_(fast, 1 - average)
        done.loss.append(total / len(train))
        done.errors.append(now())
        if done.errors[-1] < best[1]:
            best, done.best = (copy.deepcopy(mean.state_dict()), done.errors[-1]), epoch
        if progress:
            progress(
                f"epoch {epoch} of {epochs}: loss {done.loss[-1]:.4g}, "
                f"score {done.errors[-1]:.4g}, best {best[1]:.4g}"
            )
    net.load_state_dict(best[0])
    net.eval()
    return done


class _Adam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) that measures a weight in steps of its row.

    A rate of 0.1 moves a weight by at most about a tenth of the distance to its next code, whatever
    the width and the row's scale; biases move by the mean step of their gate's weights, exponents
    of learned scales by half of the rate.
    """

    def __init__(self, net: Trainable, decay: tuple[float, float] = (0.9, 0.99)) -> None:
        self.decay, self.count = decay, 0
        self.moving: list[tuple[nn.Parameter, Tensor | float, Tensor, Tensor]] = []
        for layer in net.layers.values():
            assert isinstance(layer, Quantizable)  # noqa: S101
            for name, p in layer.named_parameters():
                unit = layer.unit(name)
                self.moving.append((p, unit, torch.zeros_like(p), torch.zeros_like(p)))

    def step(self, rate: float) -> None:
        """Move every parameter by its gradient."""
        self.count += 1
        first, second = self.decay
        correct = math.sqrt(1 - second**self.count) / (1 - first**self.count)
        with torch.no_grad():
            for p, unit, mean, square in self.moving:
                if p.grad is None:
                    continue
                mean.lerp_(p.grad, 1 - first)
                square.lerp_(p.grad**2, 1 - second)
                p.sub_(rate * correct * unit * mean / (square.sqrt() + 1e-15))


def _data(net: Trainable, given: dict[str, Any], warmup: int) -> _Data:
    """Check and convert data; see :func:`finetune`."""
    unknown = set(given) - {"x", "lengths", "state", "targets"}
    if unknown:
        raise InputError(f"unknown keys {sorted(unknown)}; known are x, lengths, state and targets")
    x = np.asarray(given["x"], np.float64)
    model = net.model
    if x.ndim != 3 or x.shape[2] != model.input_size or not x.size:
        raise InputError(f"x has shape {x.shape}, expected (sequences, steps, {model.input_size})")
    if not np.isfinite(x).all():
        raise InputError("x holds NaN or infinite values; remove them")
    state = given.get("state")
    targets = given.get("targets")
    if targets is None:
        start = model.initial_state(len(x)) | dict(state or {})
        targets = model.run(x, start)
    targets = np.asarray(targets, np.float64)
    if targets.shape[:2] != x.shape[:2]:
        raise InputError(f"targets have shape {targets.shape}, x has {x.shape}")
    real = check_lengths(given.get("lengths"), *x.shape[:2])
    step = np.arange(x.shape[1])
    mask = step < (np.full(len(x), x.shape[1]) if real is None else real)[:, None]
    mask = mask & (step >= warmup)
    if not mask.any():
        raise InputError(f"no step is left after a warmup of {warmup}")
    return _Data(
        torch.from_numpy(x), torch.from_numpy(targets), torch.from_numpy(mask),
        net.encode(state or {}),
    )  # fmt: skip


def _spread(data: _Data) -> Tensor:
    """Return the variance of every output over the steps that count."""
    return data.target[data.mask].var(0, correction=0).clamp(min=1e-12)


def _relative(spread: Tensor) -> Loss:
    """Return the mean squared error relative to the variance of each output."""

    def loss(outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        off = (outputs - targets.to(outputs)) ** 2 / spread.to(outputs)
        return off[mask].mean()

    return loss


def windows(
    model: Model, x: npt.ArrayLike, steps: int
) -> tuple[FloatArray, dict[str, tuple[FloatArray, FloatArray]]]:
    """Cut one long recording into sequences that start from the state the float model has there.

    Parameters
    ----------
    model : Model
    x : array_like, shape (T, I)
    steps : int
        Of each sequence; what is left over at the end is dropped.

    Returns
    -------
    (x, state)
        Shapes (N, steps, I), and for each layer twice (N, H): for :func:`finetune`.
    """
    data = np.asarray(x, np.float64)
    n = len(data) // steps
    if data.ndim != 2 or n < 1:
        raise InputError(f"x has shape {data.shape}, expected at least ({steps}, features)")
    trace: dict[str, list[FloatArray]] = {}
    model.run(data[: n * steps], None, trace)
    state = {}
    for name, (zero, _) in model.initial_state(1).items():
        both = []
        for key in (name, f"{name}.c"):
            values = (
                np.stack(trace[key])[:, 0] if key in trace else np.zeros((n * steps, zero.size))
            )
            both.append(np.concatenate([zero, values[steps - 1 :: steps][: n - 1]]))
        state[name] = (both[0], both[1])
    return data[: n * steps].reshape(n, steps, -1), state
