"""Mutation: small faults put into golden model, schedule and gateware, which their tests must notice.

``make mutate N=40`` draws mutants of all files of :data:`MIRRORS` by ``SEED``, runs the tests that
mirror each in a copy of the tree, and prints what survived. A mutant is one changed operator,
number, comparison, choice or assignment.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["EQUIVALENT", "MIRRORS", "Mutant", "mutants"]

ROOT = Path(__file__).parents[2]
PATIENCE = 900  # seconds; a mutant that hangs is noticed
PRELOADED = ("numpy", "amaranth.sim", "amaranth.back.verilog", "safetensors.numpy", "hypothesis")

ENGINE = (
    "tests/hw/engine/test_core.py::test_every_cell",
    "tests/hw/engine/test_core.py",
    "tests/hw/engine/test_port.py",
)
GOLDEN = (
    "tests/compiler/test_golden.py",
    "tests/compiler/ir/test_cells.py",
    "tests/compiler/compiled",
)
SCHEDULE = ("tests/compiler/layout/test_schedule.py", *ENGINE)
MIRRORS: dict[str, tuple[str, ...]] = {
    "compiler/golden.py": GOLDEN,
    "compiler/numerics/fixed.py": ("tests/compiler/numerics", *GOLDEN),
    "compiler/numerics/activation.py": ("tests/compiler/numerics", *GOLDEN),
    "compiler/layout/schedule.py": SCHEDULE,
    "compiler/layout/replay.py": SCHEDULE,
    "compiler/layout/bound.py": ("tests/compiler/layout/test_choice.py",),
    "compiler/layout/choice.py": ("tests/compiler/layout/test_choice.py",),
    "compiler/layout/geometry.py": SCHEDULE,
    "compiler/layout/groups.py": SCHEDULE,
    "compiler/layout/tables.py": SCHEDULE,
    "hw/blocks/arith.py": ("tests/hw/blocks/test_arith.py", "tests/formal/test_arithmetic.py"),
    "hw/blocks/memory.py": ("tests/hw/blocks", *ENGINE),
    "hw/blocks/multiplier.py": ("tests/hw/blocks/test_multiplier.py", *ENGINE),
    "hw/engine/activation.py": ("tests/compiler/numerics/test_activation.py", *ENGINE),
    "hw/engine/beats.py": ENGINE,
    "hw/engine/core.py": ENGINE,
    "hw/engine/elementwise.py": ENGINE,
    "hw/engine/lanes.py": ENGINE,
    "hw/engine/port.py": ENGINE,
    "hw/engine/preactivation.py": ENGINE,
    "hw/engine/queue.py": ("tests/hw/engine/test_queue.py", "tests/formal/test_queue.py"),
    "hw/engine/sequencer.py": ENGINE,
    "hw/engine/update.py": ("tests/formal/test_update.py", *ENGINE),
}
"""The tests that mirror a file, the quickest first."""

EQUIVALENT: dict[str, str] = {
    "compiler/layout/tables.py: source_c: int = 0  # pre-activation is the cell state: 0 -> 1": (
        "only a beat that nothing is done in has the default, and what it computes goes nowhere"
    ),
}
"""Mutants that change no result, by :attr:`Mutant.name`, each with the reason."""

SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.FloorDiv: (ast.Mult,),
    ast.LShift: (ast.RShift,), ast.RShift: (ast.LShift,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitAnd,), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Lt: (ast.LtE,), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE,),
    ast.GtE: (ast.Gt,), ast.And: (ast.Or,), ast.Or: (ast.And,),
}  # fmt: skip
PORTS = ("In", "Out")
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "ceil": "floor"}


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Parameters
    ----------
    path : str
    line : int
    before, after : str
        The expression or statement.
    source : str
        The whole file with the change.
    """

    path: str
    line: int
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        """The file, the text of the line, whose number moves, and the change."""
        text = (ROOT / self.path).read_text().splitlines()[self.line - 1].strip()
        return f"{self.path}: {text}: {self.before} -> {self.after}"


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one that do something: no annotations, messages, text or raising.

    Nor the number of bits of a port: a wider one carries the same number.
    """
    skipped: set[int] = set()
    if isinstance(node, ast.AnnAssign):
        skipped.add(id(node.annotation))
    if isinstance(node, ast.FunctionDef):
        skipped |= {id(part) for part in (*node.decorator_list, node.args, node.returns) if part}
    if isinstance(node, ast.ClassDef):
        skipped |= {id(part) for part in (*node.decorator_list, *node.bases)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PORTS:
        skipped |= {id(part) for part in node.args if isinstance(part, ast.Constant)}
    for child in ast.iter_child_nodes(node):
        idle = isinstance(
            child, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom
        )
        if id(child) not in skipped and not idle:
            yield child


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the faults that one node can have."""

    def changed(**fields: object) -> ast.AST:
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        return new

    if isinstance(node, ast.BinOp):
        yield from (changed(op=op()) for op in SWAPS.get(type(node.op), ()))
    elif isinstance(node, ast.BoolOp):
        yield from (changed(op=op()) for op in SWAPS.get(type(node.op), ()))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from (changed(ops=[op()]) for op in SWAPS.get(type(node.ops[0]), ()))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield changed(value=node.value + 1)
        if node.value > 0:
            yield changed(value=node.value - 1)
    elif isinstance(node, ast.IfExp):
        yield changed(body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "Mux" and len(node.args) == 3:
            yield changed(args=[node.args[0], node.args[2], node.args[1]])
        elif node.func.id in CALLS:
            yield changed(func=ast.Name(CALLS[node.func.id], ast.Load()))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in CALLS:
            yield changed(func=ast.Attribute(node.func.value, CALLS[node.func.attr], ast.Load()))
    elif isinstance(node, ast.List) and len(node.elts) > 1:
        # One assignment of several is forgotten.
        for k, part in enumerate(node.elts):
            if isinstance(part, ast.Call) and ast.unparse(part.func).endswith(".eq"):
                yield changed(elts=node.elts[:k] + node.elts[k + 1 :])


def mutants(path: str) -> list[Mutant]:
    """Return every mutant of a file."""
    text = (ROOT / path).read_text()
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    out = []

    def walk(node: ast.AST) -> None:
        for child in _children(node):
            for new in _changes(child):
                low = starts[child.lineno - 1] + child.col_offset  # type: ignore[attr-defined]
                high = starts[child.end_lineno - 1] + child.end_col_offset  # type: ignore[attr-defined]
                after = ast.unparse(new)
                if not isinstance(new, ast.Constant | ast.Name | ast.Call | ast.List):
                    after = f"({after})"
                source = (text.encode()[:low] + after.encode() + text.encode()[high:]).decode()
                out.append(Mutant(path, child.lineno, ast.unparse(child), after, source))  # type: ignore[attr-defined]
            walk(child)

    walk(ast.parse(text))
    return out


def _copy(folder: Path) -> None:
    """Copy the project's files; ``.types`` is then a package of the copy."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in done.stdout.decode().split("\0")[:-1]:
        source = ROOT / name
        if source.exists() or source.is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name, follow_symlinks=False)


def _test(folder: Path, group: str) -> int:
    """Run tests of the copy in this process, which imports the copy; return pytest's exit code."""
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("gatewright", "support")
    ]:
        del sys.modules[name]
    os.chdir(folder)
    sys.path.insert(0, str(folder / ".types"))
    sys.dont_write_bytecode = True
    out = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-m", "not full"]
    return int(pytest.main([*options, group]))


def _noticed(folder: Path, tests: tuple[str, ...]) -> bool:
    """Run tests, one group after the other, until one fails.

    Each runs in a child of this process, which has imported what takes longest.
    """
    for group in tests:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            code = 99
            try:
                code = _test(folder, group)
            finally:
                os._exit(code)
        end = time.monotonic() + PATIENCE
        while not (done := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not done[0]:
            os.waitpid(child, 0)
            return True
        code = os.waitstatus_to_exitcode(done[1])
        # Interrupted is what pytest calls a test file that cannot be imported.
        if code not in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.INTERRUPTED,
        ):
            raise RuntimeError((folder / "said.log").read_text()[-3000:])
        if code:
            return True
    return False


def main(number: int, seconds: float, seed: int, only: str = "") -> None:
    """Draw and try mutants, files in turn, until there are so many or the time is over."""
    for package in PRELOADED:
        importlib.import_module(package)
    rng, counts, end = random.Random(seed), Counter[str](), time.monotonic() + seconds
    drawn = {path: mutants(path) for path in MIRRORS if only in path}
    for each in drawn.values():
        rng.shuffle(each)
    print(f"{sum(map(len, drawn.values()))} mutants in {len(drawn)} files, seed {seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _copy(folder)

        def tried(mutant: Mutant, tests: tuple[str, ...]) -> bool:
            original = (folder / mutant.path).read_text()
            (folder / mutant.path).write_text(mutant.source)
            noticed = _noticed(folder, tests)
            (folder / mutant.path).write_text(original)
            return noticed

        def say(word: str, mutant: Mutant) -> None:
            counts[word] += 1
            print(f"{word:10} {mutant.line} {mutant.name}", flush=True)

        # All meet their quickest test first; the many that it notices need no other.
        later: list[Mutant] = []
        chosen = itertools.chain.from_iterable(itertools.zip_longest(*drawn.values()))
        for mutant in itertools.islice(filter(None, chosen), number):
            if time.monotonic() > end:
                break
            if mutant.name in EQUIVALENT:
                say("equivalent", mutant)
            elif tried(mutant, MIRRORS[mutant.path][:1]):
                say("killed", mutant)
            else:
                later.append(mutant)
        for mutant in later:
            if time.monotonic() > end:
                say("undecided", mutant)
            else:
                rest = MIRRORS[mutant.path][1:]
                say("killed" if tried(mutant, rest) else "survived", mutant)
    print(dict(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
