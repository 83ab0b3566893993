"""Mixon et al. at a small size: the limit, and the errors as powers of the size of the start."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.experiments import SquaredLoss, conduct, draw
from layerpeel.experiments.drawing import _figures

SMALL = {"K": 3, "n": 4, "d": 5, "sizes": 3, "steps": 600, "seeds": 2, "records": 6}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "squared"
    conduct(SquaredLoss(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def exponents(metrics, field):
    return np.polyfit(np.log(metrics.eps.values), np.log(metrics[field].isel(record=-1).values), 1)[0]


@pytest.mark.parametrize(
    ("field", "power"), [("gram_error", 2), ("feature_error", 1), ("within_error", 1), ("bias_error", 1)]
)
def test_errors_are_their_power_of_the_size_of_the_start(kept, field, power):
    assert exponents(kept.metrics, field) == pytest.approx([power] * 2, abs=0.05)
    assert kept.summary["exponents"][field][0] == pytest.approx(power, abs=0.05)


def test_the_root_in_the_limit_is_of_the_samples_of_a_class(kept):
    """WW' = sqrt(n) P; with all samples in place of n the error stays |sqrt(Kn) - sqrt(n)| |P|."""
    last = kept.metrics.isel(record=-1, eps=-1)
    assert float(last.gram_error.max()) < 1e-7
    np.testing.assert_allclose(last.gram_error_all, (12**0.5 - 4**0.5) * 2**0.5, rtol=1e-6)


def test_the_flow_has_the_same_limit(kept):
    """So that it is no matter of the step: the error in WW' is that of descent to a few percent."""
    problem = lp.mse_ufm(3, 4, 5, 0, 0, bias="free")
    unit = problem.init(0, scale=1.0)
    state = lp.flow(problem, lp.State(1e-3 * unit.W, 1e-3 * unit.H, unit.b), time=600.0, record=2).state
    error = np.linalg.norm(state.W @ state.W.T - 2 * (np.eye(3) - 1 / 3))
    there = kept.metrics.gram_error.isel(record=-1, seed=0)
    at_thousandth = np.exp(np.interp(np.log(1e-3), np.log(there.eps[::-1]), np.log(there[::-1])))
    assert error == pytest.approx(at_thousandth, rel=0.3)


def test_the_table_has_the_exponents_beside_theory(kept):
    assert "power of eps" in kept.summary["text"]
    assert "WW' - √n P" in kept.summary["text"]


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["squared-loss.png"]
    powers, approach = _figures(kept)["squared-loss"].axes
    named = {line.get_label(): line for line in powers.get_lines() if not line.get_label().startswith("_")}
    curve = named[r"$\Vert WW^\top-\sqrt{n}\,P\Vert$"]
    last = kept.metrics["gram_error"].isel(record=-1).median("seed")
    np.testing.assert_array_equal(curve.get_xydata().T, [kept.metrics["eps"], last])
    for i, line in enumerate(approach.get_lines()):
        np.testing.assert_array_equal(line.get_ydata(), kept.metrics["gram_error"].isel(eps=i).median("seed"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"d": 1}, "need d >= K-1 = 2, the dimensions of a simplex, got d=1"),
        ({"sizes": 1}, "need sizes >= 2 and 0 < smallest < largest < 1"),
        ({"smallest": 0.0}, "need sizes >= 2 and 0 < smallest"),
        ({"first_seed": -1}, "need 0 <= first_seed"),
    ],
)
def test_impossible_settings_get_a_sentence(wrong, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        SquaredLoss(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
