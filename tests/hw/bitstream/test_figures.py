"""Figures of a build's folder: report, clocks that were tried, critical path; and its page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from gatewright.cli.main import main
from gatewright.compiler.errors import InputError
from gatewright.compiler.program.chain import load_program
from gatewright.hw.bitstream.build import build
from gatewright.hw.bitstream.figures import critical_path, read_figures, tries
from gatewright.hw.bitstream.plan import Options
from gatewright.hw.boards import find_board
from support.fake_tools import install

# Of nextpnr 0.11.1, shortened; a path is reported before and after routing.
LOG = """
Info: Max frequency for clock 'boot_clk': 140.01 MHz (PASS at 120.00 MHz)
Info: Critical path report for clock 'boot_clk' (posedge -> posedge):
Info:       type curr  total name
Info:   clk-to-q  9.99  9.99 Source early.Q
Info: 9.99 ns logic, 0.00 ns routing
Info: Critical path report for clock 'other' (posedge -> posedge):
Info:   clk-to-q  1.00  1.00 Source other.Q
Info: 1.00 ns logic, 0.00 ns routing
Info: Critical path report for clock 'boot_clk' (posedge -> posedge):
Info:       type curr  total name
Info:   clk-to-q  0.46  0.46 Source system.link.place$54_DFFRE_Q_7.Q
Info:    routing  0.81  1.26 Net system.link.chosen[2] (21,16) -> (20,16)
Info:                          Sink system.link.chosen_LUT4_F_1.I0
Info:                          Defined in:
Info:                               cells_map.v:130.20-130.21
Info:      logic  1.03  2.29 Source system.link.chosen_LUT4_F_1.F
Info:    routing  5.45  7.74 Net system.link.chosen_DFFRE_Q_4_D (21,19) -> (21,19)
Info:                          Sink system.link.chosen_DFFRE_Q_4.D
Info:      setup  0.40  8.14 Source system.link.chosen_DFFRE_Q_4.D
Info: 1.89 ns logic, 6.26 ns routing
Info:   clk-to-q  7.77  7.77 Source behind.Q
Info: Max frequency for clock    'other': 300.00 MHz (PASS at 12.00 MHz)
Info: Max frequency for clock 'boot_clk': 122.79 MHz (PASS at 120.00 MHz)
"""


@pytest.fixture(scope="module")
def built(tiny, tmp_path_factory) -> Path:
    """A build of two routes, with the tools that stand in."""
    folder = tmp_path_factory.mktemp("built")
    program = load_program(tiny / "program").with_lanes(2)
    with pytest.MonkeyPatch.context() as patch:
        install(folder / "tools", patch)
        patch.setenv("FAKE_FMAX", "30/50")
        build(program, find_board("icebreaker"), folder / "made", Options(frequency=33e6, tries=2))
    return folder / "made"


@pytest.fixture
def made(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "made"))


def last_log(folder: Path, text: str) -> Path:
    path = max((folder / "logs").glob("route*.log"))
    path.write_text(text)
    return path


def test_clocks_that_were_tried(made):
    found = tries(made)
    assert [t["seed"] for t in found] == [1, 2]
    assert found[0]["fmax_mhz"] is None  # its log says nothing
    path = last_log(made, LOG)
    assert tries(made)[-1]["fmax_mhz"] == 122.79
    path.rename(made / "logs" / "route_x.log")  # not a name that a build gives
    assert len(tries(made)) == 1


def test_path_is_the_last_one_of_the_slowest_clock(made):
    path = critical_path(made, last_log(made, LOG).name)
    assert [(step["kind"], step["ns"]) for step in path] == [
        ("clk-to-q", 0.46), ("routing", 0.81), ("logic", 1.03), ("routing", 5.45), ("setup", 0.40),
    ]  # fmt: skip
    assert path[0]["name"] == "system.link.place$54_DFFRE_Q_7.Q"
    assert sum(step["ns"] for step in path) == pytest.approx(8.15)
    for text in ("", "no clock", LOG.replace("Critical", "critical"), "\x00'" * 50):
        assert critical_path(made, last_log(made, text).name) == []


def test_page_of_a_build(made, tmp_path, capsys, tiny):
    report = json.loads((made / "build.json").read_text())
    last_log(made, LOG.replace("122.79", f"{report['fmax_mhz']:.2f}"))
    page = tmp_path / "r.html"
    assert main(["report", str(made), "--html", str(page)]) == 0
    text = page.read_text()
    for word in ("icebreaker", "iCE40UP5K", "The path that limits the clock", "6.26 of them on wires",
                 "Clocks that were tried", "88 %: 7 of 8", f"{report['steps_per_second']:,.0f}"):  # fmt: skip
        assert word in text, word
    assert str(tmp_path) not in text
    capsys.readouterr()
    data = ["--data", str(tiny / "x.npz"), "--model", str(tiny / "model.safetensors")]
    assert main(["report", str(made), *data]) == 0
    text = capsys.readouterr().out
    assert "MHz, met" in text and "rms" in text
    assert main(["report", str(made), str(tiny / "program"), *data, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["reports"]
    assert first["fmax_mhz"] == report["fmax_mhz"] and first["analysis"]["error"]["max"] > 0
    assert second["summary"]["lanes"] == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"board": 3}, "damaged"),
        ({"device": ["x"]}, "'device' is"),
        ({"cycles_per_step": "9"}, "'cycles_per_step' is '9'"),
        ({"lanes": -1}, "'lanes' is '-1'"),
        ({"loadable": 1}, "'loadable' is '1'"),
        ({"estimate": {"luts": True}}, "'luts' is 'True'"),
        ({"fmax_mhz": "<b>"}, "'fmax_mhz' is '<b>'"),
        ({"resources": {"luts": {"used": 1}}}, "'luts' has no 'available'"),
        ({"resources": 7}, "'resources' is no object"),
        ({"tools": None}, "'tools' is no object"),
        ({"program": "0" * 64}, "is not the program"),
    ],
)
def test_damaged_reports_are_refused(made, tmp_path, capsys, change, message):
    path = made / "build.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    page = tmp_path / "r.html"
    assert main(["report", str(made), "--html", str(page)]) == 1
    said = capsys.readouterr().err
    assert message in said and "build again" in said and said.count("\n") == 1
    assert not page.exists()


def test_a_build_without_a_route_has_figures_all_the_same(made):
    path = made / "build.json"
    report = json.loads(path.read_text())
    for key in ("fmax_mhz", "target_mhz", "met", "seed", "resources"):
        del report[key]
    path.write_text(json.dumps(report | {"bitstream": None, "error": "it does not fit"}))
    assert read_figures(made)["path"] == []
    with pytest.raises(InputError, match="is not a build"):
        read_figures(made / "program")
