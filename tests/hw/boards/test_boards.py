"""Boards: every top elaborates, with its pins where the board has them."""

import json
from pathlib import Path

import pytest
from gatewright.cli.main import main
from gatewright.compiler.errors import InputError
from gatewright.compiler.program.chain import load_program
from gatewright.compiler.target.devices import DEVICES, FAMILIES
from gatewright.hw.bitstream.plan import Options, make_system, top_files
from gatewright.hw.boards import BOARDS, find_board

# Clock, receive, transmit: read off the boards' own documents, independently of the platforms.
PINS = {
    "icebreaker": ("35", "6", "9"),
    "icesugar": ("35", "4", "6"),
    "pico-ice": ("35", "27", "25"),
    "hx8k-evn": ("J3", "B10", "B12"),
    "ulx3s-12f": ("G2", "M1", "L4"),
    "ulx3s-25f": ("G2", "M1", "L4"),
    "ulx3s-45f": ("G2", "M1", "L4"),
    "ulx3s-85f": ("G2", "M1", "L4"),
    "orangecrab-25f": ("A9", "N17", "M18"),
    "orangecrab-85f": ("A9", "N17", "M18"),
    "colorlight-i5": ("P3", "H18", "J17"),
    "colorlight-5a-75b": ("P6", "M13", "P11"),
    "icesugar-pro": ("P6", "A9", "B9"),
    "icepi-zero": ("M1", "K16", "K15"),
    "ecpix-5-45f": ("K23", "R26", "R24"),
    "tang-nano-9k": ("52", "18", "17"),
    "tang-nano-20k": ("4", "70", "69"),
    "tang-primer-20k": ("H11", "T13", "M11"),
}


def test_every_board_is_tested():
    assert list(PINS) == list(BOARDS)


@pytest.mark.parametrize("name", PINS)
def test_top_elaborates_with_its_pins(tiny, name):
    board = BOARDS[name]
    pll = board.vendor.pll.highest(board.device, board.clock, board.typical_clock)
    program = load_program(tiny / "program")
    files = top_files(board, pll, make_system(program, board, Options()))
    lines = files[board.vendor.tools.constraints].decode().splitlines()
    for port, pin in zip(("clk", "rx", "tx"), PINS[name], strict=True):
        assert any(port in line and pin in line.replace('"', " ").replace(";", "").split()
                   for line in lines), (port, pin, lines)  # fmt: skip
    text = files["top.il"].decode()
    assert f"cell \\{board.pll} " in text
    assert str(Path(__file__).parents[3]) not in text and "src" not in text.split("attribute")[0]


@pytest.mark.parametrize("name", PINS)
def test_row_is_consistent(name):
    board = BOARDS[name]
    platform = board.make_platform()
    assert platform.default_clk_frequency == board.clock
    assert board.device in DEVICES and board.family in FAMILIES and board.vendor.has_tools
    wanted = getattr(platform, "device", None) or platform.family
    assert wanted == board.device
    assert board.typical_clock <= 400e6 and 0 < board.price[0] <= board.price[1]


def test_names_forgive_case_and_dashes():
    assert find_board("Tang_Nano_9K") is BOARDS["tang-nano-9k"]
    with pytest.raises(InputError, match="'foo' is not known; boards are icebreaker, icesugar"):
        find_board("foo")


def test_list_of_boards_says_what_fits_at_each_boards_own_clock(tiny, capsys):
    assert main(["boards", "--program", str(tiny / "program"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["boards"]
    assert [b["name"] for b in listed] == list(BOARDS)
    for entry in listed:
        assert entry["fits"] is True
        board, clock = BOARDS[entry["name"]], 1e6 * entry["estimated_clock_mhz"]
        # The clock that a build aims at first: lower where the device is nearly full.
        assert 0.78 * board.typical_clock <= clock <= board.typical_clock
        assert entry["steps_per_second"] == pytest.approx(clock / entry["cycles_per_step"], 1e-4)
    assert (
        sum(1e6 * b["estimated_clock_mhz"] == BOARDS[b["name"]].typical_clock for b in listed) > 5
    )
