"""The facts of a core as headers: for C and for SystemVerilog.

Both are :func:`~gatewright.compiler.program.interface.interface` in other words; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import Any

from ...compiler.arrays import ceil_div

__all__ = ["c_header", "sv_header"]


def c_header(facts: dict[str, Any], name: str) -> str:
    """Return a C99 header: constants, tables, and the way from a number to a code and back.

    Parameters
    ----------
    facts : dict
        Of :func:`~gatewright.compiler.program.interface.interface`.
    name : str
        Begins every name in it, in capitals those of constants.
    """
    i, o, s = facts["input"], facts["output"], facts["state"]
    big = name.upper()
    digests = (("DIGEST", "digest"), ("HARDWARE_DIGEST", "hardware_digest"))
    numbers = {"CONTENTS_CRC": f"0x{facts['contents_crc']:08x}u", **_numbers(facts)}
    width = max(len(key) for key in ("HARDWARE_DIGEST", *numbers)) + len(big) + 1
    defines = [
        *(f'#define {big + "_" + key:<{width}} "{facts[of]}"' for key, of in digests),
        *(f"#define {big + '_' + key:<{width}} {value}" for key, value in numbers.items()),
    ]
    scales = [repr(2.0 ** (i["frac"] - e)) for e in i["exponents"]]
    steps = [repr(2.0**-frac) for frac in o["frac"]]
    half = 1 << (i["bits"] - 1)
    state = (
        "".join(
            f"   {_comment(v['layer'])}.{v['vector']}: {v['size']} words of {v['bits']} bits, {v['frac']} of them fraction\n"
            for v in s["vectors"]
        )
        or "   none\n"
    )
    return f"""\
/* Core {name}: formats, orders, cycles and digests, as `gatewright inspect PROGRAM --json` has them.

   Words of the state port, in this order:
{state}*/
#ifndef {big}_H_{name}
#define {big}_H_{name}
#ifdef {big}_INPUTS
#error "two programs have names that differ from {name} in nothing but case: export one of them with another --name"
#endif

#include <stdint.h>

{chr(10).join(defines)}

/* The code of feature k of x stands for code * 2^({name}_input_exponent[k] - {big}_INPUT_FRAC). */
{_table("int16_t", f"{name}_input_exponent", i["exponents"])}
/* 1 / that step of feature k. */
{_table("double", f"{name}_input_scale", scales)}
/* The code of output k stands for code * 2^-{name}_output_frac[k] = code * {name}_output_step[k]. */
{_table("int16_t", f"{name}_output_frac", o["frac"])}
{_table("double", f"{name}_output_step", steps)}
/* Transfer t of a step carries output {name}_output_order[t]. */
{_table("uint16_t", f"{name}_output_order", o["order"])}
{_table("char *const", f"{name}_output_name", map(_c_string, o["names"]))}

/* What a board must hold, for gatewright_host.h: static const gw_program program = {big}_PROGRAM; */
#define {big}_PROGRAM {_program(facts, name)}

/* Return the code of a value of feature k of x: half up to the nearest, then saturated.
   The value must be a number; what is none has the lowest code. */
static inline int16_t {name}_encode(double value, int k)
{{
    const double scaled = value * {name}_input_scale[k];
    int32_t whole;
    if (!(scaled > {-half}.0)) return {-half};
    if (scaled >= {half - 1}.0) return {half - 1};
    whole = (int32_t)scaled;
    if (whole > scaled) whole--;
    return (int16_t)(whole + (scaled - whole >= 0.5));
}}

/* Return the value of a code of output k. */
static inline double {name}_decode(int32_t code, int k)
{{
    return code * {name}_output_step[k];
}}

#endif
"""


def sv_header(facts: dict[str, Any], name: str) -> str:
    """Return a SystemVerilog package of the same facts.

    Parameters
    ----------
    facts : dict
        As of :func:`c_header`.
    name : str
        The package is ``<name>_pkg``.
    """
    i, o = facts["input"], facts["output"]
    constants = "".join(
        f"    localparam int {key} = {value};\n" for key, value in _numbers(facts).items()
    )
    names = [_comment(text) for text in o["names"]]
    return f"""\
// Core {name}: formats, orders, cycles and digests, as `gatewright inspect PROGRAM --json` has them.
`ifndef GATEWRIGHT_SVH_{name}
`define GATEWRIGHT_SVH_{name}
/* verilator lint_save */
/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDPARAM */
package {name}_pkg;
    localparam logic [255:0] DIGEST = 256'h{facts["digest"]};
    localparam logic [255:0] HARDWARE_DIGEST = 256'h{facts["hardware_digest"]};
    localparam logic [31:0] CONTENTS_CRC = 32'h{facts["contents_crc"]:08x};
{constants}
    typedef logic signed [INPUT_BITS-1:0] input_t;
    typedef logic signed [OUTPUT_BITS-1:0] output_t;

    // The code of feature k of x stands for code * 2^(input_exponent(k) - INPUT_FRAC).
{_function("input_exponent", i["exponents"])}
    // The code of output k stands for code * 2^-output_frac(k).
{_function("output_frac", o["frac"], names)}
    // Transfer k of a step carries output output_element(k).
{_function("output_element", o["order"])}
endpackage
/* verilator lint_restore */
`endif
"""


def _numbers(facts: dict[str, Any]) -> dict[str, int]:
    """Return the constants that both headers have."""
    i, o, s, cycles = (facts[part] for part in ("input", "output", "state", "cycles"))
    return {
        "INPUTS": i["size"],
        "INPUT_BITS": i["bits"],
        "INPUT_FRAC": i["frac"],
        "OUTPUTS": o["size"],
        "OUTPUT_BITS": o["bits"],
        "OUTPUT_IS_CLASS": int(o["kind"] == "class"),
        "STATE_WORDS": s["words"],
        "STATE_BITS": s["bits"],
        "CYCLES_PER_STEP": cycles["per_step"],
        "LATENCY_CYCLES": cycles["latency"],
        "STREAMS": facts["streams"],
    }


def _program(facts: dict[str, Any], name: str) -> str:
    """Return the initializer of a ``gw_program`` of ``gatewright_host.h``."""
    i, o, s, chunks = (facts[part] for part in ("input", "output", "state", "contents_chunks"))
    sizes = [i["size"], o["size"], s["words"], *(ceil_div(x["bits"], 8) for x in (i, o, s))]
    digests = [
        "{" + ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(facts[of])[:8]) + "}"
        for of in ("hardware_digest", "digest")
    ]
    crc = f"0x{facts['contents_crc']:08x}u"
    last = [chunks["beats"], chunks["weights"], crc, f"{name}_output_order"]
    lines = [", ".join(map(str, part)) for part in (sizes, digests, last)]
    return "{ \\\n    " + ", \\\n    ".join(lines) + " }"


def _table(kind: str, name: str, values: Iterable[object]) -> str:
    """Return a constant array of C."""
    items = [str(value) for value in values]
    lines = wrap(", ".join(items), 96, break_long_words=False, break_on_hyphens=False)
    if any(item.startswith('"') for item in items):
        lines = [item + "," * (k < len(items) - 1) for k, item in enumerate(items)]
    body = "\n".join(f"    {line}" for line in lines)
    return f"static const {kind} {name}[{len(items)}] = {{\n{body}\n}};"


def _function(name: str, values: list[int], names: list[str] | None = None) -> str:
    """Return a constant function of SystemVerilog, which every tool takes; arrays not all do."""
    notes = [f"  // {text}" for text in names or []] or [""] * len(values)
    cases = "".join(
        f"            {k}: {name} = {value};{note}\n"
        for k, (value, note) in enumerate(zip(values, notes, strict=True))
    )
    return f"""\
    function automatic int {name}(input int k);
        case (k)
{cases}            default: {name} = 0;
        endcase
    endfunction
"""


def _c_string(text: str) -> str:
    """Return a string of C; what is not plain becomes octal escapes of its UTF-8."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{plain}"'


def _comment(text: str) -> str:
    """Return text that ends no comment and no line."""
    return _c_string(text)[1:-1].replace("*/", "*\\057")
