"""The figure of acceleration shows every optimiser's quantiles, by steps and by the clock of the loss."""

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from layerpeel.figures import plot_acceleration, save

STEPS = np.array([0, 1, 10, 100, 1000, 10_000])
NAMES = ["plain", "momentum:1"]
TIMES = np.maximum(STEPS, 0.5)
SPREAD = np.array([0.8, 1.0, 1.3])


def record(names=NAMES):
    """Exact powers of the steps, three seeds; -log L is the clock, and all gaps are powers of it."""
    clock = np.stack([TIMES if name == "plain" else TIMES**2 for name in names])[:, None, :] * np.ones((1, 3, 1))
    gap = 0.5 * SPREAD[None, :, None] / clock
    fields = {
        "margin_ratio": 1 - gap,
        "within_class_variation": np.sqrt(gap),
        "duality_gap": gap,
        "log_loss": -clock,
    }
    return xarray.Dataset(
        {name: (("optimizer", "seed", "record"), values) for name, values in fields.items()},
        coords={"optimizer": names, "seed": range(3), "step": ("record", STEPS)},
        attrs={"title": "powers"},
    )


def curves(ax):
    return [line for line in ax.get_lines() if not line.get_label().startswith("_")]


def guides(ax):
    return [line for line in ax.get_lines() if line.get_label().startswith("_")]


def slope(line):
    (x0, x1), (y0, y1) = (np.log(values) for values in line.get_data())
    return (y1 - y0) / (x1 - x0)


def test_curves_are_medians_over_the_seeds_from_the_first_step_on():
    metrics = record()
    _, axes = plot_acceleration(metrics)
    for field, ax in zip(("within_class_variation", "duality_gap"), axes[1:3], strict=True):
        for name, line in zip(NAMES, curves(ax), strict=True):
            x, y = line.get_data()
            assert np.isnan(x[0])  # step 0 has no place on the axis
            np.testing.assert_array_equal(x[1:], STEPS[1:])
            np.testing.assert_allclose(y, np.median(metrics[field].sel(optimizer=name), axis=0))


def test_by_the_clock_of_the_loss_runs_that_differ_in_speed_alone_are_one_curve():
    _, axes = plot_acceleration(record())
    for line in curves(axes[3]):
        x, y = line.get_data()
        np.testing.assert_allclose(x * y, 0.5, rtol=1e-6)  # 1 - margin_ratio has cancelled to 1e-16


def test_guides_have_the_exponents_to_expect():
    _, axes = plot_acceleration(record())
    found = [[round(slope(line), 9) for line in guides(ax)] for ax in axes]
    assert found == [[-1, -2], [-0.5, -1], [-1, -2], [-1]]
    printed = [[text.get_text() for text in ax.texts] for ax in axes]
    assert printed == [["−1", "−2"], ["−0.5", "−1"], ["−1", "−2"], ["−1"]]


def test_guides_lie_beside_their_curves_and_labels_beside_all(tmp_path):
    metrics = record()
    early = np.where(STEPS < 1000, 30.0, 1.0)  # steeper than in the end, as far as a guide reaches
    figure, axes = plot_acceleration(metrics.assign(duality_gap=metrics["duality_gap"] * early))
    figure.draw_without_rendering()
    plain, momentum = curves(axes[2])
    above, below = guides(axes[2])
    for curve, guide, side in ((plain, above, 1), (momentum, below, -1)):
        (x0, x1), (y0, y1) = guide.get_data()
        x, y = (values[curve.get_xdata() >= x0] for values in curve.get_data())
        line = y1 * (x / x1) ** (np.log(y1 / y0) / np.log(x1 / x0))
        assert (side * np.log(line / y) > 0.9).all()
    for ax in axes:
        for text in ax.texts:
            assert text.get_window_extent().x1 < ax.bbox.x1
            for line in ax.get_lines():
                path = line.get_path().transformed(line.get_transform())
                assert not path.intersects_bbox(text.get_window_extent(), filled=False)


def test_what_has_no_place_is_said_in_its_panel():
    metrics = record()
    metrics["margin_ratio"][:] = np.nan
    metrics["duality_gap"][:] = 0.0
    _, axes = plot_acceleration(metrics)
    assert [[text.get_text() for text in ax.texts] for ax in axes] == [
        ["undefined"],
        ["−0.5", "−1"],
        ["0 throughout"],
        ["undefined"],
    ]


def test_optimisers_have_their_names_in_words():
    names = ["plain", "heavy-ball:0.9", "adam:0.01", "nesterov:3", "momentum:4"]
    figure, _ = plot_acceleration(record(names))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "plain",
        "heavy ball, weight 0.9",
        "Adam, rate 0.01",
        "Nesterov, t/(t+3)",
        "momentum, friction 4",
    ]
    assert figure.get_suptitle() == "powers; median and 10–90% band of 3 seeds"


def test_a_diverged_optimiser_and_negative_gaps_are_drawn_as_gaps(tmp_path):
    metrics = record()
    metrics["duality_gap"][1, :, 3:] = np.nan
    metrics["margin_ratio"][0, :, 4] = 1.5
    figure, axes = plot_acceleration(metrics)
    assert np.isnan(curves(axes[2])[1].get_ydata()[3:]).all()
    assert np.isnan(curves(axes[0])[0].get_ydata()[4])
    assert save(figure, tmp_path / "figure.png").stat().st_size > 10_000


def test_axes_of_the_caller_are_drawn_on():
    figure = Figure()
    given = figure.subplots(1, 4)
    same, axes = plot_acceleration(record(), axes=given)
    assert same is figure
    assert list(given) == axes
    assert figure.legends == []


@pytest.mark.parametrize(
    ("metrics", "axes", "sentence"),
    [
        ([1], None, "need metrics with the coordinates optimizer and step, got list"),
        (record().drop_vars("step"), None, "need metrics with the coordinates optimizer and step, got Dataset"),
        (record([f"momentum:{i}" for i in range(8)]), None, "need at most 7 optimizers in one figure, got 8"),
        (record(), Figure().subplots(1, 3), "need 4 axes to draw on, got 3"),
    ],
)
def test_a_wrong_call_is_one_sentence(metrics, axes, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        plot_acceleration(metrics, axes=axes)
