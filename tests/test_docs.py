"""The documents: links resolve, commands parse, examples run, figures are those of the code."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gatewright.cli.main import build_parser, main
from gatewright.compiler.frontends.rtneural import load_rtneural
from gatewright.compiler.ir.cells import CELLS
from gatewright.compiler.quantizer.pipeline import quantize_stream
from gatewright.examples.japanese_vowels import train as vowels
from gatewright.examples.opendpd import amplifier
from gatewright.examples.rnnoise import suppressor

import gatewright as gw

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "tests/data/*.md")
    for path in ROOT.glob(pattern)
)
GUIDES = [page for page in PAGES if re.fullmatch(r"docs/\w+\.md", page)]
RECORDS = [page for page in PAGES if re.fullmatch(r"docs/decisions/\d{4}-.*\.md", page)]
CHEAP = gw.Config(rounding="nearest", calibration_method="minmax")
"""Options that do not change cycles, for programs that only a schedule is wanted of."""


def text(page: str) -> str:
    return (ROOT / page).read_text()


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", text(page), flags=re.S | re.M)


def blocks(page: str, language: str, mark: str = "") -> list[str]:
    """The blocks of code in a language; with a mark, those behind a comment ``<!-- mark -->``."""
    before = rf"<!-- {mark} -->\n" if mark else ""
    return list(re.findall(rf"{before}^```{language}\n(.*?)^```", text(page), re.S | re.M))


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# -- links and names ----------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_resolve(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert target.exists(), f"{page} links to {link}, which is not there"
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT).as_posix()), f"{page}: {link}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    rooms = "gatewright|compiler|host|hw|sim|cli|tests|bench|docs"
    pattern = rf"`(?:pytest |python )?((?:{rooms})/[\w./]*\w/?)[` ](?! *of \[)"  # not of others
    for name in re.findall(pattern, text(page)):
        assert (ROOT / name).exists(), f"{page} names {name}, which is not there"


@pytest.mark.parametrize("page", GUIDES)
def test_every_guide_leads_to_the_glossary(page: str) -> None:
    assert page == "docs/glossary.md" or "](glossary.md)" in text(page)


def test_every_decision_is_in_the_index_and_has_its_four_fields() -> None:
    listed = re.findall(r"\]\(decisions/([\w-]+\.md)\)", text("docs/decisions.md"))
    assert [f"docs/decisions/{name}" for name in listed] == RECORDS
    for number, record in enumerate(RECORDS, 1):
        body = text(record)
        assert body.startswith(f"# {number:04d}. ")
        fields = re.findall(r"^\*\*(\w[\w ]+)\.\*\*", body, re.M)
        assert fields == ["Context", "Decision", "Measured by", "Consequence"], record
        assert len(body.splitlines()) <= 25, record


def test_the_readme_is_short() -> None:
    assert len(text("README.md").splitlines()) < 120


def test_the_citation_has_the_version_of_the_package() -> None:
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    assert f"\nversion: {version}\n" in text("CITATION.cff")


# -- commands -----------------------------------------------------------------------


def lines_of_shell(page: str) -> Iterator[str]:
    """The commands of a page's blocks of shell, without comments, continued lines joined."""
    for block in blocks(page, "sh"):
        yield from block.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_blocks_parse(page: str) -> None:
    for line in lines_of_shell(page):
        words = shlex.split(line, comments=True)
        if words[:1] == ["gatewright"]:
            build_parser().parse_args(words[1:])  # raises InputError
        elif words[:2] == ["python", "-m"]:
            path = words[2].removeprefix("gatewright.").replace(".", "/") + ".py"
            assert (ROOT / path).exists(), line
        elif words[:1] == ["python"]:
            assert (ROOT / words[1]).exists(), line
        elif words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", text("Makefile"), re.M), line


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_have_verbs_and_options_that_exist(page: str) -> None:
    [verbs] = [a for a in build_parser()._actions if isinstance(a.choices, dict)]
    assert isinstance(verbs.choices, dict)
    for command in re.findall(r"`gatewright ([a-z][^`]*)`", prose(page)):
        verb, *rest = shlex.split(command)
        options = {word for word in rest if word.startswith("-")}
        assert verb in verbs.choices, f"{page}: gatewright {command}"
        known = set(verbs.choices[verb]._option_string_actions)
        assert options <= known, f"{page}: gatewright {command}"


def keys_of(page: str, title: str) -> list[str]:
    """The names in backticks in the first column of the table with this title."""
    table = re.search(rf"^\| {title} \|.*?(?=\n\n|\Z)", text(page), re.S | re.M)
    assert table is not None, title
    return re.findall(r"^\| `([\w.]+)`", table.group(), re.M)


def test_files_of_a_program_are_those_of_the_page(tiny: Path) -> None:
    described = json.loads((tiny / "program" / "program.json").read_text())
    keys = keys_of("docs/files.md", "key of `program.json`")
    assert len(keys) >= 10
    assert set(keys) <= set(described)
    files = {path.name for path in (tiny / "program").iterdir()}
    assert {"program.json", "weights.npz", "weights.hex", "beats.hex"} <= files


def test_the_options_of_the_page_are_options(tmp_path: Path) -> None:
    _, options = blocks("docs/files.md", "toml")
    (tmp_path / "options.toml").write_text(options)
    config = gw.Config.from_toml(tmp_path / "options.toml")
    assert (config.weight_width("gru0", "n"), config.weight_width("gru0", "r")) == (4, 6)


def test_the_description_of_the_page_is_one(tmp_path: Path) -> None:
    description, _ = blocks("docs/files.md", "toml")
    (tmp_path / "m.toml").write_text(description)
    rng = np.random.default_rng(0)
    shapes = {"W": (12, 3), "U": (12, 4), "b": (12,), "d": (12,)}
    arrays = {f"gru0.{letter}": rng.normal(size=shape) for letter, shape in shapes.items()}
    np.savez(tmp_path / "model.npz", **arrays, **{"fc.W": rng.normal(size=(2, 4))})
    model = gw.load(tmp_path / "m.toml")
    assert [layer.name for layer in model.layers] == ["gru0", "fc"]
    assert "h' = (1 - z) * n + z * h" in model.layers[0].equations


def test_json_has_the_keys_of_the_page(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tiny / "program"), str(tiny / "x.npz"), "--limit", "1"]
    assert main(["simulate", *arguments, "--simulator", "amaranth", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    [row] = re.findall(r"^\| `simulate` \| (.*) \|$", text("docs/files.md"), re.M)
    assert set(re.findall(r"`(\w+)`", row)) <= set(result)


# -- Python -------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_imports_what_there_is(page: str) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    assert hasattr(__import__(node.module, fromlist=["x"]), alias.name), alias.name
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gw":
                assert node.attr in gw.__all__, f"{page}: gw.{node.attr}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "device":
                assert hasattr(gw.Device, node.attr), f"{page}: device.{node.attr}"


def test_the_readmes_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As printed, on the Amaranth simulator, which needs no build."""
    torch = pytest.importorskip("torch", reason="the example takes a PyTorch module")
    torch.manual_seed(0)
    monkeypatch.setattr(gw, "simulate", partial(gw.simulate, simulator="amaranth"))
    names = {"net": torch.nn.GRU(3, 4), "x": np.random.default_rng(0).normal(size=(1, 4, 3))}
    [example] = blocks("README.md", "python", "run")
    exec(example, names)
    assert "module gatewright_core" in str(names["text"])
    assert np.asarray(names["y"]).shape == (1, 4, 4)


def test_the_cell_of_contributing_computes_its_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float model = equations; gateware = golden model; and the golden model is near both."""
    monkeypatch.setitem(CELLS, "ugrnn", CELLS["rnn"])  # taken back afterwards
    [example] = blocks("CONTRIBUTING.md", "python", "run")
    exec(example, {})
    rng = np.random.default_rng(0)
    w, u = ({g: rng.normal(0, 0.5, (6, n)) for g in "zn"} for n in (3, 6))
    b = {g: rng.normal(0, 0.3, 6) for g in "zn"}
    model = gw.Model(3, (gw.Recurrent("layer", "ugrnn", ("x",), 6, 3, w, u, b),))
    x, h = rng.normal(size=(2, 8, 3)), np.zeros((2, 6))
    expected = []
    for now in x.swapaxes(0, 1):
        z = 1 / (1 + np.exp(-(now @ w["z"].T + h @ u["z"].T + b["z"])))
        h = z * h + (1 - z) * np.tanh(now @ w["n"].T + h @ u["n"].T + b["n"])
        expected.append(h)
    np.testing.assert_allclose(model.run(x), np.stack(expected, 1), atol=1e-12)
    program = gw.quantize(model, x, gw.Config(lanes=6))
    np.testing.assert_allclose(program.run(x), np.stack(expected, 1), atol=0.05)
    assert gw.simulate(program, x[:1, :4], simulator="amaranth").bit_exact


GUIDES_THAT_RUN = [
    pytest.param(page, marks=pytest.mark.full if page == "docs/host.md" else ())
    for page in GUIDES
    if page != "docs/tutorial.md" and blocks(page, "python", "run")
]
"""Pages with an example that stands alone; a simulated board takes longer."""


@pytest.mark.parametrize("page", GUIDES_THAT_RUN)
def test_the_example_of_a_guide_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [example] = blocks(page, "python", "run")
    exec(example, {})


def test_the_recordings_of_the_audio_guide_hold_the_tone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [example] = blocks("docs/audio.md", "python", "run")
    exec(example, {})
    samples, energies = np.load("samples.npy"), np.load("energies.npy")
    t = np.arange(16000) / 16000
    np.testing.assert_allclose(samples[:, 0], 0.244 * np.sin(2 * np.pi * 440 * t), atol=2e-4)
    assert energies.shape == (98, 16)
    assert (energies.argmax(1) == 0).all()  # 440 Hz lies in the lowest of 16 bands to 8 kHz


@pytest.mark.full
def test_the_tutorial_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both scripts and every command but those that build a bitstream."""
    monkeypatch.chdir(tmp_path)
    train, board = blocks("docs/tutorial.md", "python", "run")
    exec(train, {})
    for line in lines_of_shell("docs/tutorial.md"):
        words = shlex.split(line, comments=True)
        if words[:2] != ["gatewright", "build"]:
            assert main(words[1:]) == 0, line
    exec(board, {})
    out = capsys.readouterr().out
    [right] = re.findall(r"([\d.]+)% of 200 test recordings", out)
    assert float(right) > 95  # another processor trains a little differently
    assert "bit-exact: 800 steps in verilator, every output equals golden" in out
    assert "steps=120" in out


# -- figures ------------------------------------------------------------------------


def number(pattern: str, page: str) -> int:
    """The one number that a pattern marks on a page; ends of lines count as blanks."""
    found = re.findall(pattern, " ".join(text(page).split()))
    assert len(found) == 1, f"{page}: {pattern!r} is there {len(found)} times"
    return int(found[0].replace(",", ""))


@pytest.fixture(scope="module")
def rnnoise() -> gw.Program:
    frames = suppressor.calibration(suppressor.load_recordings())[:50]
    return quantize_stream(suppressor.network(), frames, CHEAP)


def test_rnnoise_cycles_are_those_of_the_schedule(rnnoise: gw.Program) -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", text("docs/models.md"), re.M
    )
    assert len(rows) == 6
    for row in rows:
        lanes, *figures = (int(cell.replace(",", "")) for cell in row)
        cycles = rnnoise.with_lanes(lanes).schedule.cycles()[0]
        assert figures == [cycles, round(12e6 / cycles), round(48e6 / cycles)], f"{lanes} lanes"
    cycles = rnnoise.with_lanes(24).schedule.cycles()[0]
    assert number(r"([\d,]+) cycles a frame:", "README.md") == cycles
    assert number(r"([\d,]+) frames a second at 12 MHz", "README.md") == round(12e6 / cycles)


def test_the_demos_figures_are_those_of_its_program() -> None:
    torch_model = gw.load(vowels.pretrained(), check=False)
    data, _ = vowels.load_data()
    program = gw.quantize(torch_model, data.x, gw.Config(lanes=24), lengths=data.lengths)
    page, summary = "README.md", program.summary
    assert number(r"cycles a step +([\d,]+) predicted", page) == summary["cycles_per_step"]
    assert number(r"24 lanes, ([\d,]+) MACs a step", page) == summary["macs_per_step"]
    assert number(r"([\d,]+) multiply-accumulates a step", page) == summary["macs_per_step"]
    assert number(r"ROM +([\d,]+) bits of weights", page) == summary["weight_rom_bits"]
    assert number(r"bits of weights, ([\d,]+) of control", page) == summary["beat_rom_bits"]


def test_the_table_of_cells_is_what_its_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    bench = runpy.run_path(str(ROOT / "bench" / "cells.py"))
    bench["main"]()
    bench["main_streams"]()
    rows = capsys.readouterr().out.splitlines()
    page = text("docs/engine.md").splitlines()
    assert [row for row in rows if row not in page] == [], "python bench/cells.py prints others"


def test_the_table_of_peers_is_what_its_script_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    runpy.run_path(str(ROOT / "bench" / "peers.py"))["main"]()
    rows = capsys.readouterr().out.splitlines()
    page = text("docs/measurements.md").splitlines()
    assert len(rows) == 16
    assert [row for row in rows if row not in page] == [], "python bench/peers.py prints others"


def test_the_readmes_board_is_a_row_of_the_table_of_boards() -> None:
    cycles = number(r"(\d+) cycles at [\d.]+ MHz", "README.md")
    [clock] = re.findall(r"\d+ cycles at (\d+\.\d\d) MHz", text("README.md"))
    [row] = re.findall(r"^\| demo \| `tang-nano-9k` .*$", text("docs/boards.md"), re.M)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[4].startswith(f"{clock} (") and cells[5] == str(cycles)
    assert f"**{cycles / float(clock):.1f} µs a step" in text("README.md")


def test_other_cycles_of_real_models_are_those_of_their_schedules() -> None:
    x = np.loadtxt(DATA / "rtneural_gru_1d_x.csv")[:, None]
    pedal = quantize_stream(load_rtneural(DATA / "rtneural_gru_1d.json"), x, CHEAP)
    features = amplifier.features(amplifier.load_recording().calibration)[:200]
    radio = quantize_stream(amplifier.core_model(), features, CHEAP)
    sleep = gw.load(DATA / "sleepecg_wrn-gru-mesa.keras", check=False)
    page = "docs/models.md"
    for program, pattern in (
        (pedal.with_lanes(24), r"100 samples, (\d+) cycles each on 24 lanes"),
        (radio.with_lanes(24), r"200 samples at the default widths, (\d+) cycles each"),
        (gw.quantize(sleep, None, gw.Config(lanes=24)), r"(\d+) cycles a step in all"),
    ):
        assert number(pattern, page) == program.summary["cycles_per_step"]


@pytest.mark.parametrize("page", PAGES)
def test_dotted_names_of_a_page_are_there(page: str) -> None:
    for name in re.findall(r"`gatewright\.(?!svh`)((?:\w+\.)*\w{2,})[`(]", text(page)):
        value: object = gw
        at = "gatewright"
        for part in name.split("."):
            at = f"{at}.{part}"
            value = getattr(value, part, None) or __import__(at, fromlist=["x"])


def test_the_version_is_the_same_everywhere():
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)
    newest = re.search(r"^## (\d\S*?)(,|$)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert cited and newest and given == cited[1] == newest[1]
