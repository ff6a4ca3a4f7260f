"""Every knob is checked, and files say what is wrong with them."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
from gatewright.compiler.config import Config, parse_weight_bits
from gatewright.compiler.errors import InputError


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight_bits", 1, "weight_bits is a whole number from 2 to 16, not 1"),
        ("weight_bits", 17, "from 2 to 16, not 17"),
        ("weight_bits", 8.0, "not 8.0"),
        ("weight_bits", True, "not True"),
        ("weight_bits", "8", "not '8'"),
        ("activation_bits", 1, "activation_bits is a whole number"),
        ("state_bits", 17, "state_bits is a whole number from 2 to 16"),
        ("state_bits", 8, "less than activation_bits 12: .* raise state_bits or lower"),
        ("gate_bits", 0, "gate_bits is a whole number"),
        ("lanes", -1, "lanes is a whole number from 0 to 4096, not -1"),
        ("lanes", 4097, "not 4097"),
        ("activation", "cubic", "activation is one of interpolated, direct, hard, not 'cubic'"),
        ("calibration_method", "max", "calibration_method is one of error, minmax, .*'max'"),
        ("rounding", "up", "rounding is one of compensated, nearest, not 'up'"),
        ("engine", "magic", "engine is one of dense.*, not 'magic'"),
        ("threshold", -1, "threshold is a whole number from 0 to 65535, not -1"),
        ("threshold", 2, "a threshold of 2 needs the delta engine, and engine is 'dense'"),
        ("threshold_input", -2, "threshold_input is a whole number from -1 to 65535, not -2"),
        ("rate", -1.0, "rate is a number from 0 to 1e12, not -1.0"),
        ("rate", float("nan"), "not nan"),
        ("clock", float("inf"), "not inf"),
        ("clock", "12e6", "clock is a number"),
        ("weight_widths", {"gru0": 17}, r"weight_widths\[gru0\] is a whole .* 2 to 16, not 17"),
        ("weight_widths", {"gru0": {"n": "4"}}, r"weight_widths\[gru0.n\] .* not '4'"),
        ("streams", 0, "streams is a whole number from 1 to 64, not 0"),
        ("streams", 65, "not 65"),
        ("weight_widths", 6, "weight_widths is a table of widths by layer or gate, .* not 6"),
    ],
)
def test_refuses_by_name(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**{name: value})  # type: ignore[arg-type]


def test_the_edges_are_allowed() -> None:
    for bits in (2, 16):
        Config(weight_bits=bits, activation_bits=bits, state_bits=bits, gate_bits=bits)
    Config(lanes=4096, rate=0, clock=1)


CHANGED = Config(
    weight_bits=4, activation_bits=8, state_bits=14, gate_bits=10, lanes=7, activation="direct",
    engine="delta", threshold=3, threshold_input=1, rounding="nearest", rate=1e5, clock=1e-3,
    argmax=True, weight_widths={"gru0.n": 3, "gru0": 5}, spare=1, calibration_method="mse",
    streams=2,
)  # fmt: skip


def test_the_changed_config_changes_everything() -> None:
    """What the round trips below prove depends on it."""
    default = Config()
    same = [
        f.name
        for f in dataclasses.fields(Config)
        if getattr(CHANGED, f.name) == getattr(default, f.name)
    ]
    assert same == []


@pytest.mark.parametrize("config", [Config(), CHANGED])
def test_round_trips(config: Config, tmp_path: Path) -> None:
    assert Config.from_json(config.to_json()) == config
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert Config.from_toml(path) == config
    assert set(tomllib.loads(config.to_toml())) == {f.name for f in dataclasses.fields(Config)}


def test_a_gate_goes_before_its_layer_and_that_before_all() -> None:
    config = Config(weight_bits=8, weight_widths={"gru0": 6, "gru0.n": 4, "linear0.y": 3})
    widths = [("gru0", "r", 6), ("gru0", "n", 4), ("gru1", "n", 8), ("linear0", "y", 3)]
    assert [config.weight_width(layer, gate) for layer, gate, _ in widths] == [
        width for *_, width in widths
    ]
    assert config.only(["gru0"]).weight_widths == {"gru0": 6, "gru0.n": 4}


def test_widths_in_toml_need_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[weight_widths]\ngru0.n = 4\ngru1 = 6\n")
    assert Config.from_toml(path) == Config(weight_widths={"gru0.n": 4, "gru1": 6})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", {"weight_bits": 8}),
        ("8, gru0=6,gru0.n=4", {"weight_bits": 8, "weight_widths": {"gru0": 6, "gru0.n": 4}}),
        ("gru0.n=4", {"weight_widths": {"gru0.n": 4}}),
    ],
)
def test_widths_on_one_line(text: str, expected: dict[str, object]) -> None:
    assert parse_weight_bits(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not"), ("eight", "'eight' is not"), ("8,gru0", "'gru0' is not"),
        ("8,=4", "'=4' is not"), ("-8", "'-8' is not"), ("gru0=4.5", "'gru0=4.5' is not"),
        ("8,9", "give weight_bits twice"), ("gru0=4,gru0=5", "give gru0 twice"),
    ],
)  # fmt: skip
def test_refuses_widths_on_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_weight_bits(text)


def test_missing_keys_take_their_default(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("lanes = 5\n")
    assert Config.from_toml(path) == Config(lanes=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lane = 5\n", "unknown keys lane; known are activation,"),
        (b"lanes = \n", "is not TOML"),
        (b"\xff\xfe\x00", "is not TOML"),
        (b"lanes = 9999\n", "config.toml: lanes is a whole number"),
        (b"[lanes]\n", "config.toml: lanes is a whole number from 0 to 4096, not {}"),
    ],
)
def test_a_bad_file_names_itself(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Config.from_toml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read configuration .*none\.toml: No such file"):
        Config.from_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot read configuration"):
        Config.from_toml(tmp_path)
