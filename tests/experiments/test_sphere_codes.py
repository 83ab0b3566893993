"""Vectors on spheres: golden least values, a spurious minimum below d = K - 1, and codes that attain their bounds."""

import numpy as np
import pytest

import layerpeel as lp
from layerpeel.dynamics.minimise import minimise
from layerpeel.experiments import SphereCodes, conduct, draw, sphere_codes
from layerpeel.experiments.drawing import _figures

SMALL = {"classes": "4", "starts": 3, "code_starts": 2}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "sphere-codes"
    conduct(SphereCodes(**SMALL), folder, progress=False)
    return lp.read_record(folder)


def case(kept, K, d):
    at = (kept.metrics["K"] == K) & (kept.metrics["d"] == d)
    return kept.metrics.isel(case=int(np.flatnonzero(at)[0]))


def test_the_least_losses_are_those_of_theory(kept):
    assert float(case(kept, 4, 2)["tied"].min()) == pytest.approx(2.50609350, abs=5e-9)  # the square
    for d in (3, 4):
        np.testing.assert_allclose(case(kept, 4, d)["free"], 2.330630612247, atol=5e-13)


def test_no_dimension_goes_below_the_simplex_and_only_d_from_K_less_1_on_reaches_it(kept):
    for name in ("tied", "free"):
        excess = (kept.metrics[name].min("start") / kept.metrics["simplex"] - 1).values
        room = (kept.metrics["d"] >= kept.metrics["K"] - 1).values
        assert (abs(excess[room]) < 1e-12).all()
        assert (excess[~room] > 1e-2).all()


def test_softmax_codes_have_the_margins_of_theory(kept):
    for d, margin in [(2, 1.0), (3, 4 / 3), (4, 4 / 3)]:
        assert float(case(kept, 4, d)["margin"].max()) == pytest.approx(margin, abs=1e-6)
    assert (kept.metrics["margin"].max("code_start") <= kept.metrics["bound"] + 1e-12).all()
    assert (kept.metrics["certificate_gap"] < 1e-12).all()


def test_kept_codes_have_the_margins_that_are_reported(kept):
    code = kept.arrays["K4_d2/code"]
    best = float(case(kept, 4, 2)["margin"].max())
    assert lp.one_vs_rest_margin(code).lower == pytest.approx(best, abs=1e-12)
    assert kept.summary["text"].count("the largest there is") == 3


def test_descent_in_the_ball_reaches_its_closed_form(kept):
    np.testing.assert_allclose(case(kept, 4, 2)["ball"], 0.6654962406, atol=5e-11)
    np.testing.assert_allclose(kept.metrics["ball"], kept.metrics["ball_optimum"], rtol=1e-10)


def test_five_vectors_in_the_plane_tend_to_the_pentagon():
    margin = lp.one_vs_rest_margin(sphere_codes._softmax_code(5, 2, 0)).lower
    assert margin == pytest.approx(0.690983, abs=2e-6)


SIX = lp.sphere(6, 1, 4, 1.0, tied=True)


def test_the_octahedron_is_the_least_of_six_in_space():
    """Vectors that start in three of four coordinates stay there."""
    for seed in range(4):
        found = minimise(SIX, sphere_codes._start(6, 3, seed, room=4))
        assert found.value == pytest.approx(5.74886259, abs=5e-9)
        assert (found.state.W[:, 3] == 0).all()


def test_below_K_less_1_there_are_spurious_minima():
    """Six vectors in R^4 have two local minima; from the upper one, turned a little, descent comes back to it."""
    minima = [minimise(SIX, SIX.init(seed, scale=1.0)) for seed in range(10)]
    values = np.array([minimum.value for minimum in minima])
    assert set(np.round(values, 6)) == {5.616322, 5.623707}
    assert max(minimum.residual for minimum in minima) < 1e-6
    spurious = minima[int(values.argmax())]
    rng = np.random.default_rng(0)
    for _ in range(10):
        step = rng.normal(size=(6, 4))
        near = minimise(SIX, spurious.state + 1e-2 * lp.State(step, step.T))
        assert near.value == pytest.approx(spurious.value, rel=1e-10)


def test_minima_of_other_sets_are_refused():
    ball = lp.output_ball(4, 1.0)
    with pytest.raises(ValueError, match=r"^need no constraint or spheres, got OutputBall"):
        minimise(ball, ball.init(0))
    with pytest.raises(ValueError, match=r"^need one state at a time, without a seed axis, got 2"):
        minimise(SIX, SIX.init(range(2)))


def test_an_interrupt_keeps_the_finished_cases(monkeypatch, tmp_path):
    code, calls = sphere_codes._softmax_code, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return code(*arguments)

    monkeypatch.setattr(sphere_codes, "_softmax_code", interrupted)
    finding = SphereCodes(**SMALL).run(tmp_path / "checkpoint", progress=False)
    assert finding.metrics.sizes["case"] == 1
    assert finding.summary["outcome"]["name"] == "INTERRUPTED"


def test_it_is_drawn_from_the_record_alone(kept, tmp_path):
    assert [path.name for path in draw(kept, tmp_path)] == ["sphere-codes.png"]
    losses, margins = _figures(kept)["sphere-codes"].axes[:2]
    best = kept.metrics["tied"].min("start")
    np.testing.assert_array_equal(losses.get_lines()[0].get_ydata(), 100 * (best / kept.metrics["simplex"] - 1))
    np.testing.assert_array_equal(margins.get_lines()[0].get_ydata(), kept.metrics["margin"].max("code_start"))


@pytest.mark.parametrize("wrong", [{"classes": "2"}, {"classes": "four"}, {"starts": 0}, {"tau": -1.0}], ids=str)
def test_impossible_settings_get_a_sentence(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"^need "):
        SphereCodes(**SMALL | wrong).run(tmp_path / "checkpoint", progress=False)
