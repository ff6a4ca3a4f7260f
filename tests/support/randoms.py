"""Random models and programs for the tests: every cell, any size, any width."""

from __future__ import annotations

import numpy as np
from gatewright.compiler.config import Config
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.ir.model import Layer, Linear, Model, Recurrent
from gatewright.compiler.ir.network import BOUNDED
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize


def recurrent(
    rng: np.random.Generator,
    name: str,
    cell: str,
    inputs: tuple[str, ...],
    i: int,
    h: int,
    **options: str,
) -> Recurrent:
    """Return a layer with weights like those of a trained one."""
    spec = CELLS[cell].weighted
    scale = 1.5 / np.sqrt(i + h)
    return Recurrent(
        name, cell, inputs, h, i,
        {g.name: rng.normal(0, scale, (h, i)) for g in spec if g.input},
        {g.name: rng.normal(0, scale, (h, h)) for g in spec if g.recurrent},
        {g.name: rng.normal(0, 0.3, h) for g in spec},
        {g.name: rng.normal(0, 0.3, h) for g in spec},
        **options,
    )  # fmt: skip


def model(
    rng: np.random.Generator,
    *,
    cells: tuple[str, ...] = ("gru",),
    layers: int = 4,
    largest: int = 24,
) -> Model:
    """Return a random stack, sometimes with a head, dense layers and skip connections."""

    def size() -> int:
        return int(rng.integers(1, largest + 1))

    inputs = size()
    sizes = {"x": inputs}
    made: list[Layer] = []
    for k in range(int(rng.integers(1, layers + 1))):
        source = ("x",) if not made else (made[-1].name,)
        if made and rng.random() < 0.25:
            source = (*source, str(rng.choice(list(sizes)[:-1])))
        width = sum(sizes[name] for name in source)
        h, name = size(), f"layer{k}"
        kind = str(rng.choice(cells))
        if cells != ("gru",) and rng.random() < 0.15:
            act = str(rng.choice(["none", "relu", "tanh", "sigmoid"]))
            made.append(
                Linear(
                    name,
                    source,
                    rng.normal(0, 1 / np.sqrt(width), (h, width)),
                    rng.normal(0, 0.3, h),
                    act,
                )
            )
        else:
            options = {}
            if cells != ("gru",) and rng.random() < 0.3:
                options = activations(rng, kind)
            made.append(recurrent(rng, name, kind, source, width, h, **options))
        sizes[name] = h
    if rng.random() < 0.5:
        h = made[-1].size
        o = int(rng.integers(1, largest + 1))
        made.append(
            Linear(
                "head",
                (made[-1].name,),
                rng.normal(0, 1 / np.sqrt(h), (o, h)),
                rng.normal(0, 0.3, o),
            )
        )
    return Model(inputs, tuple(made))


def activations(rng: np.random.Generator, cell: str) -> dict[str, str]:
    """Return random activations of a cell's candidate, and of an LSTM's output."""
    if cell == "lstm":
        return {role: str(rng.choice(BOUNDED)) for role in ("candidate", "output")}
    # A ReLU in the loop of another cell would make most random states grow without end.
    return {"candidate": str(rng.choice([*BOUNDED, *["relu"] * cell.startswith("gru")]))}


def config(
    rng: np.random.Generator, *, most_lanes: int = 192, model: Model | None = None
) -> Config:
    """Return random widths and lanes; with a model, half of its gates get widths of their own."""
    activation = int(rng.integers(2, 17))
    widths = {}
    for layer in model.layers if model else ():
        gates = ["y"] if isinstance(layer, Linear) else [g.name for g in layer.spec.weighted]
        for name in [layer.name, *(f"{layer.name}.{gate}" for gate in gates)]:
            if rng.random() < 0.5:
                widths[name] = int(rng.integers(2, 17))
    return Config(
        weight_widths=widths,
        weight_bits=int(rng.integers(2, 17)),
        activation_bits=activation,
        state_bits=int(rng.integers(activation, 17)),
        gate_bits=int(rng.integers(2, 17)),
        lanes=int(np.exp(rng.uniform(0, np.log(most_lanes + 1)))),
        activation=str(rng.choice(["interpolated", "interpolated", "direct", "hard"])),
        rounding=str(rng.choice(["compensated", "nearest"])),
    )


def program(seed: int, *, most_lanes: int = 192, **options: object) -> Program:
    """Return the random program of a seed."""
    rng = np.random.default_rng(seed)
    m = model(rng, **options)  # type: ignore[arg-type]
    x = rng.normal(size=(2, 12, m.input_size))
    return quantize(m, x, config(rng, most_lanes=most_lanes, model=m))


def extreme_codes(p: Program, rng: np.random.Generator, n: int, steps: int) -> np.ndarray:
    """Return input codes (n, steps, I) over the whole format, a third of them its ends or zero.

    Steps in which all elements are alike drive sums further than calibration saw.
    """
    f, shape = p.network.input_format, (n, steps, p.network.input_size)
    x = rng.integers(f.low, f.high, shape, endpoint=True)
    ends = rng.choice([f.low, f.high, 0], shape)
    x = np.where(rng.random(shape) < 0.33, ends, x)
    return np.where(rng.random((n, steps, 1)) < 0.25, ends[..., :1], x)
