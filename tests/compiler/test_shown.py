"""What objects say of themselves: one line, and a table that trusts no name."""

from html.parser import HTMLParser

import numpy as np
import pytest
from gatewright.compiler.ir.layers import Linear
from gatewright.compiler.ir.model import Model
from gatewright.sim import Simulation
from support.boards import gru_program
from support.chains import small

import gatewright as gw


def test_a_program_says_its_cycles_and_digest():
    program = gru_program()
    said = repr(program)
    s = program.summary
    assert said.startswith("<Program: 3 -> 2, 8-bit weights, 10-bit operands, ")
    assert f"{s['lanes']} lanes, {s['cycles_per_step']} cycles a step" in said
    assert said.endswith(f"{program.digest[:16]}>") and "\n" not in said
    assert "2 passes" in repr(small())


def test_a_simulation_says_its_verdict():
    done = Simulation(
        outputs=np.zeros((1, 1)), bit_exact=False, mismatch="step 3 differs", cycle_exact=True,
        cycles_per_step=(7, 9), cycles_predicted=8, latency_cycles=20, steps=5,
        simulator="amaranth", codes=np.zeros((1, 1, 1), np.int64),
    )  # fmt: skip
    assert repr(done) == (
        "<Simulation: not bit-exact and cycle-exact: step 3 differs, 5 steps in amaranth, 7 to 9 "
        "cycles a step, 8 predicted>"
    )


def test_layers_do_not_print_their_weights():
    layer = Linear("head", ("x",), np.zeros((50, 60)), activation="relu")
    assert repr(layer) == "<Linear: linear 60 -> 50, relu>"
    model = Model(60, (layer, *(Linear(f"l{k}", ("x",), np.zeros((2, 60))) for k in range(9))))
    assert "linear 60 -> 2 and 4 more, 4,148 parameters" in repr(model)


class Checked(HTMLParser):
    tags: list[str]

    def handle_starttag(self, tag, attrs):
        self.tags = [*getattr(self, "tags", []), tag]


@pytest.mark.parametrize("make", [gru_program, small])
def test_the_table_of_a_notebook_holds_every_fact(make):
    shown = make()
    page = shown._repr_html_()
    for name, text in shown.facts().items():
        assert name in page and text.replace(">", "&gt;") in page


def test_names_of_files_are_escaped():
    layers = (Linear("y", ("x",), np.zeros((1, 1))),)
    model = Model(1, layers, not_compared=("<script>alert(1)</script>",))
    parser = Checked()
    parser.feed(model._repr_html_())
    assert "script" not in parser.tags and parser.tags.count("tr") == 4
    assert gw.Model is Model
