"""The instruments themselves: fuzzing sees a difference and says how to replay it; mutants are faults."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gatewright.compiler import golden
from support import fuzz, mutate


def test_a_case_is_read_back_from_its_replay_command() -> None:
    case = fuzz.Case(7, ("lstm", "mgu"), stall=0.4, plan=("fresh", "load", "read"))
    command = str(case)
    assert command.startswith("make fuzz CASE='")
    assert fuzz.Case.read(command.removeprefix("make fuzz CASE='").removesuffix("'")) == case
    json.loads(command[len("make fuzz CASE='") : -1])


def test_a_difference_between_models_is_seen_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    case = fuzz.Case(
        3, ("gru",), largest=3, lanes=4, plan=("fresh", "read", "load", "continue", "read")
    )
    assert fuzz.prepare(case) is not None
    reference = golden.reference

    def wrong(*arguments: Any, **options: Any) -> golden.Result:
        done = reference(*arguments, **options)
        done.outputs[-1, -1, 0] += 1
        return done

    monkeypatch.setattr(golden, "reference", wrong)
    with pytest.raises(fuzz.Different, match="make fuzz CASE="):
        fuzz.prepare(case)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_smallest_case_that_differs_is_named(
    monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    def check(batch: Sequence[fuzz.Case], folder: Path, counts: Counter[str]) -> None:
        for case in batch:
            counts["configurations"] += 1
            if "lstm" in case.cells and case.lanes > 5:
                raise fuzz.Different("planted", case)

    monkeypatch.setattr(fuzz, "check", check)
    with pytest.raises(fuzz.Different) as found:
        fuzz.fuzz(1000, 60, start=3, jobs=jobs)
    case = found.value.case
    # hypothesis does not always take the other cells out of the list.
    assert "lstm" in case.cells
    assert (case.lanes, case.layers, case.largest, case.stall, case.junk) == (6, 1, 1, 0.0, 0)


def test_no_two_cases_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[fuzz.Case] = []
    monkeypatch.setattr(fuzz, "check", lambda batch, folder, counts: (
        seen.extend(batch), counts.update(configurations=len(batch))))  # fmt: skip
    assert fuzz.fuzz(100, 60, start=3)["configurations"] == 100
    assert len(seen) == len(set(seen)) == 100


def digests(batch: Sequence[fuzz.Case], folder: Path, counts: Counter[str]) -> None:
    counts.update(str(case) for case in batch)
    counts["configurations"] += len(batch)


def test_batches_side_by_side_are_the_same_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "check", digests)
    alone = fuzz.fuzz(100, 60, start=3)
    assert fuzz.fuzz(100, 60, start=3, jobs=3) == alone and len(alone) == 101


@pytest.mark.full
def test_random_configurations_agree_everywhere() -> None:
    assert fuzz.fuzz(48, 3000, start=100)["configurations"] == 48


@pytest.mark.full
@pytest.mark.parametrize("family", fuzz.FAMILIES)
def test_a_random_netlist_agrees(family: str, tmp_path: Path) -> None:
    case = fuzz.Case(11, ("gru",), largest=3, lanes=4, stall=0.3, netlist=family)
    fuzz.check([case], tmp_path, counts := Counter())
    assert counts["netlists"] == 1


@pytest.mark.parametrize("path", mutate.MIRRORS)
def test_every_mutant_is_a_program_that_differs(path: str) -> None:
    text = (mutate.ROOT / path).read_text()
    whole = ast.dump(ast.parse(text))
    found = mutate.mutants(path)
    assert found
    for mutant in found[:: max(1, len(found) // 20)]:
        assert ast.dump(ast.parse(mutant.source)) != whole, mutant.name


def test_mirrors_name_tests_that_exist() -> None:
    for tests in mutate.MIRRORS.values():
        for name in tests:
            assert (mutate.ROOT / name.partition("::")[0]).exists(), name


def test_what_is_equivalent_is_still_there() -> None:
    names = {mutant.name for path in mutate.MIRRORS for mutant in mutate.mutants(path)}
    assert set(mutate.EQUIVALENT) <= names
