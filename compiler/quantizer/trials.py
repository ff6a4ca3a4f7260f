"""Quantizing one model again and again on the same data, by what its outputs lose over time.

:class:`Trials` keeps everything that does not depend on the widths, so that a search over widths
(:mod:`..tuning.search`) costs little more than the evaluations themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import golden
from ..arrays import IntArray
from ..config import Config
from ..ir.model import Linear, Model
from ..ir.network import QNetwork
from ..numerics.fixed import Format
from .bias import correct_bias, float_gates
from .calibration import Calibration
from .formats import Formats, Loss, choose_formats, improve
from .lowering import FrozenFormats, quantize_network
from .rounding import RECIPES, Recipe, Rounder

__all__ = ["Trials"]

WIDE = 16  # bits of weights while formats of vectors are compared
CORRECTIONS = 4  # of biases that are tried
ENOUGH = 1.0  # error over that with wide weights, from which on no better rounding is looked for


class Trials:
    """Quantizes one model on one set of data.

    Parameters
    ----------
    model : Model
        One that streams.
    measured : Calibration
    input_format : Format, optional
        Format of x, where it is not to be chosen.
    like : FrozenFormats, optional
        Formats and shifts to take over.
    """

    def __init__(
        self,
        model: Model,
        measured: Calibration,
        input_format: Format | None = None,
        like: FrozenFormats | None = None,
    ) -> None:
        self.model, self.measured, self.input_format = model, measured, input_format
        self.like = like
        self.rounder = Rounder(measured.moments)
        self._formats: dict[tuple[object, ...], tuple[Formats, Loss]] = {}

    def error(self, network: QNetwork) -> Loss:
        """Measure the error of the outputs over time, on pieces of the data."""
        cuts = self.measured.cuts
        codes = network.input_format.quantize(cuts.x)
        done = golden.run(network, codes, golden.State.encode(network, cuts.state))
        off = (done.outputs * network.output_steps - cuts.reference)[cuts.valid]
        if not off.size:
            return Loss(0.0, 0.0)
        return Loss(float(np.mean(off**2)), float(np.abs(off).max()))

    def formats(self, config: Config) -> tuple[Formats, Loss]:
        """Choose the formats of vectors, and return the error they cause by themselves.

        The error is 0 where none was measured.
        """
        if self.like is not None:
            return self.like.formats(), Loss(0.0, 0.0)
        c = config
        key = (c.calibration_method, c.activation_bits, c.state_bits, c.gate_bits, c.activation,
               c.thresholds)  # fmt: skip
        if key not in self._formats:
            start = choose_formats(self.model, config, self.measured, self.input_format)
            found = start, Loss(0.0, 0.0)
            # Data that are only assumed say nothing about what may be clipped.
            if c.calibration_method == "error" and not self.measured.synthetic:
                wide = replace(config, weight_bits=WIDE, weight_widths={}, rounding="nearest")

                def error(formats: Formats) -> Loss:
                    return self.error(self._quantize(wide, RECIPES["nearest"][0], formats))

                x = self.input_format is None
                found = improve(start, self.model, config, error, x=x)
            self._formats[key] = found
        return self._formats[key]

    def _quantize(self, config: Config, recipe: Recipe, formats: Formats) -> QNetwork:
        return quantize_network(
            self.model, config, self.measured, recipe, formats, self.rounder, self.like
        )

    def network(self, config: Config) -> QNetwork:
        """Quantize by the recipe that loses least; the error is that of outputs, argmax or not."""
        config = replace(config, argmax=False)
        formats, floor = self.formats(config)
        recipes = RECIPES[config.rounding]
        if config.calibration_method != "error":
            return self._quantize(config, recipes[0], formats)
        best, least = self._quantize(config, recipes[0], formats), np.inf
        for recipe in recipes:
            network = self._quantize(config, recipe, formats)
            error = self.error(network).mean
            if error < least:
                best, least = network, error
            if least <= ENOUGH * floor.mean or self._exact(network):
                return best
        if config.rounding == "nearest":
            return best
        amount, gates = 1.0, float_gates(self.model, self.measured.cuts)
        for _ in range(CORRECTIONS):
            network = correct_bias(best, gates, self.measured.cuts, amount)
            error = self.error(network).mean
            if error < least:
                best, least = network, error
            else:
                amount /= 3
        return best

    def _exact(self, network: QNetwork) -> bool:
        """Return whether every weight is what it was: then there is nothing to choose."""
        for layer in self.model.layers:
            for g in network.layer(layer.name).gates:
                if isinstance(layer, Linear):
                    pairs: list[tuple[Any, IntArray, Any]] = [(g.w, g.w_frac, layer.w)]
                else:
                    name = g.gate.name
                    pairs = [(g.w, g.w_frac, layer.w.get(name)), (g.u, g.u_frac, layer.u.get(name))]
                for codes, frac, own in pairs:
                    if own is not None and codes is not None:
                        if (codes * 2.0 ** -frac[:, None].astype(float) != own).any():
                            return False
        return True
