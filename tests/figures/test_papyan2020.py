"""The figure of Papyan, Han and Donoho: their metrics over the epochs, drawn for records of their preset."""

import numpy as np
import pytest
import xarray

from layerpeel.experiments import draw
from layerpeel.figures import plot_papyan2020
from layerpeel.records import Record

EPOCHS = np.array([0, 1, 5, 20, 50])
FIELDS = (
    *("within_class_variation", "nc1", "mean_norm_variation", "classifier_norm_variation", "mean_angle_gap"),
    *("classifier_angle_gap", "nc3", "nc4_mismatch", "duality_gap", "loss", "test_loss"),
)


def record():
    fall = np.array([[1.0, 0.5, 0.2, 0.1, 0.05]] * 3) * np.array([[0.9], [1.0], [1.2]])
    fields = dict.fromkeys(FIELDS, fall) | {
        "train_accuracy": np.array([[0.1, 0.9, 1.0, 1.0, 1.0], [0.1, 0.8, 0.9, 1.0, 1.0], [0.1, 0.8, 0.9, 1.0, 1.0]]),
        "test_accuracy": np.array([[0.1, 0.7, 0.8, 0.85, 0.86]] * 3),
    }
    log_time = np.log(np.maximum(EPOCHS, 1e-9))
    return xarray.Dataset(
        {name: (("seed", "record"), values) for name, values in fields.items()},
        coords={"seed": range(3), "step": ("record", EPOCHS), "log_time": ("record", log_time)},
        attrs={"title": "a network", "time": "epoch"},
    )


def test_curves_are_medians_of_the_metrics_over_the_epochs():
    _, axes = plot_papyan2020(record())
    fields = ("nc1", "mean_norm_variation", "mean_angle_gap", "nc3", "nc4_mismatch")
    for field, ax in zip(fields, axes, strict=False):
        x, y = ax.get_lines()[0].get_data()
        np.testing.assert_array_equal(x, EPOCHS)
        np.testing.assert_allclose(y, record()[field].median("seed"))
    np.testing.assert_allclose(axes[5].get_lines()[0].get_ydata(), [0.9, 0.2, 0.1, 0, 0], atol=1e-12)


def test_the_terminal_phase_begins_where_the_median_seed_errs_nowhere():
    _, axes = plot_papyan2020(record())
    for ax in axes:
        assert [line.get_xdata()[0] for line in ax.get_lines() if line.get_linestyle() == ":"] == [20]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("preset", "drawn"), [("papyan2020", True), ("ji2022", False)])
def test_it_is_drawn_for_a_record_of_the_preset(preset, drawn, tmp_path):
    kept = Record({"experiment": "network", "preset": preset}, {}, record(), {})
    assert ("papyan2020.png" in [path.name for path in draw(kept, tmp_path)]) == drawn


@pytest.mark.parametrize(
    ("metrics", "axes", "sentence"),
    [
        ([1], None, "need the metrics of a network, with its epochs as step, got list"),
        (record(), [None], "need 6 axes"),
    ],
)
def test_a_wrong_call_is_one_sentence(metrics, axes, sentence):
    with pytest.raises(ValueError, match=sentence):
        plot_papyan2020(metrics, axes=axes)
