"""Quantization as the package's door offers it: any source of a model, options by keyword."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy.typing as npt

from .arrays import FloatArray
from .config import Config
from .errors import InputError, did_you_mean
from .files.recording import read_x
from .frontends.registry import load
from .ir.model import Model
from .program.chain import Chain
from .program.program import Program
from .quantizer import pipeline

__all__ = ["quantize"]


def quantize(
    model: Any,
    calibration: npt.ArrayLike | str | os.PathLike[str] | None = None,
    config: Config | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    state: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
    like: Program | Chain | None = None,
    **options: Any,
) -> Program | Chain:
    """Quantize a model and lay it out on an engine.

    Parameters
    ----------
    model : Model, torch.nn.Module, mapping of str -> array, or path
        What :func:`~.frontends.registry.load` reads, or its result.
    calibration : array_like, shape (N, T, I) or (T, I), or path of a recording; optional
        Data the formats are chosen on. Without it, normally distributed input is assumed
        and ``program.quality['calibration']`` says so.
    config : Config, optional
        Default: every default of :class:`~.config.Config`, or the configuration of ``like``.
    lengths : array_like of int, shape (N,), optional
        True length of each zero-padded calibration sequence.
    state : mapping of layer -> (h, c), shapes (N, H), optional
        State before the first step of each calibration sequence, as a decoder has it.
    like : Program, optional
        Take over its formats, shifts and field widths, so that the new program can be loaded into
        its core: both have the same ``hardware_digest``.
    **options
        Fields of :class:`~.config.Config`, such as ``lanes=24``; they go before ``config``.

    Returns
    -------
    Program, or Chain where a layer walks sequences from their end
        With ``quality``: ``error`` (max and mean of the difference to the float model on the
        calibration data), ``saturations`` by place, and ``calibration``.

    Raises
    ------
    InputError
        The model, the data or an option is at fault.

    Warns
    -----
    UserWarning
        What reading the model took for granted.
    """
    known = [field.name for field in fields(Config)]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"; options are {', '.join(known)}"
            raise InputError(f"quantize has no option {name!r}{hint}")
    if options:
        base = config or (like.config if like is not None else Config())
        config = replace(base, **options)
    if not isinstance(model, Model):
        model = load(model)
        if model.not_compared:
            warnings.warn(
                f"not compared with your model: {'; '.join(model.not_compared)}", stacklevel=2
            )
    if isinstance(calibration, str | os.PathLike):
        data = read_x(calibration, model.input_size)  # type: ignore[arg-type]
        calibration, lengths = data.x, data.lengths if lengths is None else lengths
    return pipeline.quantize(model, calibration, config, lengths=lengths, state=state, like=like)
