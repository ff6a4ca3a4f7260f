"""Random PyTorch modules as people write them: any order of layers, functions, sums and states."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Model
from torch import nn
from torch.nn.utils import prune

TOLERANCE = 1e-6  # of the largest output
STEPS = 5
KINDS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}
FUNCTIONS = {
    "relu": F.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid, "clamp": lambda y: y.clamp(-1, 1), "clamp_min": lambda y: y.clamp(min=0),
    "relu_": lambda y: F.relu(y * 2.0, inplace=True),
}  # fmt: skip
MODULES = {"mrelu": nn.ReLU, "mtanh": nn.Tanh, "mhardtanh": nn.Hardtanh, "mdropout": nn.Dropout}
REFUSED = {  # no core computes these, but "clip": each must be refused, whatever is around it
    "gelu": F.gelu, "softmax inside": lambda y: F.softmax(y, -1), "gate": lambda y: y * torch.sigmoid(y),
    "layer norm": lambda y: F.layer_norm(y, y.shape[-1:]), "pool": lambda y: y - y.mean(1, keepdim=True),
    "shift": lambda y: torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1),
    "difference": lambda y: y - y.flip([1]), "clip": lambda y: y.clamp(-2, 3), "round": torch.round,
}  # fmt: skip
ENDS = (
    "all",
    "all",
    "last",
    "first",
    "h",
    "softmax",
    "log_softmax",
    "time first",
    "flat",
    "tuple",
    "dict",
)


class Net(nn.Module):
    """A chain of steps, by name; ``first`` is of what the input is."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.tokens = rng.random() < 0.12
        size = self.features = rng.randint(2, 6)
        self.plan: list[tuple[str, nn.Module | None]] = []
        self.parts = nn.ModuleDict()
        sizes = [size]
        if self.tokens:
            size = rng.randint(2, 6)
            self.parts["embedding"] = nn.Embedding(self.features, size)
        self.register_buffer("mean", torch.randn(size))
        self.register_buffer("std", torch.rand(size) + 0.5)
        self.normalize = rng.random() < 0.4
        for k in range(rng.randint(1, 5)):
            step = rng.choice([*KINDS, *KINDS, "linear", "cell", "norm", "skip", "cat", "scale", "flip rnn",
                               *FUNCTIONS, *MODULES])  # fmt: skip
            if rng.random() < 0.06:
                step = rng.choice(list(REFUSED))
            h = rng.randint(1, 6)
            part: nn.Module | None = None
            if step in KINDS:
                both, depth = rng.random() < 0.25, rng.randint(1, 2)
                options = {"nonlinearity": rng.choice(["tanh", "relu"])} if step == "rnn" else {}
                part = KINDS[step](
                    size, h, depth, bias=rng.random() < 0.8, batch_first=rng.random() < 0.5,
                    bidirectional=both, **options,
                )  # fmt: skip
                size = h * (1 + both)
            elif step == "flip rnn":
                part, size = nn.GRU(size, h, batch_first=True), h
            elif step == "cell":
                part, size = CELLS[rng.choice(list(CELLS))](size, h), h
            elif step == "linear":
                part, size = nn.Linear(size, h, bias=rng.random() < 0.8), h
                wrap = rng.random()
                if wrap < 0.15:
                    part = nn.utils.parametrizations.weight_norm(part)
                elif wrap < 0.3:
                    prune.random_unstructured(part, "weight", 0.5)
            elif step == "norm":
                part = nn.BatchNorm1d(size, affine=rng.random() < 0.7)
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
            elif step == "skip":
                part = nn.Linear(size, size)
            elif step == "cat":
                part, size = nn.Linear(size, h), size + h
            elif step in MODULES:
                part = MODULES[step]()
            if part is not None:
                self.parts[f"p{k}"] = part
            self.plan.append((step, part))
            sizes.append(size)
        self.end = rng.choice(ENDS)
        self.fc = nn.Linear(size, rng.randint(1, 4))
        self.activation = rng.choice([None, None, "relu", "tanh", "sigmoid"])

    def apply_step(self, step: str, part: nn.Module | None, y: torch.Tensor) -> torch.Tensor:
        if step in KINDS:
            if part.batch_first:
                y, self.h = part(y)
            else:
                y, self.h = part(y.transpose(0, 1))
                y = y.transpose(0, 1)
            return y
        if step == "flip rnn":
            return part(y.flip([1]))[0].flip([1])
        if step == "cell":
            state, out = None, []
            for t in range(y.shape[1]):
                state = part(y[:, t], state)
                out.append(state[0] if isinstance(part, nn.LSTMCell) else state)
            return torch.stack(out, 1)
        if step == "norm":
            return part(y.transpose(1, 2)).transpose(1, 2)
        if step == "skip":
            return y + torch.tanh(part(y))
        if step == "cat":
            return torch.cat([y, part(y)], -1)
        if step == "scale":
            return (1.5 - y) / 4 + 0.25
        return part(y) if step in MODULES or step == "linear" else {**FUNCTIONS, **REFUSED}[step](y)

    def forward(self, x: torch.Tensor) -> object:
        y = self.parts["embedding"](x) if self.tokens else x
        self.h = None
        if self.normalize:
            y = (y - self.mean) / self.std
        for step, part in self.plan:
            y = self.apply_step(step, part, y)
        h, self.h = self.h, None
        if self.end == "h" and h is not None and self.plan[-1][0] in KINDS:
            h = h[0] if isinstance(h, tuple) else h
            two = self.plan[-1][1].bidirectional
            y = torch.cat([h[-2], h[-1]], 1) if two else h[-1]
        elif self.end in ("last", "first"):
            y = y[:, -1] if self.end == "last" else y[:, 0, :]
        elif self.end == "flat":
            y = y.reshape(-1, y.shape[-1])
        y = self.fc(y)
        y = FUNCTIONS[self.activation](y) if self.activation else y
        if self.end in ("softmax", "log_softmax"):
            return getattr(F, self.end)(y, dim=-1)
        if self.end == "time first":
            return y.transpose(0, 1)
        return {"tuple": (y, x), "dict": {"y": y, "x": x}}.get(self.end, y)


SPELLED = {
    "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "hardtanh": "hardtanh", "clamp": "hard_tanh",
    "hardsigmoid": "hard_sigmoid", "clamp_min": "relu", "mrelu": "relu", "mtanh": "tanh",
    "mhardtanh": "hardtanh", "mdropout": "none",
}  # fmt: skip


def spelled(net: Net) -> str | None:
    """Return the computation of a module in words, or None where there are no words for it."""
    steps, at = (["embedding(embedding)"], "embedding") if net.tokens else ([], "x")
    inner = {part.nonlinearity for _, part in net.plan if isinstance(part, nn.RNN)}
    if net.normalize or len(inner) > 1:
        return None
    for k, (step, part) in enumerate(net.plan):
        name = f"p{k}"
        if step in SPELLED and steps:
            steps.append(SPELLED[step])
        elif (step in KINDS or step == "linear") and part is not None:
            steps.append(name)
            at = name
        elif step in ("skip", "cat") and at:
            steps += [name, *["tanh"] * (step == "skip")]
            steps.append(f"{at} + {name}" if step == "skip" else f"cat({at}, {name})")
            at = ""  # what a sum or a concatenation gives has no name
        else:
            return None
    ends_in_state = net.end == "h" and net.plan[-1][0] in KINDS
    if ends_in_state and net.plan[-1][1].bidirectional:
        return None
    steps += ["last"] * (net.end == "last" or ends_in_state) + ["fc"]
    steps += [net.activation] * bool(net.activation)
    return ", ".join([*steps, *[net.end] * (net.end in ("softmax", "log_softmax"))])


def must_refuse(net: Net) -> bool:
    """Whether some step computes what no core does."""
    return any(step in REFUSED and step != "clip" for step, _ in net.plan)


def wrap(rng: random.Random, net: nn.Module) -> nn.Module:
    """Put the module into a wrapper, sometimes."""
    which = rng.random()
    if which < 0.1:
        return torch.nn.DataParallel(net)
    return torch.compile(net) if which < 0.2 else net


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
        return (
            y[:, -1] if "last step only" in notes else y[:, 0] if "first step only" in notes else y
        )
    if end == "first":
        return y[:, 0]
    if end == "time first":
        return y.swapaxes(0, 1)
    return y.reshape(-1, y.shape[-1]) if end == "flat" else y


Way = Callable[[random.Random, Net, torch.Tensor], Model]


def outcomes(seeds: Iterable[int], ways: Mapping[str, Way]) -> Counter[str]:
    """Read each random module in some ways; count what is equal to it in float64, and what is refused."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        torch.manual_seed(seed)
        rng = random.Random(seed)
        net = Net(rng).eval()
        size = (2, STEPS)
        x = torch.randint(0, net.features, size) if net.tokens else torch.randn(*size, net.features)
        for way, read in ways.items():
            try:
                model = read(rng, net.float(), x)
            except LookupError:  # this way has no form for it
                continue
            except InputError as error:
                assert "malformed" not in str(error), (seed, way, net.plan, str(error))
                counts[f"{way} refused"] += 1
                reason = str(error).partition(". Recurrent nodes")[0].split(": ")[-1]
                counts[f"why: {reason[:70]}"] += 1
                continue
            assert not must_refuse(net), (seed, way, net.plan, model.notes)
            want = truth(net, x)
            got = arranged(model, model.run(data(model, x)), net.end)
            assert got.shape == want.shape, (seed, way, net.plan, model.notes)
            away = np.abs(got - want).max() / np.abs(want).max()
            assert not away > TOLERANCE, (seed, way, away, net.plan, net.end)
            counts[f"{way} equal"] += 1
    return counts
