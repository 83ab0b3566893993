"""The study of acceleration: one record of all optimisers, drawn from the record alone."""

import dataclasses

import numpy as np
import pytest

import layerpeel as lp
from layerpeel import dynamics
from layerpeel.experiments import Acceleration, conduct, draw
from layerpeel.experiments.drawing import _figures
from layerpeel.outcome import Outcome

SMALL = {"K": 3, "n": 2, "d": 4, "steps": 300, "seeds": 2, "records": 10, "optimizers": "plain,momentum:4,adam:0.01"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "acceleration"
    conduct(Acceleration(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def curves(ax):
    return [line for line in ax.get_lines() if not line.get_label().startswith("_")]


def test_every_optimiser_has_its_records(kept):
    assert kept.metrics["optimizer"].values.tolist() == ["plain", "momentum:4", "adam:0.01"]
    assert np.isfinite(kept.metrics.margin_ratio).all()
    assert float(kept.metrics.step.max()) == 300


def test_plain_is_normalised_descent_with_the_same_constant(kept):
    problem = lp.ulpm(3, 2, 4)
    run = lp.descend(problem, problem.init(range(2), scale=0.1), lp.normalized(0.1 * 4 * 2), 300, record=2)
    there = kept.metrics.margin_ratio.sel(optimizer="plain")[:, -1]
    np.testing.assert_allclose(run.metrics.margin_ratio[:, -1], there, rtol=1e-9)


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["acceleration.png"]
    for ax, field in zip(
        _figures(kept)["acceleration"].axes[1:3], ("within_class_variation", "duality_gap"), strict=True
    ):
        for name, line in zip(kept.metrics["optimizer"].values, curves(ax), strict=True):
            median = kept.metrics[field].sel(optimizer=name).median("seed")
            np.testing.assert_allclose(line.get_ydata(), median, rtol=1e-14)


@pytest.mark.parametrize("n", [10, (20, 10, 5, 2, 1)], ids=str)
def test_the_gap_is_what_does_not_grow_over_what_does(n, tmp_path):
    """1 - margin_ratio = (still + uneven)/rho^2, for unequal classes too; still alone for equal ones."""
    study = Acceleration(n=n, steps=20_000, seeds=2, records=12, optimizers="plain,momentum:1,momentum:4")
    last = study.run(tmp_path / "checkpoint", progress=False).metrics.isel(record=-1)
    gap = 1 - last["margin_ratio"]
    np.testing.assert_allclose((last["still"] + last["uneven"]) / last["squared_norm"], gap, rtol=2e-3)
    share = last["still"] / last["squared_norm"] / gap
    assert (abs(share - 1) < 1e-3).all() if n == 10 else (share < 0.3).all()


def test_the_weighted_margin_is_its_definition(tmp_path):
    study = Acceleration(**SMALL | {"steps": 30, "optimizers": "momentum:4", "seeds": 1, "scale": 0.5})
    finding = study.run(tmp_path / "checkpoint", progress=False)
    Z = finding.arrays["momentum:4/W"][0] @ finding.arrays["momentum:4/H"][0]
    p = np.exp(Z) / np.exp(Z).sum(0)
    pairs = [(p[j, i], Z[i // 2, i] - Z[j, i]) for i in range(6) for j in range(3) if j != i // 2]
    weights, margins = np.array(pairs).T
    x = weights @ (margins - margins.min()) / weights.sum()
    last = finding.metrics["uneven"].isel(optimizer=0, seed=0, record=-1)
    assert float(last) == pytest.approx(2 * 2 * 2**0.5 * x, rel=1e-10)


def test_the_table_says_window_exponents_and_who_arrived(kept):
    text = kept.summary["text"]
    assert "exponents p of steps^p" in text
    assert "over 30 <= steps <= 300" in text
    for row in ("1-γ/γ*", "within-class", "self-duality", "(still+uneven)/ρ² : gap", "seeds arrived"):
        assert row in text


def test_an_interrupt_keeps_the_finished_optimisers(monkeypatch, tmp_path):
    descend, calls = dynamics.descend, []

    def interrupted(*arguments, **options):
        run = descend(*arguments, **options)
        calls.append(run)
        return dataclasses.replace(run, outcome=Outcome.INTERRUPTED) if len(calls) == 2 else run

    monkeypatch.setattr(dynamics, "descend", interrupted)
    finding = Acceleration(**SMALL).run(tmp_path / "checkpoint", progress=False)
    assert finding.metrics["optimizer"].values.tolist() == ["plain"]
    assert finding.summary["outcome"]["name"] == "INTERRUPTED"


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"seeds": 0}, {"optimizers": "magic"}, {"steps": 1}], ids=str)
def test_impossible_settings_get_a_sentence(wrong, tmp_path):
    with pytest.raises(ValueError, match="need"):
        Acceleration(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
