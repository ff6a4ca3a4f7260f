"""The project as a whole: what is installed, who imports whom, what is in the files."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("gatewright", "compiler", "host", "hw", "sim", "cli", "examples")
# Examples that are read and run from the source, for other systems: they are not installed.
SCRIPTS = ("examples/litex/", "examples/amaranth/")
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not path.relative_to(ROOT).as_posix().startswith(SCRIPTS)
)


def project_files() -> list[str]:
    """Files of the project: tracked, or new and not ignored; without deleted ones."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted({name for name in done.stdout.splitlines() if (ROOT / name).is_file()})


# -- the wheel --------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build in a copy of the project's files: nothing else on this machine takes part."""
    copy = tmp_path_factory.mktemp("source")
    for name in project_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    code = "import sys; from setuptools import build_meta as b; print(b.build_wheel(sys.argv[1]))"
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


def test_wheel_holds_every_module_under_one_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not re.match(r"gatewright-.*info/", name)]
    assert all(name.startswith("gatewright/") for name in names)
    modules = sorted(n.removeprefix("gatewright/") for n in names if n.endswith(".py"))
    assert modules == sorted(name.removeprefix("gatewright/") for name in SOURCES)
    data = [
        name for name in project_files()
        if name.startswith(("compiler/", "examples/", "host/", "sim/"))
        and not name.endswith(".py") and not name.startswith(SCRIPTS)
    ]  # fmt: skip
    others = sorted(n[len("gatewright/") :] for n in names if not n.endswith(".py"))
    assert sorted([*data, "py.typed"]) == others


def test_wheel_imports_from_anywhere(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    modules = [
        "gatewright" if name == "gatewright" else f"gatewright.{name}"
        for name, path in MODULES.items()
        # A cocotb bench is loaded inside a simulator only; the other is the command itself.
        if not path.startswith("sim/tb_") and name != "__main__"
    ]
    code = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    file = importlib.import_module(name).__file__\n"
        "    assert file.startswith(sys.argv[1]), file\n"
        "for name in ('hw', 'host', 'sim', 'cli', 'compiler', 'examples'):\n"
        "    assert importlib.util.find_spec(name) is None, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "site"), *modules],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_installed_wheel_runs_the_demo(wheel, tmp_path):
    """A fresh environment with the wheel and, by a path file, the packages it depends on."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python3*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*install, "--no-index", "--quiet", str(wheel)], check=True)
    done = subprocess.run(
        [str(tmp_path / "env" / "bin" / "gatewright"), "demo", "--checkpoint", "--utterances", "2"],
        cwd=tmp_path, capture_output=True, text=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASS") == 3
    assert (tmp_path / "build" / "demo" / "result.json").exists()


# -- layers -----------------------------------------------------------------------


ROOMS = {
    "compiler.errors": "",
    "compiler.shown": "",
    "compiler.arrays": "errors",
    "compiler.files": "errors",
    "compiler.jobs": "errors",
    "compiler.numerics": "arrays errors",
    "compiler.config": "numerics errors",
    "compiler.ir": "numerics arrays shown errors",
    "compiler.compiled": "ir numerics arrays errors files",
    "compiler.golden": "compiled ir numerics arrays errors",
    "compiler.frontends": "ir numerics arrays errors files",
    "compiler.layout": "ir numerics arrays errors",
    "compiler.program": "layout golden config files ir numerics arrays shown errors",
    "compiler.quantizer": "program layout golden config ir numerics arrays errors",
    "compiler.target": "program layout numerics arrays errors",
    "compiler.analysis": "target quantizer program golden files ir numerics arrays errors",
    "compiler.report": "program layout ir numerics arrays errors",
    "compiler.training": "quantizer frontends program config ir numerics arrays errors",
    "compiler.tuning": "report analysis target quantizer program layout config files jobs ir arrays errors",
    "compiler": "program quantizer frontends config files ir arrays errors",
    "host.wire": "compiler.layout compiler.program compiler.arrays",
    "host": "host.wire compiler.program compiler.golden compiler.arrays compiler.errors",
    "hw.vendor": "compiler.target compiler.arrays compiler.errors",
    "hw.blocks": "hw.vendor compiler.layout compiler.target compiler.arrays compiler.errors",
    "hw.boards": "hw.vendor compiler.target compiler.errors",
    "hw.engine": "hw.blocks hw.vendor compiler.program compiler.layout compiler.ir"
    " compiler.numerics compiler.arrays compiler.errors",
    "hw.link": "hw.engine hw.blocks hw.vendor host.wire compiler.program compiler.arrays compiler.errors",
    "hw.export": "hw.engine hw.blocks compiler.program compiler.layout compiler.files"
    " compiler.arrays compiler.errors",
    # A build hands out the header of what it holds.
    "hw.bitstream": "hw.export hw.link hw.engine hw.boards hw.blocks hw.vendor host.wire compiler.program"
    " compiler.target compiler.config compiler.files compiler.jobs compiler.arrays compiler.errors",
    "hw": "hw.link hw.engine hw.export host",
    "sim": "hw.bitstream hw.link hw.engine hw.export hw.blocks host compiler.program"
    " compiler.files compiler.golden compiler.arrays compiler.shown compiler.errors",
    "examples": "compiler sim hw.bitstream compiler.*",
    "cli": "compiler sim host hw hw.bitstream hw.boards examples compiler.*",
    "gatewright": "cli compiler sim host hw hw.bitstream hw.boards compiler.*",
}
"""Which rooms each room may import, from the bottom up. Names without a dot are in ``compiler``."""

SLOW = {"torch", "matplotlib", "onnx", "onnxruntime", "h5py", "keras"}
"""Packages that take long to import: loaded inside the function that needs them."""


def module_of(path: str) -> str:
    """Return the dotted name of a source file, without ``gatewright.``."""
    name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    return name.removeprefix("gatewright.")


MODULES = {module_of(path): path for path in SOURCES}


def room_of(module: str) -> str:
    """Return the room of a module: its folder, or itself at the door of ``compiler``."""
    if module in ROOMS:
        return module
    return room_of(module.rpartition(".")[0]) if "." in module else "gatewright"


def imports(path: str) -> Iterator[tuple[str, bool]]:
    """Yield every module that a file imports, lazily or for types too, and whether on loading."""
    package = ["gatewright", *path.removeprefix("gatewright/").split("/")[:-1]]

    def walk(node: ast.AST, loaded: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, loaded) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                module = ".".join([*base, child.module] if child.module else base)
                for alias in child.names:
                    whole = f"{module}.{alias.name}"
                    found = whole.removeprefix("gatewright.") in MODULES
                    yield (whole if found else module), loaded
            else:
                lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                lazy |= isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
                yield from walk(child, loaded and not lazy)

    yield from walk(ast.parse((ROOT / path).read_text()), True)


def own_imports(module: str) -> set[str]:
    """Return the project's modules that a module imports."""
    names = {name.removeprefix("gatewright.") for name, _ in imports(MODULES[module])}
    return (names & set(MODULES)) - {module}


def outside(module: str, *, loaded: bool) -> set[str]:
    """Return the packages of others that a module imports, at all or when it is loaded."""
    found = {name.split(".")[0] for name, now in imports(MODULES[module]) if now or not loaded}
    return found - {"gatewright"}


def allowed(room: str) -> set[str]:
    """Return the rooms that a room may import."""
    named: set[str] = set()
    for name in ROOMS[room].split():
        if name == "compiler.*":
            named |= {other for other in ROOMS if other.startswith("compiler")}
        else:
            named.add(f"compiler.{name}" if f"compiler.{name}" in ROOMS else name)
    return named


def test_the_layer_rules_see_imports():
    assert "amaranth" in outside("hw.engine.core", loaded=True)
    assert "compiler.program.program" in own_imports("hw.engine.core")
    assert "torch" in outside("compiler.frontends.registry", loaded=False)
    assert "torch" not in outside("compiler.frontends.registry", loaded=True)
    assert "torch" in outside("examples.japanese_vowels.train", loaded=True)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_the_rooms_below_it(module):
    room = room_of(module)
    above = {other for other in own_imports(module) if room_of(other) not in {room, *allowed(room)}}
    assert above == set(), f"{room} may import {sorted(allowed(room))}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_the_packages_of_its_room(module):
    room = room_of(module)
    used = outside(module, loaded=False)
    if not room.startswith(("hw", "sim")):
        assert not used & {"amaranth", "amaranth_boards", "cocotb"}
    if room not in ("compiler.training", "compiler.frontends", "examples", "cli"):
        assert "torch" not in used
    if room not in ("examples", "compiler.training"):
        assert not outside(module, loaded=True) & SLOW
    if room == "compiler.training":
        assert not outside(module, loaded=True) & SLOW - {"torch"}


def test_nobody_imports_the_trainer_on_loading():
    trainer = {module for module in MODULES if room_of(module) == "compiler.training"}
    for module in set(MODULES) - trainer:
        if room_of(module) == "examples":
            continue
        at_load = {
            name.removeprefix("gatewright.") for name, now in imports(MODULES[module]) if now
        }
        assert not at_load & trainer, module


def test_rooms_and_modules_have_no_circle():
    for graph in (
        {module: own_imports(module) for module in MODULES},
        {room: allowed(room) - {room} for room in ROOMS},
    ):
        done: set[str] = set()
        while rest := [node for node in graph if node not in done]:
            free = [node for node in rest if graph[node] <= done]
            assert free, f"a circle among {rest}"
            done |= set(free)


def test_the_facade_names_what_it_has():
    """``import gatewright`` is quick; every public name is found, typed and documented."""
    import gatewright as gw

    typed = set(
        re.findall(r"^    from .* as (\w+)$", (ROOT / "gatewright/__init__.py").read_text(), re.M)
    )
    assert typed == set(gw.__all__) - {"__version__"}
    for name in gw.__all__:
        assert getattr(gw, name).__doc__, name
    code = "import sys, gatewright; assert not {'numpy', 'amaranth', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- files ------------------------------------------------------------------------


def test_no_paths_of_a_machine():
    """A path of somebody's machine in a file is of no use to anybody else."""
    pattern = re.compile(rb"(?<![\w.$}])/(?:home|root|Users|work|mnt)/\w+|[A-Z]:\\Users")
    found = [
        f"{name}: {match.group().decode()}"
        for name in project_files()
        if (match := pattern.search((ROOT / name).read_bytes()))
    ]
    assert found == []


def test_same_bytes_twice(tiny, tmp_path):
    """A program's folder and its Verilog do not depend on the run, the folder or hash seeds."""
    code = (
        "import sys; from gatewright.cli.main import main\n"
        "x, model = sys.argv[1:]\n"
        "main(['quantize', model, '--no-check', '--calibration', x, '-o', 'program'])\n"
        "main(['verilog', 'program', '-o', 'verilog'])\n"
        "more = ['--no-check', '--data', x, '--model', model]\n"
        "main(['report', 'program', *more, '--html', 'r.html'])"
    )
    made = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        out.mkdir()
        subprocess.run(
            [sys.executable, "-c", code, str(tiny / "x.npz"), str(tiny / "model.safetensors")],
            cwd=out, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        files = [path for path in out.rglob("*") if path.is_file()]
        made.append({path.relative_to(out).as_posix(): path.read_bytes() for path in files})
    assert sorted(made[0]) == sorted(made[1])
    assert len(made[0]) == 19
    for name, content in made[0].items():
        assert content == made[1][name], name
        assert str(tmp_path).encode() not in content
