"""The recipes that come with the package are recipes; those of named experiments repeat what is their default."""

from pathlib import Path

import pytest

from layerpeel.experiments import EXPERIMENTS, read_recipe

RUNS = sorted((Path(__file__).parents[2] / "runs").glob("*.toml"))


@pytest.mark.parametrize("recipe", RUNS, ids=lambda path: path.stem)
def test_every_recipe_is_read(recipe):
    assert read_recipe(str(recipe), {}).name in EXPERIMENTS


@pytest.mark.parametrize("name", ["minority-collapse", "regularised-features", "squared-loss"])
def test_the_recipe_of_a_reproduction_is_its_default(name):
    (recipe,) = [path for path in RUNS if path.stem == name]
    assert read_recipe(str(recipe), {}) == EXPERIMENTS[name]()


def test_the_small_run_of_papyan_has_their_settings():
    (recipe,) = [path for path in RUNS if path.stem == "papyan-small"]
    run = read_recipe(str(recipe), {})
    theirs = {"momentum": 0.9, "weight_decay": 5e-4, "batch": 128, "epochs": 350, "schedule": "step"}
    assert {name: run.settings()[name] for name in theirs} == theirs
    assert run.settings()["preset"] == "papyan2020"
