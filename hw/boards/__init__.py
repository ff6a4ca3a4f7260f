"""The boards: one row of a table each; where amaranth-boards has no platform, one thin file."""

from __future__ import annotations

from dataclasses import replace

from ...compiler.errors import InputError
from .board import Board

__all__ = ["BOARDS", "Board", "find_board"]

_ULX3S = Board(
    "ulx3s-25f", "Radiona ULX3S, ECP5-25", "amaranth_boards.ulx3s:ULX3S_25F_Platform",
    "LFE5U-25F", 25_000_000, 167_000_000, "EHXPLLL", "$115-155",
    ("--board", "ulx3s"), "0403:6015", "LFE5U-25",
)  # fmt: skip
_ORANGECRAB = Board(
    "orangecrab-25f", "OrangeCrab r0.2, ECP5-25",
    "amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_25FPlatform",
    "LFE5U-25F", 48_000_000, 216_000_000, "EHXPLLL", "$130-200",
    ("--board", "orangeCrab"), "1209:5af0", sram=False,
    uart=("N17", "M18", "LVCMOS33"),  # I/O 0 and 1 of the header, which a Feather has as RX and TX
    note="the link is on header pins 0 (rx) and 1 (tx): connect a 3.3 V USB-serial adapter; "
    "hold the button while plugging in to reach the bootloader",
)  # fmt: skip

_ALL = (
    Board(
        "icebreaker", "1BitSquared iCEBreaker, iCE40 UP5K",
        "amaranth_boards.icebreaker:ICEBreakerPlatform",
        "iCE40UP5K", 12_000_000, 42_000_000, "SB_PLL40_PAD", "$70-90",
        ("--board", "ice40_generic"), "0403:6010", sram=False, flash_offset=0x2_0000,
    ),
    Board(
        "hx8k-evn", "Lattice iCE40-HX8K-B-EVN",
        "amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform",
        "iCE40HX8K", 12_000_000, 84_000_000, "SB_PLL40_CORE", "$50-90",
        ("--board", "ice40_generic"), "0403:6010", sram=False,
    ),
    replace(
        _ULX3S, name="ulx3s-12f", title="Radiona ULX3S, ECP5-12", device="LFE5U-12F",
        platform="amaranth_boards.ulx3s:ULX3S_12F_Platform", jtag="LFE5U-12",
    ),
    _ULX3S,
    replace(
        _ULX3S, name="ulx3s-45f", title="Radiona ULX3S, ECP5-45", device="LFE5U-45F",
        platform="amaranth_boards.ulx3s:ULX3S_45F_Platform", jtag="LFE5U-45", usual=150_000_000,
    ),
    replace(
        _ULX3S, name="ulx3s-85f", title="Radiona ULX3S, ECP5-85", device="LFE5U-85F",
        platform="amaranth_boards.ulx3s:ULX3S_85F_Platform", jtag="LFE5U-85",
        usual=125_000_000, price="$155-215",
    ),
    _ORANGECRAB,
    replace(
        _ORANGECRAB, name="orangecrab-85f", title="OrangeCrab r0.2, ECP5-85", device="LFE5U-85F",
        platform="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_85FPlatform",
        usual=155_000_000, price="$190-250",
    ),
    Board(
        "colorlight-i5", "Colorlight i5 v7.0 with Muse Lab's extension board, ECP5-25",
        ".colorlight_i5:ColorlightI5Platform",
        "LFE5U-25F", 25_000_000, 167_000_000, "EHXPLLL", "$40-60",
        ("--board", "colorlight-i5"), "0d28:0204", "LFE5U-25",
    ),
    Board(
        "icesugar-pro", "Muse Lab iCESugar-Pro, ECP5-25",
        "amaranth_boards.icesugar_pro:ICESugarProPlatform",
        "LFE5U-25F", 25_000_000, 167_000_000, "EHXPLLL", "$50-70",
        ("--cable", "cmsisdap"), "1d50:602b", "LFE5U-25",
    ),
    Board(
        "tang-nano-9k", "Sipeed Tang Nano 9K, GW1NR-9",
        "amaranth_boards.tang_nano_9k:TangNano9kPlatform",
        "GW1NR-9C", 27_000_000, 120_000_000, "rPLL", "$13-20",
        ("--board", "tangnano9k"), "0403:6010", "GW1N(R)-9C",
    ),
    Board(
        "tang-nano-20k", "Sipeed Tang Nano 20K, GW2AR-18",
        ".tang_nano_20k:TangNano20kPlatform",
        "GW2AR-18C", 27_000_000, 180_000_000, "rPLL", "$25-35",
        ("--board", "tangnano20k"), "0403:6010", "GW2A(R)-18(C)",
    ),
    Board(
        "tang-primer-20k", "Sipeed Tang Primer 20K on its dock, GW2A-18",
        "amaranth_boards.tang_primer_20k:TangPrimer20kPlatform",
        "GW2A-18C", 27_000_000, 180_000_000, "rPLL", "$25-60",
        ("--board", "tangprimer20k"), "0403:6010", "GW2A(R)-18(C)",
    ),
)  # fmt: skip

BOARDS = {board.name: board for board in _ALL}
"""Every board by its name."""


def find_board(name: str) -> Board:
    """Return a board by its name; case, ``-`` and ``_`` do not matter.

    Raises
    ------
    InputError
        No such board; lists those that there are.
    """
    key = name.lower().replace("_", "-")
    if key not in BOARDS:
        raise InputError(f"--board {name!r} is not known; boards are {', '.join(BOARDS)}")
    return BOARDS[key]
