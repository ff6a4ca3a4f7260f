"""Our models of cells that Yosys ships as black boxes, against models that know no vendor."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.cell_bench import check_cells

SEED = 5
HEX = [f"{k:02X}" for k in range(64)]


def port(width: int, mode: int = 0, reg: int = 0, *, reads: int = 1, writes: int = 1,
         always: int = 0) -> dict[str, int]:  # fmt: skip
    return {"width": width, "mode": mode, "reg": reg, "reads": reads, "writes": writes,
            "always": always}  # fmt: skip


def contents(rng: random.Random, ninth: bool = True) -> list[int]:
    return [rng.getrandbits(9 if ninth else 8) for _ in range(2048)]


def value(codes: list[int], bits: int) -> int:
    return sum((code & ((1 << bits) - 1)) << bits * k for k, code in enumerate(codes))


def wires(k: int) -> str:
    ports = "".join(
        f"  input r{k}_en_{s}, r{k}_we_{s}, r{k}_oce_{s}, r{k}_rst_{s}, input [13:0] r{k}_addr_{s},\n"
        f"  input [35:0] r{k}_in_{s}, output [35:0] r{k}_out_{s},\n"
        for s in "ab"
    )
    return ports


def ecp5(rng: random.Random) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return ports and instances of DP16KD and MULT18X18D, and their specifications."""
    modes = ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")
    pairs = [
        (port(18, 0, 1), port(18, 2)), (port(9, 1), port(9, 0, 1)), (port(4, 2, 1), port(2, 1)),
        (port(1, 0), port(18, 1, 1)), (port(18, 1), port(1, 2)),
        (port(36, reads=0), port(36, writes=0, reg=1)), (port(36, reads=0), port(36, writes=0)),
        (port(9, writes=0, reg=1), port(9, writes=0)),
    ]  # fmt: skip
    ports, made, rams = [], [], []
    for k, (a, b) in enumerate(pairs):
        data = contents(rng)
        words = [data[2 * i] | data[2 * i + 1] << 9 for i in range(1024)]
        rows = [
            f".INITVAL_{name}(320'h{value(words[16 * i : 16 * i + 16], 20):x})"
            for i, name in enumerate(HEX)
        ]
        wide = a["width"] == 36
        connections = [f".CSA{i}(1'b0), .CSB{i}(1'b0)" for i in range(3)]
        for s, S in ("aA", "bB"):
            connections += [
                f".CLK{S}(clk), .CE{S}(r{k}_en_{s}), .OCE{S}(r{k}_oce_{s}), .WE{S}(r{k}_we_{s}), .RST{S}(r{k}_rst_{s})"
            ]
            connections += [f".AD{S}{i}(r{k}_addr_{s}[{i}])" for i in range(14)]
            for i in range(18):
                # Words of 36 bits: port A takes the input of both, port B drives the outputs of both.
                source = f"r{k}_in_a[{i + 18}]" if wide and s == "b" else f"r{k}_in_{s}[{i}]"
                target = f"r{k}_out_b[{i + 18 * (s == 'b')}]" if wide else f"r{k}_out_{s}[{i}]"
                connections += [f".DI{S}{i}({source})", f".DO{S}{i}({target})"]
        parameters = [
            f".DATA_WIDTH_A({a['width']}), .DATA_WIDTH_B({b['width']})",
            f'.REGMODE_A("{"OUTREG" if a["reg"] else "NOREG"}")',
            f'.REGMODE_B("{"OUTREG" if b["reg"] else "NOREG"}")',
            f'.WRITEMODE_A("{modes[a["mode"]]}"), .WRITEMODE_B("{modes[b["mode"]]}")',
        ]
        ports.append(wires(k))
        made.append(
            f"DP16KD #({', '.join(parameters + rows)}) r{k} (\n  {', '.join(connections)});"
        )
        rams.append({"ports": [a, b], "contents": data})
    multipliers = []
    for k in range(8):
        spec = {
            "bits": 18, "signed": [k & 1, k >> 2 & 1], "in": k & 1, "pipe": k >> 1 & 1, "out": k >> 2,
        }  # fmt: skip
        connections = [f".A{i}(m{k}_a[{i}]), .B{i}(m{k}_b[{i}])" for i in range(18)]
        connections += [f".P{i}(m{k}_p[{i}])" for i in range(36)]
        clock = k % 4  # which of the four clocks, enables and resets
        parameters = [
            f'.REG_{name}_CLK("{f"CLK{clock}" if spec[there] else "NONE"}"), '
            f'.REG_{name}_CE("CE{clock}"), .REG_{name}_RST("RST{clock}")'
            for name, there in (
                ("INPUTA", "in"), ("INPUTB", "in"), ("PIPELINE", "pipe"), ("OUTPUT", "out")
            )
        ]  # fmt: skip
        for i in range(4):
            used = i == clock
            connections.append(
                f".CLK{i}({'clk' if used else 1 - 1}), .CE{i}({f'm{k}_ce' if used else 1}), "
                f".RST{i}({f'm{k}_rst' if used else 0})"
            )
        connections.append(
            f".SIGNEDA({spec['signed'][0]}), .SIGNEDB({spec['signed'][1]}), .SOURCEA(0), .SOURCEB(0)"
        )
        ports.append(
            f"  input m{k}_ce, m{k}_rst, input [17:0] m{k}_a, m{k}_b, output [35:0] m{k}_p,\n"
        )
        made.append(f"MULT18X18D #({', '.join(parameters)}) m{k} (\n  {', '.join(connections)});")
        multipliers.append(spec)
    return ports, made, {"rams": rams, "multipliers": multipliers}


def gowin(rng: random.Random) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return ports and instances of the block RAMs and multipliers of Gowin."""
    ports, made, rams, multipliers = [], [], [], []
    dead = port(1, reads=0, writes=0)

    def init(data: list[int], bits: int) -> list[str]:
        return [
            f".INIT_RAM_{name}({32 * bits}'h{value(data[32 * i : 32 * i + 32], bits):x})"
            for i, name in enumerate(HEX)
        ]

    def narrow(words: str, width: int, x9: bool) -> str:
        """Leave out the ninth bits."""
        if x9:
            return f"{words}[{width - 1}:0]"
        count = max(1, width // 9)
        return (
            "{" + ", ".join(f"{words}[{9 * i + 7}:{9 * i}]" for i in reversed(range(count))) + "}"
        )

    def add(cell: str, a: dict[str, int], b: dict[str, int], parameters: str) -> None:
        k, x9 = len(rams), "X9" in cell
        data = contents(rng, x9)
        dual = cell.startswith("DP")
        most = 18 if dual else 36

        def d(s: str) -> str:
            return narrow(f"r{k}_in_{s}", most, x9)

        if cell.startswith("SP"):
            c = (f".CLK(clk), .CE(r{k}_en_a), .WRE(r{k}_we_a), .OCE(r{k}_oce_a), .RESET(r{k}_rst_a), "
                 f".BLKSEL(3'd0), .AD(r{k}_addr_a), .DI({d('a')}), .DO(q{k}_a)")  # fmt: skip
        elif cell.startswith("pROM"):
            c = (f".CLK(clk), .CE(r{k}_en_a), .OCE(r{k}_oce_a), .RESET(r{k}_rst_a), .AD(r{k}_addr_a), "
                 f".DO(q{k}_a)")  # fmt: skip
        elif cell.startswith("SDP"):
            c = (f".CLKA(clk), .CEA(r{k}_en_a), .RESETA(r{k}_rst_a), .CLKB(clk), .CEB(r{k}_en_b), "
                 f".OCE(r{k}_oce_b), .RESETB(r{k}_rst_b), .BLKSELA(3'd0), .BLKSELB(3'd0), "
                 f".ADA(r{k}_addr_a), .ADB(r{k}_addr_b), .DI({d('a')}), .DO(q{k}_b)")  # fmt: skip
        else:
            c = ", ".join(
                f".CLK{S}(clk), .CE{S}(r{k}_en_{s}), .WRE{S}(r{k}_we_{s}), .OCE{S}(r{k}_oce_{s}), "
                f".RESET{S}(r{k}_rst_{s}), .BLKSEL{S}(3'd0), .AD{S}(r{k}_addr_{s}), .DI{S}({d(s)}), "
                f".DO{S}(q{k}_{s})"
                for s, S in ("aA", "bB")
            )
        ports.append(wires(k))
        bits = most if x9 else most // 9 * 8
        for s in "ab":
            made.append(f"wire [{bits - 1}:0] q{k}_{s};")
            for i in range(most // 9):
                low = (
                    f"q{k}_{s}[{9 * i + 8}:{9 * i}]"
                    if x9
                    else f"{{1'b0, q{k}_{s}[{8 * i + 7}:{8 * i}]}}"
                )
                made.append(f"assign r{k}_out_{s}[{9 * i + 8}:{9 * i}] = {low};")
        init_rows = ", ".join(init(data, 9 if x9 else 8))
        made.append(f"{cell} #({parameters}, {init_rows}) r{k} (\n  {c});")
        rams.append({"ports": [a, b], "contents": data, "ninth": x9})

    for w in (1, 4, 9, 18, 36):
        for x9 in (True, False):
            if x9 and w < 9:
                continue
            name, bits = ("X9", w) if x9 else ("", w if w < 9 else w // 9 * 8)
            mode, reg = w % 3, int(x9)
            add(f"SP{name}", port(w, mode, reg), dead,
                f".BIT_WIDTH({bits}), .WRITE_MODE({mode}), .READ_MODE({reg})")  # fmt: skip
            add(f"pROM{name}", port(w, 0, 1 - reg, writes=0), dead,
                f".BIT_WIDTH({bits}), .READ_MODE({1 - reg})")  # fmt: skip
            add(f"SDP{name}B", port(w, reads=0, always=1), port(w, 0, reg, writes=0),
                f".BIT_WIDTH_0({bits}), .BIT_WIDTH_1({bits}), .READ_MODE({reg})")  # fmt: skip
            if w < 36:
                add(f"DP{name}B", port(w, 1, reg), port(w, 0, 1 - reg),
                    f".BIT_WIDTH_0({bits}), .BIT_WIDTH_1({bits}), .WRITE_MODE0(1), .WRITE_MODE1(0), "
                    f".READ_MODE0({reg}), .READ_MODE1({1 - reg})")  # fmt: skip
    add("SDPX9B", port(9, reads=0, always=1), port(36, 0, 1, writes=0),
        ".BIT_WIDTH_0(9), .BIT_WIDTH_1(36), .READ_MODE(1)")  # fmt: skip
    for n in (9, 18, 36):
        for j in range(4):
            k = len(multipliers)
            spec = {
                "bits": n,
                "signed": [j & 1, j >> 1],
                "in": j & 1,
                "pipe": j >> 1,
                "out": int(j != 1),
            }
            out = "OUT0_REG({0}), .OUT1_REG({0})" if n == 36 else "OUT_REG({0})"
            shift = "" if n == 36 else ", .ASEL(1'b0), .BSEL(1'b0), .SIA(0), .SIB(0)"
            made.append(
                f"MULT{n}X{n} #(.AREG({spec['in']}), .BREG({spec['in']}), .PIPE_REG({spec['pipe']}), "
                f".{out.format(spec['out'])}) m{k} (.CLK(clk), .CE(m{k}_ce), .RESET(m{k}_rst), "
                f".A(m{k}_a), .B(m{k}_b), .ASIGN({spec['signed'][0]}), .BSIGN({spec['signed'][1]}), "
                f".DOUT(m{k}_p){shift});"
            )
            ports.append(
                f"  input m{k}_ce, m{k}_rst, input [{n - 1}:0] m{k}_a, m{k}_b, output [{2 * n - 1}:0] m{k}_p,\n"
            )
            multipliers.append(spec)
    return ports, made, {"rams": rams, "multipliers": multipliers}


def ice40up(rng: random.Random) -> tuple[list[str], list[str], dict[str, Any]]:
    """Return ports and instances of the block RAM of iCE40, in all modes of writing and reading."""
    ports, made, rows = [], [], []
    for k, (write, read) in enumerate([(0, 0), (1, 1), (2, 2), (3, 3), (0, 2), (3, 0), (1, 3)]):
        words = [rng.getrandbits(16) for _ in range(256)]
        contents = ", ".join(
            f".INIT_{i:X}(256'h{value(words[16 * i : 16 * i + 16], 16):x})" for i in range(16)
        )
        made.append(
            f"SB_RAM40_4K #(.WRITE_MODE({write}), .READ_MODE({read}), {contents}) e{k} (.RCLK(clk), "
            f".WCLK(clk), .WE(e{k}_we), .WCLKE(e{k}_wce), .WADDR(e{k}_waddr), .MASK(e{k}_mask), "
            f".WDATA(e{k}_data), .RE(e{k}_re), .RCLKE(e{k}_rce), .RADDR(e{k}_raddr), .RDATA(e{k}_out));"
        )
        ports.append(
            f"  input e{k}_we, e{k}_wce, e{k}_re, e{k}_rce, input [10:0] e{k}_waddr, e{k}_raddr,\n"
            f"  input [15:0] e{k}_mask, e{k}_data, output [15:0] e{k}_out,\n"
        )
        rows.append({"write": write, "read": read, "words": words})
    return ports, made, {"rams": [], "multipliers": [], "rows": rows}


@pytest.mark.parametrize("family", [ecp5, gowin, ice40up])
def test_models_do_what_the_vendor_describes(family: Any, tmp_path: Path) -> None:
    ports, instances, specs = family(random.Random(SEED))
    text = f"module many(\n{''.join(ports)}  input clk, output late\n);\nassign late = ~clk;\n"
    text += "\n".join(instances) + "\nendmodule\n"
    check_cells(tmp_path, family.__name__, "many", text, "support.tb_cells", specs | {"seed": SEED})
