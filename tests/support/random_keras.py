"""Random Keras models as people write them: any order of layers, sums, norms, states and nested models."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
from keras import layers as L
from keras import ops

RECURRENT = ("gru", "lstm", "rnn", "bidirectional", "cells", "backwards")
STATELESS = ("dense", "activation", "relu", "norm", "skip", "average", "subtract", "cat", "distributed",
             "nested", "functional", "noise", "scale", "operators", "state", "none merge")  # fmt: skip
REFUSED = ("layer norm", "gate", "softmax inside", "convolution", "pool", "start state", "multiply both",
           "gelu", "ends of both")  # fmt: skip
ENDS = ("all", "all", "last", "slice", "softmax", "reversed", "state", "two outputs", "both ends")


class Net:
    """A random model; ``plan`` names its steps, ``refused`` those that no core computes."""

    def __init__(self, seed: int) -> None:
        keras.utils.set_random_seed(seed)
        self.rng = rng = random.Random(seed)
        self.plan: list[str] = []
        self.refused: list[str] = []
        self.tokens = rng.random() < 0.12
        self.features = rng.randint(2, 5)
        if self.tokens:
            x = keras.Input((None,), dtype="int32")
            y = L.Embedding(self.features, rng.randint(2, 5))(x)
        else:
            x = y = keras.Input((rng.choice([None, None, 9]), self.features))
            if rng.random() < 0.4:
                y = self.front(y)
        for _ in range(rng.randint(1, 5)):
            step = rng.choice([*RECURRENT, *RECURRENT, *STATELESS])
            if rng.random() < 0.05:
                step = rng.choice(REFUSED)
                self.refused.append(step)
            self.plan.append(step)
            y = self.step(step, y)
        self.end = rng.choice(ENDS)
        y = self.finish(y)
        self.model = keras.Model(x, y)
        values = np.random.default_rng(seed)
        for weight in self.model.weights:
            drawn = values.normal(size=weight.shape) * 0.6
            weight.assign(np.abs(drawn) + 0.3 if "variance" in weight.path else drawn)

    def front(self, y: Any) -> Any:
        kind = self.rng.choice(["Normalization", "Rescaling", "BatchNormalization", "fixed"])
        self.plan.append(kind)
        if kind == "fixed":
            mean = [0.5 * k for k in range(self.features)]
            return L.Normalization(mean=mean, variance=[2.0 + k for k in range(self.features)])(y)
        return L.Rescaling(0.25, -0.5)(y) if kind == "Rescaling" else getattr(L, kind)()(y)

    def options(self, kind: str) -> dict[str, Any]:
        rng = self.rng
        made: dict[str, Any] = {"use_bias": rng.random() < 0.8}
        if kind == "gru":
            made["reset_after"] = rng.random() < 0.5
        if kind != "lstm":
            made["activation"] = rng.choice(["tanh", "tanh", "relu", "sigmoid"])
        if kind != "rnn":
            made["recurrent_activation"] = rng.choice(["sigmoid", "sigmoid", "hard_sigmoid"])
        return made

    def recurrent(self, kind: str, size: int, **more: Any) -> Any:
        layer = {"gru": L.GRU, "lstm": L.LSTM, "rnn": L.SimpleRNN}[kind]
        return layer(size, return_sequences=True, **self.options(kind), **more)

    def step(self, step: str, y: Any) -> Any:
        rng, size, h = self.rng, y.shape[-1], self.rng.randint(1, 5)
        kind = rng.choice(["gru", "lstm", "rnn"])
        cell = {"gru": L.GRUCell, "lstm": L.LSTMCell, "rnn": L.SimpleRNNCell}[kind]
        if step in ("gru", "lstm", "rnn"):
            return self.recurrent(step, h)(y)
        if step == "bidirectional":
            mode = rng.choice(["concat", "sum", "ave"])
            return L.Bidirectional(self.recurrent(kind, h), merge_mode=mode)(y)
        if step == "none merge":
            a, b = L.Bidirectional(self.recurrent(kind, h), merge_mode=None)(y)
            return L.Concatenate()([b, a]) if rng.random() < 0.5 else b
        if step == "cells":
            cells = [cell(h, **self.options(kind))]
            cells += [L.GRUCell(2)] if rng.random() < 0.5 else []
            return L.RNN(cells if len(cells) > 1 else cells[0], return_sequences=True)(y)
        if step == "backwards":
            back = self.recurrent(kind, h, go_backwards=True)(y)
            return ops.flip(back, 1) if rng.random() < 0.5 else back
        if step == "dense":
            return L.Dense(
                h, rng.choice([None, "relu", "tanh", "hard_sigmoid", "relu6", "leaky_relu"])
            )(y)
        if step == "activation":
            return L.Activation(rng.choice(["relu", "tanh", "sigmoid", "linear", "hard_sigmoid"]))(
                y
            )
        if step == "relu":
            return rng.choice([
                L.ReLU(), L.ReLU(max_value=1.0), L.LeakyReLU(0.2), L.PReLU(shared_axes=[1]),
                L.ReLU(max_value=2.0, negative_slope=0.1)])(y)  # fmt: skip
        if step == "norm":
            return L.BatchNormalization(scale=rng.random() < 0.7, center=rng.random() < 0.7)(y)
        if step == "skip":
            return L.Add()([y, L.Dense(size, "tanh")(y)])
        if step == "average":
            return L.Average()([self.recurrent(kind, size)(y), y])
        if step == "subtract":
            return L.Subtract()([y, self.recurrent(kind, size)(y)])
        if step == "cat":
            return L.Concatenate()([y, self.recurrent(kind, h)(y)])
        if step == "distributed":
            return L.TimeDistributed(rng.choice([
                L.Dense(h, "relu"), L.BatchNormalization(), keras.Sequential([L.Dense(2), L.ReLU()])]))(y)  # fmt: skip
        if step == "nested":
            return keras.Sequential([self.recurrent(kind, h), L.BatchNormalization(), L.Dense(3)])(
                y
            )
        if step == "functional":
            x = keras.Input((None, size))
            z = x + L.Dense(size)(x)
            inner = keras.Model(x, L.BatchNormalization(trainable=rng.random() < 0.5)(z))
            return inner(inner(y)) if rng.random() < 0.5 else inner(y)
        if step == "noise":
            return rng.choice([L.Dropout(0.3), L.GaussianNoise(0.1), L.SpatialDropout1D(0.2),
                               L.ActivityRegularization(0.1)])(y)  # fmt: skip
        if step == "scale":
            return (1.5 - y) / 4.0 + 0.25
        if step == "operators":
            return ops.concatenate([ops.relu(y)[:, :, :1], y * 2.0, ops.tanh(y)], axis=-1)
        if step == "state":
            z = self.recurrent(kind, h, return_state=True)(y)
            return z[0]
        return self.no_core(step, y, size)

    def no_core(self, step: str, y: Any, size: int) -> Any:
        if step == "layer norm":
            return L.LayerNormalization()(y)
        if step == "gate":
            return L.Multiply()([y, L.Dense(size, "sigmoid")(y)])
        if step == "softmax inside":
            return L.Dense(3)(L.Softmax()(y))
        if step == "convolution":
            return L.Conv1D(3, 3, padding="causal")(y)
        if step == "pool":
            return y - ops.mean(y, axis=1, keepdims=True)
        if step == "start state":
            z, h = L.GRU(3, return_sequences=True, return_state=True)(y)
            return L.GRU(3, return_sequences=True)(z, initial_state=h)
        if step == "multiply both":
            return L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="mul")(y)
        if step == "gelu":
            return L.Dense(3, "gelu")(y)
        both = L.Bidirectional(L.GRU(3))(y)  # ends of both
        return L.GRU(3, return_sequences=True)(L.Dense(4)(both)[:, None, :] + y[:, :, :1])

    def finish(self, y: Any) -> Any:
        rng, kind = self.rng, self.rng.choice(["gru", "lstm", "rnn"])
        if self.end == "last":
            y = {"gru": L.GRU, "lstm": L.LSTM, "rnn": L.SimpleRNN}[kind](3, **self.options(kind))(y)
        elif self.end == "slice":
            y = y[:, -1]
        elif self.end == "state":
            y = self.recurrent(kind, 4, return_state=True)(y)[1]
        elif self.end == "both ends":
            return L.Bidirectional(L.LSTM(3))(y)
        elif self.end == "reversed":
            return self.recurrent(kind, 4, go_backwards=True)(y)
        y = L.Dense(rng.randint(2, 4), "softmax" if self.end == "softmax" else None)(y)
        return [y, L.Dense(2)(y)] if self.end == "two outputs" else y

    def draw(self, steps: int) -> np.ndarray:
        """Return an input of two sequences, as the model takes it."""
        rng = np.random.default_rng(len(self.plan))
        if self.tokens:
            return rng.integers(0, self.features, (2, steps))
        fixed = self.model.input_shape[1]
        return rng.normal(size=(2, fixed or steps, self.features)).astype("float32")
