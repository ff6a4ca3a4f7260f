"""The headers: C makes the codes that Python makes, and every rendering has the same facts."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler.config import Config
from gatewright.compiler.ir.model import Linear, Model
from gatewright.compiler.program.interface import interface
from gatewright.compiler.program.program import Program
from gatewright.compiler.quantizer.pipeline import quantize
from gatewright.host.wire.identity import contents_crc
from gatewright.hw.export.headers import c_header, sv_header
from support.randoms import recurrent

WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
STRANGE = 'a*/"??=\\é\n//0'
"""A name that a framework's graph could have for a layer."""


def made(*, argmax: bool = False, name: str = "only", bits: int = 12) -> Program:
    """A program whose features differ in range, with two output vectors or a class."""
    rng = np.random.default_rng(2)
    head = Linear("head", (name,), rng.normal(size=(5, 4)), rng.normal(0, 0.3, 5))
    outputs = ("head",) if argmax else ("head", name)
    model = Model(3, (recurrent(rng, name, "lstm", ("x",), 3, 4), head), outputs)
    x = rng.normal(size=(2, 20, 3)) * [1e-3, 1, 300]
    program = quantize(model, x, Config(lanes=3, argmax=argmax, activation_bits=bits))
    assert isinstance(program, Program)
    return program


def compiled(header: str, name: str, folder: Path, *more: str) -> Any:
    """Compile a header as C and return it as a library; ``encode`` and ``decode`` are exported."""
    (folder / f"{name}.h").write_text(header)
    (folder / "a.c").write_text(
        f'#include "{name}.h"\n#include "{name}.h"\n{"".join(more)}\n'
        f"int encode(double x, int k) {{ return {name}_encode(x, k); }}\n"
        f"double decode(int c, int k) {{ return {name}_decode(c, k); }}\n"
    )
    subprocess.run(
        ["g++", "-x", "c", *WARNINGS, "-O1", "-shared", "-fPIC", "-o", "a.so", "a.c"], cwd=folder, check=True
    )  # fmt: skip
    library = ctypes.CDLL(str(folder / "a.so"))
    library.encode.argtypes = [ctypes.c_double, ctypes.c_int]
    library.decode.restype = ctypes.c_double
    return library


@pytest.mark.parametrize("bits", [2, 12, 16])
def test_c_makes_the_codes_of_python(bits: int, tmp_path: Path) -> None:
    """Of values beside every half of a code, of the ends, and of numbers far beyond."""
    program = made(bits=bits)
    assert any(program.exponents) and len(set(program.exponents)) > 1
    library = compiled(c_header(interface(program), "detector"), "detector", tmp_path)
    fmt, rng = program.input_format, np.random.default_rng(bits)
    codes = np.arange(fmt.low - 2, fmt.high + 3)
    codes = (
        codes
        if len(codes) < 3000
        else np.concatenate([codes[:50], codes[-50:], rng.choice(codes, 2000)])
    )
    halves = codes + 0.5
    points = [codes, codes + rng.random(len(codes)), halves]
    points += [np.nextafter(halves, way) for way in (-np.inf, np.inf)]
    far = [0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300, 1.7976931348623157e308, 2.0**31, -(2.0**63)]
    for k, exponent in enumerate(program.exponents):
        values = np.concatenate([np.concatenate(points) * 2.0 ** (exponent - fmt.frac), far])
        x = np.zeros((len(values), 3))
        x[:, k] = values
        with np.errstate(all="ignore"):
            expected = program.encode(x)[0, :, k]
        assert [library.encode(value, k) for value in values] == expected.tolist()
    assert library.encode(np.inf, 0) == fmt.high and library.encode(-np.inf, 0) == fmt.low


def test_c_makes_the_values_of_python(tmp_path: Path) -> None:
    program = made()
    library = compiled(c_header(interface(program), "a"), "a", tmp_path)
    codes = np.random.default_rng(1).integers(-(1 << 15), 1 << 15, (50, program.output_size))
    values = [[library.decode(int(c), k) for k, c in enumerate(row)] for row in codes]
    assert (np.array(values) == program.decode(codes)).all()


@pytest.mark.parametrize("kind", ["values", "class", "strange"])
def test_every_rendering_has_the_same_facts(kind: str, tmp_path: Path) -> None:
    program = made(argmax=kind == "class", name=STRANGE if kind == "strange" else "only")
    facts = json.loads(json.dumps(interface(program)))
    net = program.network
    assert facts["contents_crc"] == contents_crc(program)
    assert facts["input"]["exponents"] == list(program.exponents)
    assert (2.0 ** -np.array(facts["output"]["frac"]) == net.output_steps).all()
    assert facts["state"]["words"] == 8 and [v["vector"] for v in facts["state"]["vectors"]] == [
        "h",
        "c",
    ]
    if kind == "class":
        assert facts["output"]["names"] == ["class"] and facts["output"]["kind"] == "class"
    texts = {"c": c_header(facts, "n"), "sv": sv_header(facts, "n")}
    numbers = {
        "c": {k: v for k, v in re.findall(r"^#define N_(\w+) +(\S+)$", texts["c"], re.M)},
        "sv": {k: v for k, v in re.findall(r"^    localparam .*?(\w+) = (\S+);$", texts["sv"], re.M)},
    }  # fmt: skip
    for got in numbers.values():
        for key, part, of in (
            ("INPUTS", "input", "size"), ("INPUT_BITS", "input", "bits"), ("INPUT_FRAC", "input", "frac"),
            ("OUTPUTS", "output", "size"), ("OUTPUT_BITS", "output", "bits"), ("STATE_WORDS", "state", "words"),
            ("STATE_BITS", "state", "bits"), ("CYCLES_PER_STEP", "cycles", "per_step"),
            ("LATENCY_CYCLES", "cycles", "latency"),
        ):  # fmt: skip
            assert int(got[key]) == facts[part][of], key
        assert int(got["OUTPUT_IS_CLASS"]) == (kind == "class")
        assert got["DIGEST"].strip('"').removeprefix("256'h") == program.digest
        assert got["HARDWARE_DIGEST"].strip('"').removeprefix("256'h") == program.hardware_digest
        crc = re.sub(r"32'h|0x|u", "", got["CONTENTS_CRC"])
        assert int(crc, 16) == facts["contents_crc"]
    tables = {
        name: [int(v) for v in body.split(",")]
        for name, body in re.findall(r"int16_t n_(\w+)\[\d+\] = \{([^}]*)\}", texts["c"])
    }
    assert tables == {
        "input_exponent": facts["input"]["exponents"], "output_frac": facts["output"]["frac"],
        "output_order": facts["output"]["order"],
    }  # fmt: skip
    for function, table in (("input_exponent", "input_exponent"), ("output_frac", "output_frac"),
                            ("output_element", "output_order")):  # fmt: skip
        cases = re.findall(rf"(\d+): {function} = (-?\d+);", texts["sv"])
        assert [int(v) for _, v in cases] == tables[table]
        assert [int(k) for k, _ in cases] == list(range(len(cases)))
    library = compiled(
        texts["c"], "n", tmp_path, "const char *name(int k) { return n_output_name[k]; }"
    )
    library.name.restype = ctypes.c_char_p
    names = [library.name(k).decode() for k in range(net.output_size)]
    assert names == facts["output"]["names"]


def test_inspect_has_the_facts(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = Program.load(tiny / "program")
    assert main(["inspect", str(tiny / "program"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["interface"] == json.loads(json.dumps(interface(program)))
    assert main(["inspect", str(tiny / "program")]) == 0
    assert program.hardware_digest[:16] in capsys.readouterr().out


def test_a_header_compiles_as_cpp_and_beside_another(tmp_path: Path) -> None:
    facts = interface(made())
    for name in ("one", "two", "One"):
        (tmp_path / f"{name}.h").write_text(c_header(facts, name))

    def compile_(*names: str) -> str:
        (tmp_path / "b.cpp").write_text("".join(f'#include "{name}.h"\n' for name in names))
        done = subprocess.run(
            ["g++", "-std=c++11", *WARNINGS[1:], "-fsyntax-only", "b.cpp"], cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        return done.stderr

    assert compile_("one", "two", "one") == ""
    assert "differ from One in nothing but case" in compile_("one", "One")


def test_verilog_with_vectors_of_a_file(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "verilog",
        str(tiny / "program"),
        "-o",
        str(tmp_path / "v"),
        "--vectors",
        str(tiny / "x.npz"),
    ]
    assert main([*command, "--json"]) == 0
    assert {"gatewright.h", "gatewright.svh", "gatewright_tb.sv", "vectors.hex"} <= set(
        json.loads(capsys.readouterr().out)["files"]
    )
    assert "19 steps of" in (tmp_path / "v" / "vectors.hex").read_text()
    assert main(command) == 0  # the folder is ours to replace
    (tmp_path / "v" / "mine.h").write_text("")
    assert main(command) == 1
    assert "mine.h" in capsys.readouterr().err


def test_the_page_shows_the_way_there_and_back(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "integration.md").read_text()
    [source] = re.findall(r"<!-- compile -->\n```c\n(.*?)```", page, re.S)
    program = made()
    library = compiled(c_header(interface(program), "gatewright"), "gatewright", tmp_path, source)
    x = np.random.default_rng(3).normal(size=(50, 3)).astype(np.float32)
    x *= 2.0 ** np.array(program.exponents, np.float32)
    order = program.schedule.output_order
    for row in x:
        codes = np.zeros(3, np.int16)
        library.to_core(row.ctypes.data_as(ctypes.c_void_p), codes.ctypes.data_as(ctypes.c_void_p))
        assert (codes == program.encode(row[None])[0, 0]).all()
        made_ = program.evaluate(codes[None, None].astype(np.int64)).outputs[0, 0]
        out, y = made_[order].astype(np.int16), np.zeros(len(order), np.float32)
        library.from_core(out.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p))
        assert (y == program.decode(made_)).all()
