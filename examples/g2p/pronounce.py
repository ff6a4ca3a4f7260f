"""Say how English words are pronounced: g2p_en on two fixed-point GRUs.

The network of g2p_en (encoder and decoder, both GRU 256, then Linear 256 -> 74)::

    letters -> table -> encoder GRU                        one program
    phoneme -> table -> decoder GRU -> Linear -> argmax    another one
       ^                                          |
       +------------------------------------------+        the host

The encoder's last state is the decoder's first one. Tables and feedback stay on the host.

``pip download --no-deps g2p_en`` brings the weights, ``checkpoint20.npz`` inside its wheel. Then
run ``python -m gatewright.examples.g2p.pronounce --checkpoint FILE word another``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...compiler import golden
from ...compiler.config import Config
from ...compiler.errors import InputError
from ...compiler.ir.model import Linear, Model, Recurrent
from ...compiler.program.program import Program
from ...compiler.quantizer.pipeline import quantize_stream

__all__ = [
    "LETTERS",
    "PHONEMES",
    "Network",
    "Programs",
    "load",
    "main",
    "pronounce",
    "quantize_both",
    "spell",
]

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
PHONEMES = [
    "<pad>", "<unk>", "<s>", "</s>",
    *sorted(["UW", *CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in "012")]),
]  # fmt: skip
START, END = PHONEMES.index("<s>"), PHONEMES.index("</s>")
CALIBRATION = (
    "the quick brown fox jumps over lazy dogs pack my box with five dozen liquor jugs "
    "sphinx of black quartz judge vow how vexingly zebras measure thought through rhythm "
    "station pleasure enough church physics knowledge beautiful weather receive autumn"
).split()
LONGEST = 20
"""Phonemes after which decoding stops in any case."""


class Network(NamedTuple):
    """The float network.

    Parameters
    ----------
    encoder, decoder : Model
        Their recurrent layer is ``gru``; the decoder's output is 74 logits.
    letters, phonemes : numpy.ndarray, shapes (29, 256) and (74, 256)
        Input vectors.
    """

    encoder: Model
    decoder: Model
    letters: npt.NDArray[np.float64]
    phonemes: npt.NDArray[np.float64]


class Programs(NamedTuple):
    """Encoder and decoder in fixed point."""

    encoder: Program
    decoder: Program


def load(path: str | Path) -> Network:
    """Read ``checkpoint20.npz`` of g2p_en.

    Raises
    ------
    InputError
        No such file, or not with these arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float64) for name in file.files}
        models = []
        for part, head in (("enc", ()), ("dec", ("fc_w", "fc_b"))):
            w, u, b, c = (
                dict(zip("rzn", np.split(arrays[f"{part}_{name}"], 3), strict=True))
                for name in ("w_ih", "w_hh", "b_ih", "b_hh")
            )
            size, inputs = w["r"].shape
            gru = Recurrent("gru", "gru", ("x",), size, inputs, w, u, b, c)
            layers = (
                (gru, Linear("head", ("gru",), *(arrays[name] for name in head)))
                if head
                else (gru,)
            )
            models.append(Model(inputs, layers, source="g2p_en"))
        return Network(models[0], models[1], arrays["enc_emb"], arrays["dec_emb"])
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is no checkpoint20.npz of g2p_en: {error}") from error


def pronounce(
    words: Sequence[str], network: Network, programs: Programs | None = None
) -> list[list[str]]:
    """Give the phonemes of each word, all words side by side.

    Parameters
    ----------
    words : sequence of str
        Of the letters a to z; others count as unknown.
    network : Network
    programs : Programs, optional
        Without them, everything is computed in floating point.
    """
    x, last = spell(words, network)
    rows = np.arange(len(words))
    if programs is None:
        h = network.encoder.run(x)[rows, last]
        float_state = {"gru": (h, np.zeros_like(h))}

        def step(v: npt.NDArray[np.float64]) -> npt.NDArray[np.generic]:
            return network.decoder.run(v, float_state)

    else:
        encoder, decoder = programs
        codes = golden.run(encoder.network, encoder.encode(x)).outputs[rows, last]
        state = golden.State({"gru": codes}, {})

        def step(v: npt.NDArray[np.float64]) -> npt.NDArray[np.generic]:
            nonlocal state
            result = golden.run(decoder.network, decoder.encode(v), state)
            state = result.state
            return result.outputs

    said: list[list[str]] = [[] for _ in words]
    speaking = np.ones(len(words), bool)
    chosen = np.full(len(words), START)
    for _ in range(LONGEST):
        chosen = step(network.phonemes[chosen][:, None])[:, 0].argmax(axis=1)
        speaking &= chosen != END
        if not speaking.any():
            break
        for k in np.flatnonzero(speaking):
            said[k].append(PHONEMES[chosen[k]])
    return said


def quantize_both(network: Network, words: Sequence[str], config: Config) -> Programs:
    """Quantize encoder and decoder, calibrated on the float network's run on some words."""
    x, last = spell(words, network)
    encoder = quantize_stream(network.encoder, x, config, lengths=last + 1)
    said = pronounce(words, network)
    codes = np.zeros((len(words), LONGEST + 1), np.int64)
    codes[:, 0] = START
    for k, phonemes in enumerate(said):
        codes[k, 1 : len(phonemes) + 1] = [PHONEMES.index(name) for name in phonemes]
    lengths = [len(phonemes) + 1 for phonemes in said]
    # The decoder starts from what the encoder has heard, so it is calibrated that way.
    h = network.encoder.run(x)[np.arange(len(words)), last]
    decoder = quantize_stream(
        network.decoder,
        network.phonemes[codes],
        config,
        lengths=lengths,
        state={"gru": (h, np.zeros_like(h))},
    )
    return Programs(encoder, decoder)


def spell(
    words: Sequence[str], network: Network
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the encoder's padded input, and the step of each word's end mark."""
    last = np.array([len(word) for word in words])
    codes = np.zeros((len(words), last.max() + 1), np.int64)
    for k, word in enumerate(words):
        marks = [*word.lower(), "</s>"]
        codes[k, : len(marks)] = [LETTERS.index(m if m in LETTERS else "<unk>") for m in marks]
    return network.letters[codes], last


def main(arguments: list[str] | None = None) -> None:
    """Print the phonemes of words, in floating and in fixed point."""
    parser = argparse.ArgumentParser(description="The pronunciation example.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint20.npz of g2p_en")
    parser.add_argument("--weight-bits", type=int, default=8)
    parser.add_argument("--activation-bits", type=int, default=12)
    parser.add_argument("words", nargs="+")
    given = parser.parse_args(arguments)
    try:
        network = load(given.checkpoint)
        config = Config(given.weight_bits, given.activation_bits, rounding="nearest")
        programs = quantize_both(network, CALIBRATION, config)
    except InputError as error:
        parser.error(str(error))
    for word, exact, fixed in zip(
        given.words,
        pronounce(given.words, network),
        pronounce(given.words, network, programs),
        strict=True,
    ):
        print(
            f"{word}: {' '.join(fixed)}"
            + ("" if fixed == exact else f" (float: {' '.join(exact)})")
        )


if __name__ == "__main__":
    main()
