"""A program on every board: what it says equals what a build plans, and refusals are quick."""

import json

import pytest
from gatewright.cli.main import main
from gatewright.compiler.program.chain import load_program
from gatewright.hw.bitstream.plan import Options, prepare
from gatewright.hw.bitstream.profile import profile
from gatewright.hw.boards import BOARDS
from support.boards import gru_program
from support.chains import small


@pytest.fixture(scope="module")
def program():
    return gru_program().with_lanes(24)


def test_figures_are_those_that_a_build_plans(program):
    boards = [BOARDS[name] for name in ("icebreaker", "tang-nano-9k", "ulx3s-12f", "ulx3s-25f")]
    found = profile(program, boards)
    assert [each.board for each in found] == boards
    for each in found:
        laid, options, expected = prepare(program, each.board, Options(lanes=0))
        assert (each.lanes, each.loadable) == (laid.geometry.lanes, options.loadable)
        assert each.estimate == expected
        assert laid.schedule.cycles()[0] == each.estimate.cycles_per_step
        assert each.microseconds == pytest.approx(1e6 * expected.cycles_per_step / each.clock)
        assert (
            each.fullness["multipliers"] == expected.multipliers / each.board.capacity.multipliers
        )
        assert max(each.fullness.values()) <= 1


def test_every_board_says_its_own_name_in_a_refusal(program):
    found = profile(program, lanes=4096)
    assert len(found) == len(BOARDS)
    for each in found:
        assert each.refusal.startswith(f"4096 lanes on {each.board.name}: needs ")
        assert "try" in each.refusal and each.to_json() == {"fits": each.refusal}


def test_one_table_names_the_fastest_and_the_cheapest(program, tmp_path, capsys):
    program.save(tmp_path / "program")
    assert main(["profile", str(tmp_path / "program"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["boards"]
    fitting = [b for b in listed if b["fits"] is True]
    fastest = min(fitting, key=lambda b: b["microseconds_per_step"])
    cheapest = min(fitting, key=lambda b: b["price"])
    assert main(["profile", str(tmp_path / "program")]) == 0
    said = capsys.readouterr().out
    assert f"cheapest: {cheapest['name']}. " in said and "--lanes auto" in said
    assert said.splitlines()[2].split()[0] == next(
        b["name"] for b in sorted(listed, key=lambda b: (b["microseconds_per_step"], b["price"]))
        if b["microseconds_per_step"] == fastest["microseconds_per_step"]
    )  # fmt: skip
    # The program's own lanes, as the older verb has it.
    assert main(["boards", "--program", str(tmp_path / "program"), "--json"]) == 0
    own = json.loads(capsys.readouterr().out)["boards"]
    assert {b["lanes"] for b in own if b["fits"] is True} == {24}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lanes", "0"], "--lanes is auto or a whole number from 1 to 4096, not '0'"),
        (["--lanes", "many"], "--lanes is auto or a whole number from 1 to 4096, not 'many'"),
    ],
)
def test_wrong_lanes_are_refused(program, tmp_path, capsys, words, message):
    program.save(tmp_path / "program")
    assert main(["profile", str(tmp_path / "program"), *words]) == 1
    assert message in capsys.readouterr().err


def test_several_passes_are_refused_by_name(tmp_path, capsys):
    small().save(tmp_path / "chain")
    assert len(load_program(tmp_path / "chain").passes) > 1
    assert main(["profile", str(tmp_path / "chain")]) == 1
    assert "name one of them, such as" in capsys.readouterr().err
