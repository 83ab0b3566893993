"""Settings come from options and recipe files, in their types, and wrong ones are one sentence."""

import pytest

from layerpeel.experiments import EXPERIMENTS, UlpmDynamics, parse_setting, read_recipe
from layerpeel.experiments.number_list import number_list


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("K=8", ("K", 8)),
        ("scale=0.5", ("scale", 0.5)),
        ("n=[3, 2]", ("n", [3, 2])),
        ("optimizer=adam", ("optimizer", "adam")),
        ("steps=1_000", ("steps", 1000)),
        ("data_dir=/a=b", ("data_dir", "/a=b")),
    ],
)
def test_a_setting_is_read_as_toml_or_else_as_a_string(text, setting):
    assert parse_setting(text) == setting


def test_a_recipe_file_is_the_experiment_with_its_settings_and_options_on_top(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('experiment = "ulpm-dynamics"\nK = 8\nseeds = 3\n')
    assert read_recipe(str(recipe), {"seeds": 2}) == UlpmDynamics(K=8, seeds=2)


def test_the_kept_config_of_a_run_is_a_recipe(tmp_path):
    import tomli_w

    mine = UlpmDynamics(K=3, n=(1, 2, 3), learning_rate=0.5)
    recipe = tmp_path / "config.toml"
    recipe.write_text(tomli_w.dumps({"experiment": mine.name, **mine.settings()}))
    assert read_recipe(str(recipe), {}) == mine


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("minority-collapse", {"majorities": 3}, {"majorities": "3"}),
        ("deep-features", {"classes": 4, "depths": 3, "scales": 0.3}, {"classes": "4", "depths": "3", "scales": "0.3"}),
        ("deep-features", {"lam": 1}, {"lam": 1.0}),
    ],
)
def test_one_number_is_a_list_of_numbers_and_a_whole_number_a_float(name, given, kept):
    assert read_recipe(name, given).settings() == read_recipe(name, {}).settings() | kept


@pytest.mark.parametrize("text", ["", "4,", "four", "4;5", "4,4", "4, 4"])
def test_a_list_of_numbers_has_different_numbers_with_commas_between_them(text):
    assert number_list("classes", "4, 10,2", int) == [4, 10, 2]
    with pytest.raises(ValueError, match=r"^need classes to be (different )?numbers"):
        number_list("classes", text, int)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_defaults_and_says_what_its_settings_mean(name):
    experiment = read_recipe(name, {})
    for setting in experiment.settings():
        assert f"{setting}: " in type(experiment).__doc__


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("nope", {}, r"need an experiment \(ulpm-dynamics, images, network, acceleration, .*\) or a recipe file"),
        ("ulpm-dynamics", {"Q": 1}, r"need a setting of ulpm-dynamics \(K, n, d, .*\), got 'Q'"),
        ("ulpm-dynamics", {"K": "two"}, "need K to be of type int like 5, got 'two'"),
        ("ulpm-dynamics", {"optimizer": True}, "need optimizer to be of type str like '.*', got True"),
        ("ulpm-dynamics", {"K": True}, "need K to be of type int like 5, got True"),
        ("ulpm-dynamics", {"steps": 1.5}, "need steps to be of type int like 100000, got 1.5"),
    ],
)
def test_wrong_settings_are_one_sentence(name, settings, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        read_recipe(name, settings)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("K = ", "to be TOML"), ("K = 8", 'need a line experiment = "NAME"'), ("experiment = 5", "need an experiment")],
)
def test_a_damaged_recipe_is_one_sentence(content, sentence, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        read_recipe(str(recipe), {})
    with pytest.raises(FileNotFoundError, match="need a recipe file"):
        read_recipe(str(tmp_path / "nowhere.toml"), {})
