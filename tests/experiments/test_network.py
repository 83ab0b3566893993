"""A real network on real images, end to end: trained past zero error, recorded, drawn, resumed, on one rank or two."""

import os
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
import xarray
from networks.ranks import run_ranks
from pressing import pressed
from safetensors.torch import load_file

from layerpeel.collapse import rates
from layerpeel.experiments import Network, conduct, draw, drawing, read_recipe
from layerpeel.networks import images
from layerpeel.networks.models.build import build_model
from layerpeel.networks.training.plan import Plan
from layerpeel.records import read_record

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Network(
    data="digits",
    subset=200,
    model="mlp",
    width=0.125,
    epochs=60,
    batch=20,
    learning_rate=0.03,
    records=8,
    device="cpu",
)


def test_the_settings_of_a_plan_are_settings_of_the_experiment_with_the_same_defaults():
    settings = Network().settings()
    assert {field.name: settings[field.name] for field in fields(Plan)} == Plan().settings()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network") / "run"
    return folder, conduct(SMALL, folder, progress=False)


def test_collapse_begins_once_the_training_error_is_zero(kept):
    folder, done = kept
    assert done.outcome == "COMPLETED"
    metrics = read_record(folder).metrics
    assert metrics.train_accuracy.values[0, -1] == 1
    for field in ("within_class_variation", "nc1", "mean_angle_gap", "duality_gap", "loss"):
        assert float(metrics[field][0, -1]) < float(metrics[field][0, 0]), field
    assert float(metrics.margin[0, -1]) > 0 > float(metrics.margin[0, 0])


def test_the_record_says_what_was_trained_on_what_and_how_it_went(kept):
    folder, done = kept
    record = read_record(folder)
    assert record.config == {"experiment": "network", **SMALL.settings()}
    assert record.metrics.attrs == {
        "title": "perceptron with 5 ReLU layers of 512 units x 1/8 on 200 images of digits, SGD 0.03, batch 20",
        "time": "epoch",
    }
    assert record.metrics.sizes == {"seed": 1, "record": 8}
    assert record.metrics.step.values[[0, -1]].tolist() == [0, 60]
    summary = record.summary
    assert summary["seeds"] == [0]
    assert "not MNIST" in summary["source"]
    assert summary["ranks"] == 1
    assert summary["torch_threads"] == 1
    assert 0 < summary["measuring_share"] < 1
    assert summary["epochs_per_second"] == pytest.approx(60 / summary["wall_seconds"], rel=0.01)
    steps, right = record.metrics.step.values, record.metrics.train_accuracy.values[0] == 1
    assert summary["zero_error_epoch"] == [steps[right][0]]
    assert record.metrics.attrs["title"] in done.text
    assert f"first recorded epoch without a training error: {steps[right][0]}" in done.text


def test_the_kept_weights_are_the_recorded_network(kept):
    folder, done = kept
    model = build_model("mlp", num_classes=10, image_size=8, width=0.125).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    chosen = images("digits").subset(200, balanced=True)
    pixels = chosen.train_images.astype(np.float64)
    x, y = (pixels - pixels.mean()) / pixels.std(), torch.from_numpy(chosen.train_labels)
    with torch.no_grad():
        logits = model(torch.from_numpy(x[:, None]).float())
    loss = float(torch.nn.functional.cross_entropy(logits.double(), y))
    assert loss == pytest.approx(float(done.record.metrics.loss[0, -1]), rel=1e-4)
    np.testing.assert_array_equal(done.record.arrays["classifier"], model[-1].weight.detach().double())
    assert done.record.arrays["means"].shape == done.record.arrays["classifier"].shape
    assert done.record.arrays["bias"].shape == (10,)


def test_its_figures_are_drawn_from_the_record_and_no_checkpoint_is_left(kept, tmp_path):
    folder, _ = kept
    names = {"config.toml", "metrics.nc", "model.safetensors", "state.safetensors", "summary.json"}
    assert {path.name for path in folder.iterdir()} == names
    drawn = [path.name for path in draw(read_record(folder), tmp_path)]
    assert drawn == ["collapse.png", "margin.png", "training.png"]


def test_an_interrupted_run_is_kept_and_resumed_to_the_same_bits(kept, tmp_path):
    whole = kept[1].record
    with pressed("layerpeel.networks.training.train.progress_bar", at=30):
        part = conduct(SMALL, tmp_path / "run", progress=False)
    assert part.outcome == "INTERRUPTED"
    assert 1 < read_record(tmp_path / "run").metrics.sizes["record"] < 8
    resumed = conduct(SMALL, tmp_path / "run", resume=True, progress=False)
    assert resumed.outcome == "COMPLETED"
    assert resumed.record.metrics.identical(whole.metrics)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.record.arrays[name], array)


def test_divergence_is_recorded_with_its_epoch(tmp_path):
    plan = Network(**{**SMALL.settings(), "learning_rate": 1e20, "seeds": 2})
    done = conduct(plan, tmp_path / "run", progress=False)
    assert done.outcome == "NONFINITE"
    record = read_record(tmp_path / "run")
    assert record.summary["outcome"]["sentence"].startswith("seed 0, epoch 1: the training loss is ")
    assert "seed 1, epoch 1: the training loss is " in record.summary["outcome"]["sentence"]
    assert record.metrics.sizes == {"seed": 2, "record": 1}
    assert record.summary["zero_error_epoch"] == [None, None]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "vgg99"}, "need one of the models vgg11, .*, got 'vgg99'"),
        ({"data": "cifar"}, "need one of the image sets .*, got 'cifar'"),
        ({"subset": -1}, "need subset, test_subset and minority >= 0, got -1, 0 and 0"),
        ({"subset": 123}, "need a multiple of K = 10 samples"),
        ({"imbalance": 0.5}, "need a finite imbalance ratio R >= 1"),
        ({"imbalance": 2.0, "minority": 10}, "need 0 < minority < K = 10 classes"),
        ({"seeds": 0}, "need seeds >= 1, got seeds=0"),
        ({"first_seed": -1}, r"need 0 <= first_seed < 2\^31"),
        ({"records": 1}, "need record >= 2"),
        ({"epochs": 0}, "need 1 <= epochs <= 1,000,000,000, got epochs=0"),
        ({"preset": "mine"}, "need a preset out of ji2022"),
        ({"width": 0.0}, "need 0 < width <= 16"),
        ({"model": "mlp", "fixed_etf": True, "width": 0.01}, "need "),
    ],
    ids=str,
)
def test_impossible_settings_are_one_sentence_and_leave_no_folder(settings, sentence, tmp_path):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        conduct(Network(**{**SMALL.settings(), **settings}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_imbalance_and_a_fixed_head_are_options_and_named_in_the_title(tmp_path):
    settings = {"imbalance": 5.0, "minority": 3, "fixed_etf": True, "epochs": 2, "loss": "mse", "records": 2}
    done = conduct(Network(**{**SMALL.settings(), **settings}), tmp_path / "run", progress=False)
    assert done.record.metrics.attrs["title"] == (
        "perceptron with 5 ReLU layers of 512 units x 1/8 with a fixed ETF head on 152 images of digits "
        "(4 to 20 a class), SGD 0.03, batch 20, mse"
    )
    np.testing.assert_allclose(done.record.metrics.classifier_angle_gap, 0, atol=1e-6)
    assert "bias" not in done.record.arrays


@pytest.mark.parametrize("name", ["figure-3", "figure-3-bn", "figure-3-small"])
def test_the_recipes_of_figure_3_are_training_without_weight_decay(name):
    recipe = read_recipe(f"runs/{name}.toml", {})
    assert isinstance(recipe, Network)
    assert (recipe.weight_decay, recipe.loss, recipe.momentum, recipe.data) == (
        0.0,
        "cross-entropy",
        0.9,
        "fashion-mnist",
    )
    assert recipe.epochs >= (300 if recipe.subset else 500)


def _conducted(rank, folders):
    """As under torchrun, but that each rank is told a folder of its own; then once more, where rank 0's run is."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    plan = Network(**{**SMALL.settings(), "epochs": 3, "records": 3, "deterministic": False})
    first = conduct(plan, folders[rank], progress=False)
    torch.distributed.barrier()
    again = conduct(plan, folders[0], resume=True, progress=False)
    return [(done.leads, done.outcome, done.record.metrics, done.record.summary["ranks"]) for done in (first, again)]


def test_two_ranks_conduct_one_run_and_the_first_alone_writes(tmp_path):
    folders = [tmp_path / "leading", tmp_path / "other"]
    leading, other = run_ranks(2, _conducted, folders)
    assert [folder.exists() for folder in folders] == [True, False]
    kept = read_record(folders[0]).metrics
    assert kept.sizes == {"seed": 1, "record": 3}
    for answers, leads in ((leading, True), (other, False)):
        for found_leads, outcome, metrics, ranks in answers:
            assert (found_leads, outcome, ranks) == (leads, "COMPLETED", 2)
            assert metrics.identical(kept)


@pytest.mark.slow
def test_torchrun_with_the_same_command_gives_the_same_numbers(tmp_path):
    options = ["--data", "digits", "--model", "vgg11-bn", "--width", "0.03125", "--subset", "200", "--epochs", "2"]
    options += ["--learning-rate", "0.01", "--records", "3", "--precision", "float64", "--no-figures"]
    command = ["-m", "layerpeel", "run", "network", *options, "--out"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for start, name in (([], "one"), (torchrun, "two")):
        done = subprocess.run(
            [sys.executable, *start, *command, str(tmp_path / name)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("first recorded epoch") == 1
    one, two = (read_record(tmp_path / name) for name in ("one", "two"))
    assert (one.summary["ranks"], two.summary["ranks"]) == (1, 2)
    for name, values in one.metrics.items():
        np.testing.assert_allclose(two.metrics[name], values, rtol=1e-8, atol=1e-10, err_msg=str(name))


def test_the_exponents_of_a_network_are_those_of_its_terminal_phase():
    log_time = np.log(np.arange(1, 31))
    falling = np.exp(-np.maximum(log_time - 2, 0))  # flat, then a power of t, from epoch 8 on
    metrics = xarray.Dataset(
        {
            "nc1": (("seed", "record"), falling[None]),
            "train_accuracy": (("seed", "record"), np.where(log_time >= 2, 1.0, 0.9)[None]),
        },
        coords={"log_time": ("record", log_time)},
    )
    fit = drawing._fit(metrics)
    assert fit["window"] == (pytest.approx(np.log(8)), pytest.approx(np.log(30)))
    assert fit["rates"]["nc1"][0] == pytest.approx(rates(metrics, window=fit["window"])["nc1"].value)
    assert drawing._fit(metrics.assign(train_accuracy=0 * metrics["train_accuracy"])) == {}
