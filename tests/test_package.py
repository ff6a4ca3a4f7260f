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
FOLDERS = ("compiler", "hw", "sim", "cli", "examples")
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
    assert modules == SOURCES
    data = [
        name for name in project_files()
        if name.startswith(("examples/", "sim/"))
        and not name.endswith(".py") and not name.startswith(SCRIPTS)
    ]  # fmt: skip
    assert sorted(data) == sorted(n[len("gatewright/") :] for n in names if not n.endswith(".py"))


def test_wheel_imports_from_anywhere(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    modules = [
        "gatewright." + name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name in SOURCES
        # A cocotb bench is loaded inside a simulator only.
        if not name.startswith("sim/tb_")
    ]
    code = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    file = importlib.import_module(name).__file__\n"
        "    assert file.startswith(sys.argv[1]), file\n"
        "for name in ('hw', 'sim', 'cli', 'compiler', 'examples'):\n"
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


def imports(name: str) -> Iterator[tuple[str, bool]]:
    """Yield every module that a file imports, and whether that happens when it is loaded."""
    package = ["gatewright", *name.split("/")[:-1]]

    def walk(node: ast.AST, loaded: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, loaded) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                module = ".".join([*base, child.module] if child.module else base)
                yield module, loaded
                yield from ((f"{module}.{alias.name}", loaded) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, loaded and not inside)

    yield from walk(ast.parse((ROOT / name).read_text()), True)


def uses(name: str, module: str) -> bool:
    return any(used == module or used.startswith(f"{module}.") for used, _ in imports(name))


HARDWARE_READS = (
    "activation", "atomic", "cells", "data", "devices", "errors", "estimate", "fixed",
    "golden", "hardware", "images", "model", "network", "planes", "program", "schedule", "timing",
)  # fmt: skip
TRAINING = (
    "compiler/finetune.py", "compiler/qat.py", "compiler/qat_float.py", "compiler/qat_node.py",
    "compiler/qat_plan.py", "compiler/qat_walk.py", "compiler/trainable.py",
)  # fmt: skip
"""PyTorch modules: imported by name when something is trained, by nothing else when it is loaded."""
TORCH = ("compiler/load.py", "compiler/from_torch.py", "compiler/torch_check.py", "cli/example.py")


def test_the_layer_rules_see_imports():
    assert uses("hw/core.py", "amaranth")
    assert uses("hw/core.py", "gatewright.compiler.program")
    assert uses("compiler/load.py", "torch")
    assert not uses("compiler/fixed.py", "gatewright.hw")
    assert ("torch", True) not in set(imports("compiler/load.py"))
    assert ("torch", True) in set(imports("examples/japanese_vowels/train.py"))


@pytest.mark.parametrize("name", SOURCES)
def test_layers(name):
    folder = name.split("/")[0]
    forbidden = {
        "compiler": ("amaranth", "cocotb", "gatewright.hw", "gatewright.sim", "gatewright.cli",
                     "gatewright.examples"),
        "hw": ("torch", "cocotb", "gatewright.sim", "gatewright.cli", "gatewright.examples"),
        "sim": ("torch", "gatewright.cli", "gatewright.examples"),
        "cli": ("amaranth", "cocotb"),
        "examples": ("gatewright.cli",),
    }[folder]  # fmt: skip
    assert [module for module in forbidden if uses(name, module)] == []
    if folder == "hw":
        allowed = {f"gatewright.compiler.{module}" for module in HARDWARE_READS}
        read = {m for m, _ in imports(name) if m.startswith("gatewright.compiler.")}
        assert {".".join(m.split(".")[:3]) for m in read} <= allowed
    if folder != "examples":
        at_load = {m.split(".")[0] for m, loaded in imports(name) if loaded}
        slow = {"torch", "matplotlib", "onnx", "onnxruntime", "h5py", "keras"}
        assert at_load & slow == ({"torch"} if name in TRAINING else set())
        assert not uses(name, "torch") or name in (*TORCH, *TRAINING)
        trains = {f"gatewright.{part.removesuffix('.py').replace('/', '.')}" for part in TRAINING}
        assert name in TRAINING or {m for m, loaded in imports(name) if loaded} & trains == set()


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
    assert len(made[0]) == 15
    for name, content in made[0].items():
        assert content == made[1][name], name
        assert str(tmp_path).encode() not in content
