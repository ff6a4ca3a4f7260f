"""Programs in a row: a network whose layers walk sequences in both directions.

Every pass (see :mod:`..quantizer.sweeps`) is a :class:`~.program.Program` of its own, walked over the
whole sequence before the next one starts. Whoever feeds the cores keeps the vectors in
between. It is integers all the way: the codes that a pass hands out become the input codes
of the next ones by :func:`~.stage.convert`, and by nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import golden
from ..arrays import FloatArray, IntArray, check_lengths, reverse_steps
from ..config import Config
from ..errors import InputError, check_type
from ..files.budget import one_import
from ..numerics.fixed import Format
from ..shown import Shown
from .folder import (
    SCHEMA,
    check_digest,
    check_summary,
    damaged,
    quality_digest,
    read_description,
    read_quality,
)
from .inputs import encode, read_exponents
from .program import Program
from .stage import Stage, convert
from .states import StateLike, encode_state

__all__ = ["Chain", "check_program", "load_program"]

PASSES_LIMIT = 64


class Chain(Shown):
    """Passes over whole sequences, with the surface of a :class:`~.program.Program`.

    Parameters
    ----------
    input_format : Format
        Format of one element of x.
    input_size : int
    stages : tuple of Stage
        In the order in which they run.
    outputs : tuple of str
        Vectors that make the output, in order.
    config : Config
        What was asked for. Where it has a rate, every pass was laid out for an equal share of
        the time of a step.
    quality : dict, optional
        What the quantizer measured, for reports.
    exponents : tuple of int
        As in a :class:`~.program.Program`.

    Raises
    ------
    InputError
        A pass reads what no earlier one hands out.
    """

    def __init__(
        self, input_format: Format, input_size: int, stages: tuple[Stage, ...],
        outputs: tuple[str, ...], config: Config, quality: dict[str, Any] | None = None,
        exponents: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self.input_format, self.input_size = input_format, input_size
        self.exponents = exponents
        self.stages, self.outputs, self.config = stages, outputs, config
        self.quality = quality or {}
        self._sizes = {"x": input_size}
        self._fracs = {"x": input_format.frac}
        for k, stage in enumerate(stages):
            net = stage.program.network
            unknown = [name for name in stage.reads if name not in self._sizes]
            size = sum(self._sizes.get(name, 0) for name in stage.reads)
            if unknown or size != net.input_size:
                raise InputError(
                    f"pass {k} takes {net.input_size} inputs but reads {' + '.join(stage.reads)}, "
                    f"which have {size}; known: {', '.join(self._sizes)}"
                )
            for name in net.outputs:
                self._sizes[name], self._fracs[name] = net.size(name), net.layer(name).frac
                if net.argmax:
                    self._sizes[name], self._fracs[name] = net.output_size, 0
        unknown = [name for name in outputs if name not in self._sizes or name == "x"]
        if unknown or not outputs:
            raise InputError(f"outputs {unknown} of the chain are handed out by no pass")

    @property
    def passes(self) -> tuple[Program, ...]:
        """The programs that sequences are walked through, in order."""
        return tuple(stage.program for stage in self.stages)

    @property
    def output_size(self) -> int:
        """Number of outputs of a step."""
        return sum(self._sizes[name] for name in self.outputs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that decides the outputs, in hex."""
        text = json.dumps(self._describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    # -- running --------------------------------------------------------------

    def encode(self, x: npt.ArrayLike) -> IntArray:
        """Quantize input values, shape (N, T, I) or (T, I), to codes (N, T, I)."""
        return encode(x, self.input_size, self.input_format, self.exponents)

    def decode(self, codes: IntArray) -> FloatArray:
        """Return the values of output codes, shape (..., outputs)."""
        steps = [np.full(self._sizes[name], 2.0 ** -self._fracs[name]) for name in self.outputs]
        return codes * np.concatenate(steps)

    def walk(
        self, codes: IntArray, run: Callable[[int, Program, IntArray], IntArray],
        lengths: npt.ArrayLike | None = None,
    ) -> tuple[IntArray, list[tuple[int, int]]]:  # fmt: skip
        """Take sequences through every pass; emulation and simulation both do it by this.

        Parameters
        ----------
        codes : ndarray of int64, shape (N, T, I)
        run : callable
            ``run(k, program, codes)`` gives the output codes of pass ``k``; steps of its input
            and output are in the order of that pass.
        lengths : array_like of int, shape (N,), optional
            True lengths of zero-padded sequences: reversed passes start at each one's last step.

        Returns
        -------
        (outputs, clipped)
            Codes (N, T, outputs), and for each pass how many input codes were clipped by
            :func:`~.stage.convert`, of how many.
        """
        real = check_lengths(lengths, *codes.shape[:2])
        vectors, clipped = {"x": codes}, []
        for k, stage in enumerate(self.stages):
            net = stage.program.network
            parts = [convert(vectors[n], self._fracs[n], net.input_format) for n in stage.reads]
            given = np.concatenate([part for part, _ in parts], axis=2)
            clipped.append((sum(count for _, count in parts), given.size))
            made = run(k, stage.program, reverse_steps(given, real) if stage.reverse else given)
            made = reverse_steps(made, real) if stage.reverse else made
            ends = np.cumsum([self._sizes[name] for name in net.outputs])
            vectors |= zip(net.outputs, np.split(made, ends[:-1], axis=2), strict=True)
        return np.concatenate([vectors[name] for name in self.outputs], axis=2), clipped

    def evaluate(
        self,
        codes: IntArray,
        state: golden.State | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> golden.Result:
        """Run the golden model of every pass on input codes (N, T, I).

        Parameters
        ----------
        state : State, optional
            Of the layers of all passes; reversed layers start with it at the last step.
        lengths : array_like of int, shape (N,), optional
            True lengths of zero-padded sequences.

        Returns
        -------
        Result
            Its state has the layers of all passes. Values clipped on the way into a pass are
            counted as ``pass1.x`` and so on.
        """
        total = golden.Result(np.zeros(0, np.int64), golden.State({}, {}))

        def run(k: int, program: Program, given: IntArray) -> IntArray:
            net = program.network
            done = golden.run(net, given, state)
            total.state.h.update((n.name, done.state.h[n.name]) for n in net.layers if n.recurrent)
            total.state.c.update(
                (n.name, done.state.c[n.name]) for n in net.layers if n.has_cell_state
            )
            total.saturations.update(done.saturations)
            total.narrowings.update(done.narrowings)
            return done.outputs

        total.outputs, clipped = self.walk(codes, run, lengths)
        for k, (count, of) in enumerate(clipped):
            total.saturations += Counter({f"pass{k}.x": count})
            total.narrowings[f"pass{k}.x"] += of
        return total

    def run(
        self,
        x: npt.ArrayLike,
        state: StateLike | None = None,
        lengths: npt.ArrayLike | None = None,
    ) -> FloatArray:
        """Evaluate the golden model on values, as :meth:`.Program.run` does.

        Parameters
        ----------
        x : array_like, shape (N, T, I) or (T, I)
        state : State, mapping or array_like, optional
            See :data:`~.states.StateLike`; reversed layers start with it at the last step.
        lengths : array_like of int, shape (N,), optional
            True lengths of zero-padded sequences.

        Returns
        -------
        ndarray of float64, shape (N, T, outputs) or (T, outputs)
        """
        codes = self.encode(x)
        networks = [each.network for each in self.passes]
        start = None if state is None else encode_state(state, networks, len(codes))
        out = self.decode(self.evaluate(codes, start, lengths).outputs)
        return out[0] if np.ndim(x) == 2 else out

    # -- summary --------------------------------------------------------------

    def buffer(self, steps: int = 1) -> tuple[int, int]:
        """Return the words and bits of the sequence buffer outside the cores.

        It holds x where it is read again or backwards, and every vector that a later pass
        reads or that is a finished output before the last pass hands out its own.
        """
        last = self.stages[-1]
        later = {name for stage in self.stages[1:] for name in stage.reads}
        later |= (
            set(self.outputs)
            if last.reverse
            else set(self.outputs) - set(last.program.network.outputs)
        )
        later |= {"x"} if self.stages[0].reverse else set()
        words = bits = 0
        for name in later:
            width = self.config.activation_bits if name == "x" else self.config.state_bits
            words, bits = words + self._sizes[name], bits + self._sizes[name] * width
        return steps * words, steps * bits

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Sizes and cycles as of one program, over all passes; ``passes`` has each of them.

        Cycles are sums, since a sequence is walked once by every pass; lanes are those of the
        largest pass; ``buffer`` is what a step of a sequence takes outside the cores.
        """
        each = [program.summary for program in self.passes]
        words, bits = self.buffer()
        macs = sum(s["macs_per_step"] for s in each)
        offered = sum(s["lanes"] * s["cycles_per_step"] for s in each)
        total = {
            key: sum(s[key] for s in each)
            for key in ("cycles_per_step", "latency_cycles", "weight_rom_bits", "beat_rom_bits")
        }
        widest = {
            key: max(s[key] for s in each) for key in ("lanes", "accumulator_bits", "sum_bits")
        }
        return {
            "digest": self.digest,
            "macs_per_step": macs,
            **total,
            **widest,
            "utilization": round(macs / offered, 4),
            "buffer": {"words_per_step": words, "bits_per_step": bits},
            "passes": [
                {"reads": list(stage.reads), "reverse": stage.reverse,
                 "input_format": stage.program.network.input_format.to_json(), **s}
                for stage, s in zip(self.stages, each, strict=True)
            ],
            **self.quality,
        }  # fmt: skip

    def facts(self) -> dict[str, str]:
        """Return passes, cycles, memory and digest."""
        s = self.summary
        return {
            "vectors": f"{self.input_size} -> {self.output_size}",
            "passes": f"{len(self.passes)} passes",
            "engine": f"{s['lanes']} lanes, {s['cycles_per_step']:,} cycles a step in all",
            "memory": f"{s['weight_rom_bits']:,} bits of weights",
            "digest": self.digest[:16],
        }

    # -- disk -----------------------------------------------------------------

    def _describe(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "config": self.config.to_json(),
            "input": {
                "size": self.input_size,
                "format": self.input_format.to_json(),
                "exponents": list(self.exponents),
            },
            "outputs": list(self.outputs),
            "passes": [
                {
                    "digest": stage.program.digest,
                    "reads": list(stage.reads),
                    "shifts": [
                        self._fracs[name] - stage.program.network.input_format.frac
                        for name in stage.reads
                    ],
                    "reverse": stage.reverse,
                    "hands_out": list(stage.program.network.outputs),
                }
                for stage in self.stages
            ],
        }

    def describe(self) -> str:
        """Return ``program.json``: which pass reads what, in which order, shifted by how much."""
        made = self._describe() | {
            "digest": self.digest,
            "quality_digest": quality_digest(self.digest, self.quality),
            "summary": self.summary,
        }
        return json.dumps(made, indent=1, sort_keys=True) + "\n"

    def save(self, folder: str | Path) -> None:
        """Write ``program.json`` and a program's folder for each pass: ``pass0``, ``pass1``...

        The folder appears whole or not at all, with the same bytes for the same chain.
        """
        from ..files.recording import atomic_folder

        with atomic_folder(folder) as tmp:
            (tmp / "program.json").write_text(self.describe())
            for k, program in enumerate(self.passes):
                program.save(tmp / f"pass{k}")

    @classmethod
    @one_import()
    def load(cls, folder: str | Path) -> Chain:
        """Read what :meth:`save` wrote, and check every digest.

        Raises
        ------
        InputError
            Missing or damaged file, another schema, a digest that does not match.
        """
        folder = Path(folder)
        data = read_description(folder)
        with damaged(folder):
            items = data["passes"]
            if not 1 <= len(items) <= PASSES_LIMIT:
                raise InputError(f"{folder} has {len(items)} passes; 1 to {PASSES_LIMIT} are read")
            stages = tuple(
                Stage(Program.load(folder / f"pass{k}"), tuple(item["reads"]), item["reverse"])
                for k, item in enumerate(items)
            )
            chain = cls(
                Format.from_json(data["input"]["format"]), int(data["input"]["size"]), stages,
                tuple(data["outputs"]), Config.from_json(data["config"]),
                None, read_exponents(data),
            )  # fmt: skip
            digest = chain.digest
        check_digest(folder, digest, data)
        chain.quality = read_quality(folder, data)
        with damaged(folder):
            check_summary(folder, data, "summary", chain.summary)
        return chain


def check_program(value: object, *, one_pass: bool = False) -> None:
    """Refuse what is not a program, or not a program of one pass.

    Raises
    ------
    InputError
        Says how a program is made, or read.
    """
    if one_pass and isinstance(value, Chain):
        raise InputError(
            f"a chain of {len(value.passes)} passes is a core for each: take one of its .passes"
        )
    way_out = "make one with gw.quantize(model, x), or read its folder with gw.load_program(path)"
    check_type(value, Program if one_pass else (Program, Chain), "the program", way_out)


def load_program(folder: str | Path) -> Program | Chain:
    """Read a program's folder, of one pass or of several."""
    check_type(folder, (str, Path), "a program's folder", "give its path")
    folder = Path(folder)
    kind = Chain if "passes" in read_description(folder) else Program
    return kind.load(folder)
