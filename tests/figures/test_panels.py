"""The figures show the data they are given: quantiles, gaps, exponents; and the same data give the same figure."""

import math
import re
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import xarray
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from layerpeel.figures import plot_collapse, plot_margin, plot_training, save
from layerpeel.figures.style import BLUE, GREY, RED

EXPONENTS = {
    "mean_norm_variation": -1.0,
    "classifier_norm_variation": -1.0,
    "within_class_variation": -0.5,
    "mean_angle_gap": -1.0,
    "classifier_angle_gap": -1.0,
    "duality_gap": -1.0,
}
DESCENT = np.log([1, 2, 3, 4, 6, 9, 15, 30, 70, 200, 700, 3000, 2e4, 1e5])
FLOW = np.exp(np.linspace(0, 10, 30))


def record(log_time=DESCENT, seeds=8, **attrs):
    """Noisy powers of log t in the record schema."""
    rng = np.random.default_rng(0)
    u = np.maximum(np.asarray(log_time), 0.3)
    fields = {field: rng.lognormal(sigma=0.3, size=(seeds, 1)) * u**power for field, power in EXPONENTS.items()}
    gap = 0.2 * rng.lognormal(sigma=0.3, size=(seeds, 1)) / u
    fields |= {"margin_ratio": 1 - gap, "beta": 1 - gap / 2, "log_loss": 0.3 - u * np.ones((seeds, 1))}
    return xarray.Dataset(
        {field: (("seed", "record"), values) for field, values in fields.items()},
        coords={"seed": np.arange(seeds), "log_time": ("record", log_time)},
        attrs={"title": "powers", "time": "steps"} | attrs,
    )


def medians(ax):
    return [line for line in ax.get_lines() if not line.get_label().startswith("_")]


def bands(ax):
    return [collection for collection in ax.collections if isinstance(collection, PolyCollection)]


@pytest.mark.parametrize("seeds", [2, 8, 9, 20])
def test_curve_and_band_are_the_quantiles_over_the_seeds(seeds):
    metrics = record(seeds=seeds)
    _, axes = plot_collapse(metrics)
    values = metrics["within_class_variation"].values[:, 1:]  # t = 1 has no place
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
    np.testing.assert_allclose(medians(axes[1])[0].get_xydata(), np.stack([DESCENT[1:], median], axis=1))
    corners = {tuple(corner) for corner in bands(axes[1])[0].get_paths()[0].vertices}
    assert {*zip(DESCENT[1:], low, strict=True), *zip(DESCENT[1:], high, strict=True)} <= corners


@pytest.mark.parametrize("metrics", [record(), record(FLOW), record(seeds=1)], ids=["descent", "flow", "one seed"])
@pytest.mark.parametrize(("plot", "curves"), [(plot_collapse, [2, 1, 2, 1]), (plot_margin, [1, 2])])
def test_every_panel_has_its_data(plot, curves, metrics):
    figure, axes = plot(metrics)
    assert [len(medians(ax)) for ax in axes] == curves
    assert all(np.isfinite(line.get_ydata()).any() for ax in axes for line in medians(ax))
    assert all(len(bands(ax)) == len(medians(ax)) * (metrics.sizes["seed"] > 1) for ax in axes)
    assert all(ax.figure is figure and ax.get_xscale() == "loglog" and ax.get_yscale() == "log" for ax in axes)
    assert [ax.get_title(loc="left")[:3] for ax in axes] == ["(a)", "(b)", "(c)", "(d)"][: len(axes)]
    assert all(ax.get_ylabel() for ax in axes)
    assert [ax.get_xlabel() for ax in axes[-2:]] == ["steps $t$  (log log scale)"] * 2


def test_means_are_blue_and_classifiers_red():
    _, axes = plot_collapse(record())
    colours = [[to_hex(line.get_color()) for line in medians(ax)] for ax in axes]
    assert colours == [[BLUE, RED], [BLUE], [BLUE, RED], [GREY]]


def test_up_to_eight_seeds_are_drawn_one_by_one():
    assert len(plot_collapse(record(seeds=8))[1][1].get_lines()) == 1 + 8
    assert len(plot_collapse(record(seeds=9))[1][1].get_lines()) == 1
    assert len(plot_collapse(record(seeds=1))[1][1].get_lines()) == 1


def test_the_gaps_of_margin_and_alignment_are_drawn_and_the_loss_never_underflows():
    metrics = record(FLOW, seeds=1)
    _, (loss, gaps) = plot_margin(metrics)
    np.testing.assert_allclose(medians(loss)[0].get_ydata(), -metrics["log_loss"].values[0])
    assert medians(loss)[0].get_ydata()[-1] > 2e4
    np.testing.assert_allclose(medians(gaps)[0].get_ydata(), 1 - metrics["margin_ratio"].values[0])
    np.testing.assert_allclose(medians(gaps)[1].get_ydata(), 1 - metrics["beta"].values[0])


def test_exponents_stand_in_the_legend_with_their_errors():
    rates = {"mean_norm_variation": (-0.984, 0.0123), "classifier_norm_variation": (-1.0012, 0.0004)}
    _, axes = plot_collapse(record(), rates=rates | {"within_class_variation": (math.nan, math.nan)})
    means, classifiers = (text.get_text() for text in axes[0].get_legend().get_texts())
    assert means == r"class means, $(\log t)^{-0.98\,\pm\,0.01}$"
    assert classifiers == r"classifiers, $(\log t)^{-1.001\,\pm\,0.000}$"
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["features"]


def test_the_heading_says_what_and_how_many():
    assert plot_collapse(record())[0].get_suptitle() == "powers; median and 10–90% band of 8 seeds"
    assert plot_collapse(record(seeds=1, title=""))[0].get_suptitle() == "1 seed"


def test_a_diverged_seed_leaves_the_quantiles_of_the_others():
    metrics = record(seeds=5)
    metrics["duality_gap"][4, 6:] = np.nan
    metrics["duality_gap"][3, 6:] = np.inf
    _, axes = plot_collapse(metrics)
    kept = np.median(metrics["duality_gap"].values[:3, 6:], axis=0)
    np.testing.assert_allclose(medians(axes[3])[0].get_ydata()[5:], kept)


def test_zeros_and_nan_leave_gaps_and_a_curve_without_a_place_says_so(tmp_path):
    metrics = record()
    metrics["mean_angle_gap"][:] = 0.0
    metrics["classifier_angle_gap"][:] = np.nan
    metrics["duality_gap"][:, 5:7] = np.nan
    metrics["within_class_variation"][:, 8] = 0.0
    figure, axes = plot_collapse(metrics, rates={"mean_angle_gap": (math.nan, math.nan)})
    assert save(figure, tmp_path / "figure.png").stat().st_size > 10_000
    legend = [text.get_text() for text in axes[2].get_legend().get_texts()]
    assert legend == ["class means (0 throughout)", "classifiers (undefined)"]
    assert len(axes[2].get_yticks()) == 0  # there is nothing to number
    assert np.flatnonzero(np.isnan(medians(axes[3])[0].get_ydata())).tolist() == [4, 5]
    assert np.flatnonzero(np.isnan(medians(axes[1])[0].get_ydata())).tolist() == [7]


@pytest.mark.parametrize("times", [[], [0], [0, 1, 2], [2, 5, 20], [1e4, 1.001e4, 1.002e4]])
def test_very_short_runs_are_drawn(tmp_path, times):
    with np.errstate(divide="ignore"):
        metrics = record(np.log(np.array(times, dtype=float)), seeds=2)
    figure, axes = plot_margin(metrics)
    assert save(figure, tmp_path / "figure.png").is_file()
    assert len(medians(axes[1])[0].get_xdata()) == sum(time >= 2 for time in times)


@pytest.mark.parametrize("metrics", [record(), record(FLOW)], ids=["descent", "flow"])
@pytest.mark.parametrize("plot", [plot_collapse, plot_margin])
def test_nothing_printed_overlaps(plot, metrics):
    figure, axes = plot(metrics, rates=dict.fromkeys([*EXPONENTS, "margin_gap", "beta_gap"], (-0.98, 0.01)))
    figure.draw_without_rendering()
    page = figure.bbox
    for ax in axes:
        labels = [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
        inside = [label.get_window_extent() for label in labels if label.get_text()]
        inside = [box for box in inside if page.x0 <= box.x0 and box.x1 <= page.x1]
        assert not any(a.overlaps(b) for i, a in enumerate(inside) for b in inside[:i])
        legend = ax.get_legend().get_window_extent()
        assert ax.bbox.x0 < legend.x0 < legend.x1 < ax.bbox.x1


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_same_record_gives_the_same_bytes(tmp_path, ending):
    one, two = (save(plot_margin(record())[0], tmp_path / f"{i}.{ending}").read_bytes() for i in range(2))
    assert one == two
    assert not re.search(rb"20\d\d-\d\d-\d\d|CreationDate", one)


def test_a_loss_that_never_falls_below_1_says_so():
    metrics = record()
    metrics["log_loss"][:] = 0.5
    _, (loss, _) = plot_margin(metrics)
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["loss, where $L<1$ (nowhere positive)"]


@pytest.mark.parametrize("seeds", [1, 8, 20])
@pytest.mark.parametrize("until", [3.0, 20.0, 1000.0])
def test_the_power_in_the_end_lies_above_all_curves_and_its_name_on_none(seeds, until):
    times = np.exp(np.linspace(0, np.log(until), 30))
    flow = record(times, seeds=seeds)
    flow = flow * (1 + 40 / flow["log_time"] ** 2)  # still steeper than in the end
    figure, axes = plot_collapse(flow, beside=flow.isel(record=slice(8)))
    figure.draw_without_rendering()
    for ax, power in zip(axes, [-1, -0.5, -1, -1], strict=True):
        (dashed,) = (line for line in ax.get_lines() if line.get_linestyle() == "--")
        x, y = dashed.get_data()
        np.testing.assert_allclose(np.diff(np.log(y)) / np.diff(np.log(x)), power)
        name = ax.texts[0].get_window_extent()
        for line in ax.get_lines():
            if line is not dashed and line.get_linewidth() < 4:
                assert (np.interp(x, *line.get_data()) < y).all()
            assert not line.get_path().transformed(line.get_transform()).intersects_bbox(name, filled=False)


def test_a_png_has_200_dots_an_inch(tmp_path):
    figure, _ = plot_margin(record())
    header = save(figure, tmp_path / "figure.png").read_bytes()[16:24]
    width, height = (int.from_bytes(header[i : i + 4]) for i in (0, 4))
    assert (width, height) == tuple(round(200 * inches) for inches in figure.get_size_inches())


def test_an_unknown_ending_is_one_sentence_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"^need a path that ends in .png, .pdf or .svg, got .*figure.docx$"):
        save(Figure(), tmp_path / "figure.docx")
    assert not list(tmp_path.iterdir())


def test_axes_of_the_caller_are_drawn_on():
    figure = Figure()
    given = figure.subplots(1, 4)
    same, axes = plot_collapse(record(), axes=given)
    assert same is figure
    assert list(given) == axes
    assert figure.get_suptitle() == ""


def test_a_run_is_as_good_as_its_metrics_and_missing_fields_are_left_out():
    metrics = record().drop_vars(["classifier_angle_gap", "duality_gap"])
    _, axes = plot_collapse(SimpleNamespace(metrics=metrics))
    assert [len(medians(ax)) for ax in axes] == [2, 1, 1, 0]


@pytest.mark.parametrize(
    ("metrics", "axes", "sentence"),
    [
        ([1, 2], None, "need a run or its metrics with the coordinate log_time, got list"),
        (record().drop_vars("log_time"), None, "need a run or its metrics with the coordinate log_time, got Dataset"),
        (record()[["beta"]], None, r"need a field to draw, one of mean_norm_variation, .*, got \['beta'\]"),
        (record(), Figure().subplots(1, 3), "need 4 axes to draw on, got 3"),
    ],
)
def test_a_wrong_call_is_one_sentence(metrics, axes, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        plot_collapse(metrics, axes=axes)


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    save(plot_margin(record())[0], tmp_path / "figure.svg")
    assert dict(matplotlib.rcParams) == before


def test_figures_need_no_window_system_and_no_pyplot():
    body = "import sys, layerpeel.figures; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=True).stdout == "False\n"


def trained(accuracies):
    """A record of a network: its training accuracy at each record, the same for all seeds."""
    metrics = record(seeds=3)
    shape = (3, len(DESCENT))
    known = {
        "train_accuracy": np.broadcast_to(accuracies, shape),
        "test_accuracy": np.full(shape, 0.9),
        "loss": np.full(shape, 0.2),
    }
    return metrics.assign({name: (("seed", "record"), values) for name, values in known.items()})


def dotted(ax):
    return [float(line.get_xdata()[0]) for line in ax.get_lines() if line.get_linestyle() == ":"]


def test_the_terminal_phase_is_marked_where_the_training_error_is_first_zero():
    reached = np.where(np.arange(len(DESCENT)) >= 6, 1.0, 0.8)
    for plot in (plot_collapse, plot_margin, plot_training):
        for ax in plot(trained(reached))[1]:
            assert dotted(ax) == [DESCENT[6]]
    unknown = np.where(np.arange(len(DESCENT)) == 2, np.nan, 0.99)  # a record without the accuracy
    for ax in plot_collapse(trained(unknown))[1]:
        assert dotted(ax) == []


def test_training_draws_loss_and_errors_where_they_are_not_zero():
    accuracy = np.where(np.arange(len(DESCENT)) >= 6, 1.0, 0.8)
    _, (loss, error) = plot_training(trained(accuracy))
    np.testing.assert_allclose(medians(loss)[0].get_ydata(), 0.2)
    train, test = medians(error)
    np.testing.assert_allclose(train.get_ydata()[:5], 0.2)
    assert np.isnan(train.get_ydata()[5:]).all()
    np.testing.assert_allclose(test.get_ydata(), 0.1)


def test_a_long_title_has_a_line_of_its_own():
    title = "a network of a very long name " * 3
    figure, _ = plot_collapse(record(title=title), window=(3.0, 5.0))
    first, second = figure.get_suptitle().split("\n")
    assert first == title
    assert second.startswith("median and 10–90% band of 8 seeds; exponents fitted over")


def test_an_axis_of_less_than_half_a_decade_has_numbers():
    metrics = record()
    narrow = metrics.assign(margin_ratio=metrics["margin_ratio"] * 0.01)
    _, (_, ax) = plot_margin(narrow)
    ax.figure.canvas.draw()
    shown = [label.get_text() for label in ax.get_yticklabels() if label.get_text()]
    assert len(shown) >= 3
