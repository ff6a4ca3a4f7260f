"""The tasks of ``bench/quantization.py``: data, float network, score, and how it is trained again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gatewright.compiler.config import Config
from gatewright.compiler.frontends import registry as load
from gatewright.compiler.ir.model import Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.compiler.training.finetune import finetune, windows
from gatewright.compiler.training.network import Trainable, trainable
from gatewright.examples.digits import train as digits
from gatewright.examples.g2p import pronounce as g2p
from gatewright.examples.japanese_vowels import train as vowels
from gatewright.examples.opendpd import amplifier
from gatewright.examples.rnnoise import suppressor

__all__ = ["TASKS", "Task"]

Figures = dict[str, float]
Run = Callable[[np.ndarray], np.ndarray]
"""A float model or a program on values (N, T, I)."""


@dataclass
class Task:
    """One network on one data set.

    Parameters
    ----------
    model : Model
        The float network.
    score : callable
        Takes what computes the network's outputs; gives the figures of the whole test set.
    calibration : dict
        ``x``, ``lengths`` and ``state`` for the quantizer.
    training : dict
        The same, and options, for :func:`finetune`.
    module : torch.nn.Module or None
        The float network in PyTorch, for comparison with other quantizers.
    """

    model: Model
    score: Callable[[Run], Figures]
    calibration: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    module: Any = None
    programs: dict[str, Program] = field(default_factory=dict)

    def quantized(self, config: Config) -> Program:
        """Quantize without training."""
        if str(config) not in self.programs:
            given = dict(self.calibration)
            program = quantize(self.model, given.pop("x"), config, **given)
            assert isinstance(program, Program)  # noqa: S101
            self.programs[str(config)] = program
        return self.programs[str(config)]

    def trained(self, config: Config, seed: int, **options: Any) -> Trainable:
        """Quantize, and train."""
        net = Trainable(self.model, self.quantized(config))
        finetune(net, **(self.training | {"seed": seed} | options))
        return net


def _noisy(x: np.ndarray, noise: np.ndarray | float, copies: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    more = [x + noise * random.normal(size=x.shape) for _ in range(copies)]
    return np.concatenate([x, *more])


def japanese_vowels(seed: int, given: Any) -> Task:
    """Japanese Vowels: accuracy in percent after the last frame, 370 sequences."""
    train, test = vowels.load_data()
    module, _ = vowels.train(seed)

    def score(run: Run) -> Figures:
        y = run(test.x.astype(np.float64))
        return {"accuracy": 100 * vowels.accuracy(y, test.lengths, test.labels)}

    x = train.x.astype(np.float64)
    learn, check = np.arange(len(x)) % 6 != 0, np.arange(len(x)) % 6 == 0
    frames = np.concatenate([s[:n] for s, n in zip(x, train.lengths, strict=True)])
    noisy = _noisy(x[learn], 0.3 * frames.std(0), 1, seed)
    training = {
        "x": noisy, "lengths": np.tile(train.lengths[learn], 2),
        "validation": {"x": x[check], "lengths": train.lengths[check]}, "batch": 64, "epochs": 15,
    }  # fmt: skip
    return Task(load(module), score, {"x": x, "lengths": train.lengths}, training, module)


def digits_task(seed: int, given: Any) -> Task:
    """scikit-learn digits: accuracy in percent after the last row, 899 images."""
    train, test = digits.load_data()
    module = digits.train(seed)

    def score(run: Run) -> Figures:
        return {"accuracy": 100 * digits.accuracy(run(test.x.astype(np.float64)), test.labels)}

    x = train.x.astype(np.float64)
    training = {
        "x": _noisy(x[:-98], digits.NOISE, 1, seed), "validation": {"x": x[-98:]},
        "batch": 64, "epochs": 15,
    }  # fmt: skip
    return Task(load(module), score, {"x": x}, training, module)


def opendpd(seed: int, given: Any) -> Task:
    """OpenDPD: normalized mean square error in dB of the whole amplifier, 20,000 samples."""
    samples, model = amplifier.load_recording(), amplifier.core_model()
    x, side = amplifier.features(samples.test), amplifier.skip(samples.test)
    steps = len(samples.target)

    def score(run: Run) -> Figures:
        return {"NMSE": amplifier.nmse_db(run(x[None, :steps])[0] + side[:steps], samples.target)}

    recording = samples.calibration
    if given.opendpd:
        with np.load(given.opendpd) as file:
            recording = file["x_train"].astype(np.float64)
    features = amplifier.features(recording)[:-1]  # the last one's "next" is not the next
    check = len(features) // 8
    learn, learn_state = windows(model, features[:-check], 100)
    last, last_state = windows(model, features[-check:], 500)
    training = {
        "x": learn, "state": learn_state, "validation": {"x": last, "state": last_state},
        "batch": 16, "epochs": 150,
    }  # fmt: skip
    calibration = amplifier.features(samples.calibration).reshape(20, -1, 6)
    return Task(model, score, {"x": calibration}, training)


def rnnoise(seed: int, given: Any) -> Task:
    """RNNoise: gain error and voice flips on the noisy recording; trained on the other one."""
    model, recordings = suppressor.network(), suppressor.load_recordings()

    def score(run: Run) -> Figures:
        found = suppressor.errors(run(recordings["noisy"].features[None])[0], recordings["noisy"])
        gain = found.gain
        return {"max": float(gain.max()), "mean": float(gain.mean()), "flips": float(found.flips)}

    speech = recordings["speech"].features
    learn, learn_state = windows(model, speech[:1200], 60)
    last, last_state = windows(model, speech[1200:], 300)
    training = {
        "x": learn, "state": learn_state, "validation": {"x": last, "state": last_state},
        "batch": 4, "epochs": 40,
    }  # fmt: skip
    return Task(model, score, {"x": suppressor.calibration(recordings)}, training)


class Pronunciation:
    """g2p_en: identical words of 500. Encoder and decoder are two tasks with one score."""

    def __init__(self, seed: int, given: Any) -> None:
        if not (given.checkpoint and given.words):
            raise FileNotFoundError("g2p needs --checkpoint and --words")
        self.network = g2p.load(given.checkpoint)
        known = {k: v["phonemes"] for k, v in json.loads(Path(given.words).read_text()).items()}
        self.test, self.rest = list(known)[:500], list(known)[500:]
        self.known = known

    def count(self, programs: g2p.Programs | None) -> Figures:
        """Count test words whose phonemes are those of the float network."""
        said = g2p.pronounce(self.test, self.network, programs)
        same = sum(a == self.known[b] for a, b in zip(said, self.test, strict=True))
        return {"words": float(same)}

    def invented(self, seed: int, words: int = 1500) -> list[str]:
        """Make words by the pairs of letters of the words outside the test."""
        random = np.random.default_rng(seed)
        follow: dict[str, list[str]] = {}
        for word in self.rest:
            for a, b in zip(f"<{word}", f"{word}>", strict=True):
                follow.setdefault(a, []).append(b)
        made: list[str] = []
        while len(made) < words:
            word, at = "", "<"
            while len(word) < 14 and (at := str(random.choice(follow[at]))) != ">":
                word += at
            if len(word) > 2:
                made.append(word)
        return made

    def programs(self, config: Config, seed: int | None, **options: Any) -> g2p.Programs:
        """Quantize both networks, and train them where there is a seed."""
        if seed is None:
            return g2p.quantize_both(self.network, self.rest, config)
        learn = self.rest + self.invented(seed)
        made = []
        for part in ("encoder", "decoder"):
            model, some = getattr(self.network, part), g2p_data(self.network, learn, part)
            fit = g2p_data(self.network, self.rest, part)
            net = trainable(model, fit["x"], config, lengths=fit["lengths"], state=fit["state"])
            split = len(self.rest) // 4
            check = {k: _cut(v, slice(None, split)) for k, v in some.items()}
            rest = {k: _cut(v, slice(split, None)) for k, v in some.items()}
            finetune(net, **rest, validation=check, seed=seed, batch=64, **options)
            made.append(net.to_program())
        return g2p.Programs(*made)


def _cut(value: Any, part: slice) -> Any:
    if isinstance(value, dict):
        return {k: tuple(a[part] for a in v) for k, v in value.items()}
    return value if value is None else value[part]


def g2p_data(network: g2p.Network, words: list[str], part: str) -> dict[str, Any]:
    """Return input, lengths and first state of one of the networks on words."""
    x, last = g2p.spell(words, network)
    if part == "encoder":
        return {"x": x, "lengths": last + 1, "state": None}
    said = g2p.pronounce(words, network)
    codes = np.zeros((len(words), g2p.LONGEST + 1), np.int64)
    codes[:, 0] = g2p.START
    for k, phonemes in enumerate(said):
        codes[k, 1 : len(phonemes) + 1] = [g2p.PHONEMES.index(name) for name in phonemes]
    h = network.encoder.run(x)[np.arange(len(words)), last]
    lengths = np.array([len(phonemes) + 1 for phonemes in said])
    return {
        "x": network.phonemes[codes], "lengths": lengths, "state": {"gru": (h, np.zeros_like(h))},
    }  # fmt: skip


TASKS: dict[str, Callable[[int, Any], Any]] = {
    "vowels": japanese_vowels,
    "digits": digits_task,
    "opendpd": opendpd,
    "rnnoise": rnnoise,
    "g2p": Pronunciation,
}
torch.set_num_threads(1)
