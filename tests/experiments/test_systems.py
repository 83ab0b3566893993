"""The table of systems says what the code does."""

import json

import pytest
from shell import layerpeel

import layerpeel as lp
from layerpeel.experiments import EXPERIMENTS, read_recipe
from layerpeel.experiments.systems import systems

SYSTEMS = [pytest.param(system, id=system.call) for system in systems()]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_can_be_typed_as_it_is_printed_and_is_reproduced_by_a_command_that_is_there(system):
    names = {name: getattr(lp, name) for name in ("CrossEntropy", "Focal", "Hinge", system.name)}
    assert eval(system.call, names) == system.problem
    program, verb, *arguments = system.command.split()
    assert (program, verb) == ("layerpeel", "run")
    assert read_recipe(arguments[0], {}).name in EXPERIMENTS


def test_every_constructor_of_a_problem_is_a_row():
    constructors = {"ulpm", "lpm", "sphere", "output_ball", "mse_ufm", "ufm", "deep_ufm"}
    assert {system.name for system in systems()} == constructors
    assert constructors <= set(lp.__all__)


def test_the_command_prints_all_of_them():
    rows = json.loads(layerpeel("models", "--json").stdout)
    assert [row["model"] for row in rows] == [system.call for system in systems()]
    assert "0.559781524" in rows[1]["optimum"]
