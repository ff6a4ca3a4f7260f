"""What skipping unchanged columns would save, and who refuses thresholds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler.analysis.skipping import skipping
from gatewright.compiler.config import Config
from gatewright.compiler.errors import InputError
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.hw import verilog
from support.randoms import recurrent


def program(config: Config, layers: tuple | None = None) -> Program:
    rng = np.random.default_rng(1)
    gru = recurrent(rng, "a", "gru", ("x",), 5, 6)
    head = Linear("b", ("a", "x"), rng.normal(size=(3, 11)))
    made = quantize(Model(5, layers or (gru, head)), rng.normal(size=(2, 20, 5)), config)
    assert isinstance(made, Program)
    return made


def test_a_dense_program_counts_nothing() -> None:
    p = program(Config(lanes=6))
    assert skipping(p, p.evaluate(p.encode(np.zeros((1, 4, 5))))) is None


def test_a_constant_input_is_walked_once() -> None:
    weight = np.random.default_rng(2).normal(size=(4, 5))
    p = program(Config(lanes=4, engine="delta"), (Linear("y", ("x",), weight),))
    x = np.full((2, 10, 5), 0.7)
    found = skipping(p, p.evaluate(p.encode(x)))
    assert found is not None
    assert found["columns"] == 5
    assert found["skipped"] == pytest.approx(0.9)
    assert found["saved"] == pytest.approx(0.9 * found["walk"])
    short = np.arange(10) < np.array([[1], [1]])
    first = skipping(p, p.evaluate(p.encode(x)), short)
    assert first is not None
    assert first["skipped"] == first["saved"] == 0


@pytest.mark.parametrize("lanes", [3, 6, 24, 40])
def test_words_are_skipped_where_all_their_columns_are_unchanged(lanes: int) -> None:
    """Counted again by hand, layer by layer, from the operands themselves."""
    p = program(Config(lanes=lanes, engine="delta", threshold=40))
    x = np.cumsum(np.random.default_rng(3).normal(0, 0.05, (2, 30, 5)), axis=1)
    result = p.evaluate(p.encode(x))
    found = skipping(p, result)
    assert found is not None
    assert set(result.changed) == {"a<x", "a.h", "b<a", "b<x"}
    flags = [result.changed[name] for name in ("a<x", "a.h", "b<a", "b<x")]
    share = 1 - sum(f.sum() for f in flags) / (60 * (5 + 6 + 6 + 5))
    assert found["skipped"] == pytest.approx(share)
    assert 0.05 < share < 0.95
    split = p.geometry.split
    tiles = {b.layer: b.tiles for b in p.schedule.blocks}
    left = 0
    for name, f in zip(("a", "a", "b", "b"), flags, strict=True):
        for sequence in f.reshape(-1, f.shape[2]):
            words = [sequence[i : i + split].any() for i in range(0, len(sequence), split)]
            left += tiles[name] * sum(words)
    assert found["walk"] - found["saved"] == pytest.approx(left / 60)


def test_a_larger_threshold_skips_more() -> None:
    x = np.cumsum(np.random.default_rng(3).normal(0, 0.05, (2, 30, 5)), axis=1)
    shares = []
    for threshold in (0, 10, 100, 1000):
        p = program(Config(lanes=6, engine="delta", threshold=threshold))
        found = skipping(p, p.evaluate(p.encode(x)))
        assert found is not None
        shares.append(found["skipped"])
    print(shares)
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_hardware_refuses_a_threshold_and_takes_zero() -> None:
    with pytest.raises(InputError, match="thresholds of 5 for x and 5 for states"):
        verilog(program(Config(lanes=6, engine="delta", threshold=5)))
    assert "module" in verilog(program(Config(lanes=6, engine="delta")))


def test_commands(tiny, tmp_path, capsys) -> None:
    def cli(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return main([str(a) for a in arguments]), *capsys.readouterr()

    model, x, out = tiny / "model.safetensors", tiny / "x.npz", tmp_path / "p"
    arguments = ["--calibration", x, "--engine", "delta", "--threshold", "300", "-o", out]
    assert cli("quantize", model, *arguments)[0] == 0
    found = json.loads(cli("emulate", out, x, "--json")[1])["delta"]
    assert found["threshold"] == found["threshold_input"] == 300
    assert 0 < found["skipped"] < 1
    assert "unchanged columns" in cli("emulate", out, x)[1]
    assert "Unchanged columns" in cli("report", out, "--data", x)[1]
    code, _, error = cli("verilog", out, "-o", tmp_path / "v")
    assert code == 1
    assert "no gateware that skips columns" in error
    assert not (tmp_path / "v").exists()
