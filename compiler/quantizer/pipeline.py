"""From a float model and data to a program: the stages of quantization, in order.

1. :func:`scale_features` divides features of very different range by powers of two.
2. :func:`~.calibration.calibrate` runs the float model and measures every vector.
3. :class:`~.trials.Trials` chooses formats (:mod:`.formats`), rounds weights
   (:mod:`.rounding`), corrects biases (:mod:`.bias`) and lowers the model to integers
   (:mod:`.lowering`).
4. The golden model runs on the calibration data; :mod:`.quality` compares it with the float model.
5. :class:`~..program.program.Program` lays the integer network out on an engine.

A model with reversed layers is split into sweeps (:mod:`.sweeps`); stages 2 to 5 then run for
each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray, check_lengths, reverse_steps, valid_steps
from ..config import Config
from ..errors import InputError
from ..ir.model import Model
from ..layout.core_spec import differences
from ..numerics.fixed import Format
from ..program.chain import Chain
from ..program.program import Program
from ..program.stage import Stage
from .calibration import calibrate, calibration_data
from .formats import choose_input_format
from .lowering import FrozenFormats, check_widths
from .quality import clipped_inputs, clipping_cost, measured_quality
from .sweeps import split
from .trials import Trials

# Spread of the features' ranges, in bits: beyond NEAR a format for each feature is tried, and taken
# where one format for all makes more than GAIN times its error; beyond FAR it is taken at once.
NEAR, FAR, GAIN = 3, 8, 1.5

__all__ = ["choose_exponents", "quantize", "quantize_chain", "quantize_stream", "scale_features"]


def quantize(
    model: Model,
    calibration: npt.ArrayLike | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
    like: Program | Chain | None = None,
) -> Program | Chain:
    """Quantize a float model and lay it out on an engine.

    Parameters
    ----------
    model : Model
    calibration : array_like, shape (N, T, I) or (T, I), optional
        Data the formats are chosen on. Without it, normally distributed input is assumed
        and ``program.quality['calibration']`` says so.
    config : Config, optional
        Default: every default of :class:`~.config.Config`.
    lengths : array_like of int, shape (N,), optional
        True length of each zero-padded calibration sequence.
    state : mapping of layer -> (h, c), shapes (N, H), optional
        State before the first step of each calibration sequence, as a decoder has it.
    like : Program, optional
        Take over formats, shifts and field widths of this program, so that the new one has the
        same ``hardware_digest`` and can be loaded into its core. ``config`` then defaults to its.
        Head room comes from the first program's ``Config(spare=...)``.

    Raises
    ------
    InputError
        The model does not fit in the hardware of ``like``, among others.

    Returns
    -------
    Program, or Chain where a layer walks sequences from their end
        With ``quality``: ``error`` (max and mean of the difference to the float model on the
        calibration data), ``saturations`` by place, and ``calibration``.
    """
    if calibration is None:
        return _quantize(model, None, config, lengths, state, like, ())
    close = scale_features(model, calibration, lengths, FAR)
    if close[2] or (like is not None and not like.exponents):
        scaled, data, exponents = close
        return _quantize(scaled, data, config, lengths, state, like, exponents)
    scaled, data, exponents = scale_features(model, calibration, lengths, NEAR)
    own = _quantize(scaled, data, config, lengths, state, like, exponents)
    if like is not None or not exponents:
        return own
    one = _quantize(model, calibration, config, lengths, state, like, ())
    return one if _mean_error(one) <= GAIN * _mean_error(own) else own


def _mean_error(program: Program | Chain) -> float:
    """Mean error of the outputs on the calibration data."""
    return float(program.quality["error"]["mean"])


def _quantize(
    model: Model,
    calibration: npt.ArrayLike | None,
    config: Config | None,
    lengths: npt.ArrayLike | None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None,
    like: Program | Chain | None,
    exponents: tuple[int, ...],
) -> Program | Chain:
    """Quantize a model whose features were divided by powers of two; see :func:`quantize`."""
    if model.streams and (like is None or isinstance(like, Program)):
        config = config or (like.config if like else None)
        return quantize_stream(
            model, calibration, config, lengths=lengths, state=state, like=like,
            exponents=exponents,
        )  # fmt: skip
    if like is not None:
        raise InputError(
            "like takes the place of one program; a model that walks sequences from their end "
            "has several: quantize it without"
        )
    if state is not None:
        raise InputError(
            "a model with a layer that walks sequences from their end starts from zero states; "
            "drop state="
        )
    return quantize_chain(model, calibration, config, lengths=lengths, exponents=exponents)


def quantize_stream(
    model: Model,
    calibration: npt.ArrayLike | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
    input_format: Format | None = None,
    like: Program | None = None,
    exponents: tuple[int, ...] = (),
) -> Program:
    """Quantize a model that streams, as :func:`quantize` does.

    Parameters
    ----------
    input_format : Format, optional
        Format of x, where it is not to be chosen on the calibration data.
    like : Program, optional
        See :func:`quantize`.
    exponents : tuple of int
        What :func:`scale_features` divided the features by before this call.
    """
    config = config or Config()
    fixed = None
    if like is not None:
        config = replace(config, lanes=like.geometry.lanes)
        shifts = [f.base for name, f in like.hardware.layout.items() if "shift" in name]
        fixed = FrozenFormats(like.network, max(shifts))
    measured = calibrate(model, calibration, lengths, state)
    network = Trials(model, measured, input_format, fixed).network(config)
    start = golden.State.encode(network, measured.state)
    result = golden.run(network, network.input_format.quantize(measured.data), start)
    difference = np.abs(result.outputs * network.output_steps - measured.reference)[measured.valid]
    inputs = clipped_inputs(measured.data, network.input_format, measured.valid)
    quality = measured_quality(difference, result, measured.synthetic, inputs)
    if quality["saturations"]:
        quality["clipping"] = clipping_cost(network, measured.cuts)
    if config.argmax:
        network = network.with_argmax()
    if like is None:
        return Program(network, config, quality, exponents=exponents)
    program = Program(network, config, quality, like.hardware, exponents, like.geometry)
    unlike = differences(program, like)
    if unlike:
        raise InputError(
            f"the model does not fit in the hardware of the program: {'; '.join(unlike[:3])}; build a "
            "new bitstream"
        )
    return program


def quantize_chain(
    model: Model,
    calibration: npt.ArrayLike | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    exponents: tuple[int, ...] = (),
) -> Chain:
    """Quantize a model pass by pass; see :func:`quantize`.

    The input format of a pass is that of the operands which its vectors would make inside
    one network; where their fraction bits differ, the fewest of them.
    """
    config = config or Config()
    data = calibration_data(model, calibration)
    real = check_lengths(lengths, *data.shape[:2])
    valid = valid_steps(real, *data.shape[:2])
    trace: dict[str, list[FloatArray]] = {}
    reference = model.run(data, trace=trace, lengths=real)
    vectors = {name: np.stack(trace[name], axis=1) for name in model.sizes}
    bits, drop = config.activation_bits, config.state_bits - config.activation_bits
    x_format = choose_input_format(vectors["x"][valid].ravel(), bits)
    operand_fracs = {"x": x_format.frac}
    check_widths(model, config)
    passes = split(model)
    each = replace(config, rate=config.rate * len(passes), argmax=False)
    stages = []
    for part in passes:
        given = np.concatenate([vectors[name] for name in part.reads], axis=2)
        program = quantize_stream(
            part.model, reverse_steps(given, real) if part.reverse else given,
            each.only(part.model.sizes), lengths=real,
            input_format=Format(bits, min(operand_fracs[name] for name in part.reads)),
        )  # fmt: skip
        for name in part.model.outputs:
            operand_fracs[name] = program.network.layer(name).frac - drop
        stages.append(Stage(program, part.reads, part.reverse))
    chain = Chain(x_format, model.input_size, tuple(stages), model.outputs, config)
    result = chain.evaluate(chain.encode(data), lengths=real)
    difference = np.abs(chain.decode(result.outputs) - reference)[valid]
    inputs = clipped_inputs(data, x_format, valid)
    quality = measured_quality(difference, result, calibration is None, inputs)
    if config.argmax:
        last = stages[-1].program
        if last.network.outputs != model.outputs:
            raise InputError(
                f"argmax takes the outputs of one layer, not {', '.join(model.outputs)}; leave it "
                "off, or end the model in a linear layer"
            )
        last = Program(last.network.with_argmax(), replace(last.config, argmax=True), last.quality)
        stages[-1] = replace(stages[-1], program=last)
    return Chain(
        x_format, model.input_size, tuple(stages), model.outputs, config, quality, exponents
    )


def scale_features(
    model: Model, calibration: npt.ArrayLike, lengths: npt.ArrayLike | None, spread: int
) -> tuple[Model, FloatArray, tuple[int, ...]]:
    """Divide features of very different range by powers of two, see :func:`choose_exponents`.

    Returns
    -------
    (model, data, exponents)
        The model that reads scaled features, and the calibration data it reads, (N, T, I).
    """
    data = calibration_data(model, calibration)
    valid = valid_steps(check_lengths(lengths, *data.shape[:2]), *data.shape[:2])
    exponents = choose_exponents(data[valid], spread)
    if not exponents:
        return model, data, ()
    return model.with_input_scale(exponents), data * 2.0 ** -np.array(exponents), exponents


def choose_exponents(x: FloatArray, spread: int) -> tuple[int, ...]:
    """Choose binary points for features of very different range, shape (samples, features).

    One format serves all features unless their ranges differ by more than 2**``spread``; then
    each is divided by the power of two above its largest magnitude. Empty: one format is enough.
    """
    largest = np.abs(x).max(axis=0, initial=0.0)
    if not largest.any():
        return ()
    integer = np.ceil(np.log2(np.where(largest > 0, largest, largest.max()))).astype(int)
    return tuple(integer.tolist()) if np.ptp(integer) > spread else ()
