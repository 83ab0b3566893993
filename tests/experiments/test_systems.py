"""The table of systems says what the code does."""

import json

import pytest
from shell import layerpeel

import layerpeel as lp
from layerpeel.certify.claims import statements_of
from layerpeel.experiments import read_recipe
from layerpeel.experiments.systems import systems

SYSTEMS = [pytest.param(system, id=system.call) for system in systems()]


BY_CLAIM = [case for case in SYSTEMS if case.values[0].command.startswith("layerpeel claims --only ")]
BY_RUN = [case for case in SYSTEMS if case.values[0].command.startswith("layerpeel run ")]


class Seen(Exception):
    """A solver was given a problem."""


@pytest.fixture
def solved_by(monkeypatch, tmp_path):
    """Recipe -> the problems that its experiment hands to a solver, none of which is solved."""
    problems = []

    def solver(problem, *args, **kwargs):
        problems.append(problem)
        raise Seen

    def solve_cases(cases, solve, *args, **kwargs):
        for case in cases:
            with pytest.raises(Seen):
                solve(case)
        raise Seen

    def run(recipe):
        experiment = read_recipe(recipe, {})
        monkeypatch.setattr("layerpeel.dynamics.descend", solver)
        monkeypatch.setattr("layerpeel.dynamics.minimise.minimise", solver)
        monkeypatch.setattr(f"{type(experiment).__module__}.solve_cases", solve_cases, raising=False)
        with pytest.raises(Seen):
            experiment.run(tmp_path / "checkpoint", progress=False)
        return problems

    return run


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_can_be_typed_as_it_is_printed(system):
    names = {name: getattr(lp, name) for name in ("CrossEntropy", "Focal", "Hinge", system.name)}
    assert eval(system.call, names) == system.problem


def test_every_system_is_reproduced_by_a_run_or_a_claim():
    assert len(BY_RUN) + len(BY_CLAIM) == len(SYSTEMS)


@pytest.mark.parametrize("system", BY_RUN)
def test_the_run_that_reproduces_a_system_solves_this_very_problem(system, solved_by):
    assert system.problem in solved_by(system.command.split()[-1])


@pytest.mark.parametrize("system", BY_CLAIM)
def test_the_claim_that_reproduces_a_system_is_about_its_constructor(system):
    (statement,) = statements_of(system.command.split()[-1])
    assert system.name in statement.functions


def test_a_flow_is_listed_for_all_but_the_loss_with_kinks_which_it_refuses():
    (hinge,) = [system.problem for system in systems() if "flow" not in system.row()["dynamics"]]
    assert isinstance(hinge.loss, lp.Hinge)
    with pytest.raises(ValueError, match="need a loss with a continuous gradient"):
        lp.flow(hinge, hinge.init(0), time=1.0)


def test_every_constructor_of_a_problem_is_a_row():
    constructors = {"ulpm", "lpm", "sphere", "output_ball", "mse_ufm", "ufm", "deep_ufm"}
    assert {system.name for system in systems()} == constructors
    assert constructors <= set(lp.__all__)


def test_the_command_prints_all_of_them():
    rows = json.loads(layerpeel("models", "--json").stdout)
    assert [row["model"] for row in rows] == [system.call for system in systems()]
    assert "0.559781524" in rows[1]["optimum"]
