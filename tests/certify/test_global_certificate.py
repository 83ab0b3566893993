"""The certificate bounds the suboptimality of every point of a sphere, and is 0 at the optimum."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import layerpeel as lp
from layerpeel.certify.sphere import onto_sphere

PROBLEM = lp.ulpm(4, 2, 3, reduction="sum")


@settings(deadline=None, max_examples=200, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), log_scale=st.floats(-6, 3), tilt=st.floats(-4, 4))
def test_no_point_is_higher_above_the_optimum_than_its_gap(seed, log_scale, tilt):
    state = PROBLEM.init(seed=seed, scale=np.exp(log_scale))
    state = lp.State(state.W * np.exp(tilt), state.H * np.exp(-tilt))
    found = lp.global_certificate(PROBLEM, state)
    least = PROBLEM.optimum(rho2=found.rho2).value
    assert found.gap >= 1 - least / PROBLEM.objective(state) - found.resolution
    assert found.log_lower_bound <= np.log(least) + found.resolution if least > 0 else True


@settings(deadline=None, max_examples=100, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), log_size=st.floats(-20, 0), rho2=st.floats(0.1, 300))
def test_near_the_optimum_the_bound_is_tight_to_first_order(seed, log_size, rho2):
    best = PROBLEM.optimum(rho2=rho2)
    noise = onto_sphere(PROBLEM.init(seed=seed, scale=1.0), rho2)
    state = onto_sphere(best.state + noise * np.exp(log_size), rho2)
    found = lp.global_certificate(PROBLEM, state)
    excess = 1 - best.value / PROBLEM.objective(state)
    assert excess - found.resolution <= found.gap
    assert found.gap <= 5 * (1 + rho2) * np.exp(log_size) + found.gap_resolution


@pytest.mark.parametrize("rho2", [0.01, 8.0, 100.0, 1e4])
def test_it_closes_at_the_optimum_also_where_the_loss_underflows(rho2):
    found = lp.global_certificate(PROBLEM, PROBLEM.optimum(rho2=rho2).state)
    assert found.gap <= max(1e-13, found.gap_resolution)
    assert found.sigma == pytest.approx(found.lam, rel=1e-12)
    assert found.log_lower_bound == pytest.approx(found.log_value, rel=1e-8)


def test_sigma_lam_and_residual_are_their_definitions():
    state = PROBLEM.init(seed=1, scale=0.8)
    found = lp.global_certificate(PROBLEM, state)
    loss, gradient = PROBLEM.objective(state), PROBLEM.gradient(state)
    G = np.linalg.lstsq(state.W.T, gradient.H)[0]  # W'G = grad_H: G up to the null space of W'
    assert np.linalg.norm(state.W.T @ (found.gradient * loss - G)) < 1e-13
    assert found.sigma == pytest.approx(np.linalg.norm(found.gradient, 2), rel=1e-14)
    np.testing.assert_allclose(found.u @ found.gradient, found.sigma * found.v, atol=1e-14)
    lam = -state.inner(gradient) / state.squared_norm
    assert found.lam == pytest.approx(lam / loss, rel=1e-13)
    rest = gradient + state * lam
    assert found.residual == pytest.approx(np.sqrt(rest.squared_norm * state.squared_norm) / loss, rel=1e-13)
    assert found.gap == pytest.approx((found.sigma - found.lam) * state.squared_norm / 2, rel=1e-14)


def test_it_is_invariant_to_rotations_and_to_the_reduction():
    state = PROBLEM.init(seed=2, scale=0.8)
    Q = lp.frames.random_orthonormal(3, 3, seed=0)
    plain = lp.global_certificate(PROBLEM, state)
    turned = lp.global_certificate(PROBLEM, lp.State(state.W @ Q, Q.T @ state.H))
    mean = lp.global_certificate(lp.ulpm(4, 2, 3), state)
    assert turned.gap == pytest.approx(plain.gap, rel=1e-13)
    assert mean.gap == pytest.approx(plain.gap, rel=1e-13)
    assert mean.log_value == pytest.approx(plain.log_value - np.log(8), rel=1e-13)


def test_class_sizes_may_differ_and_d_may_be_small():
    """The lower bounds of many points of one sphere, of any d, stay below the losses of all of them."""
    wide, narrow = (lp.ulpm(4, (5, 1, 2, 1), d, reduction="sum") for d in (5, 2))
    states = [(p, onto_sphere(p.init(seed=seed, scale=1.0), 12.0)) for p in (wide, narrow) for seed in range(20)]
    highest_bound = max(lp.global_certificate(p, s).log_lower_bound for p, s in states)
    lowest = min(p.log_objective(lp.polish(p, s).state) for p, s in states[::10])
    assert -np.inf < highest_bound <= lowest


@pytest.mark.parametrize(
    ("problem", "state", "sentence"),
    [
        (PROBLEM, lp.State(np.zeros((4, 3)), np.zeros((3, 8))), r"need a state on a sphere 1e-100 <= \|W\|"),
        (PROBLEM, lp.State(np.full((4, 3), 1e160), np.zeros((3, 8))), r"need a state on a sphere .* got inf"),
        (PROBLEM, lp.State(np.zeros((4, 3)), np.zeros((3, 7))), r"need H of shape \(3, 8\), got \(3, 7\)"),
        (PROBLEM, PROBLEM.init(seed=range(3)), "need one state at a time, without a seed axis, got 3 seeds"),
        (lp.ulpm(4, 2, 3, bias=True), PROBLEM.init(), "need a problem without bias, regulariser and constraint"),
        (
            lp.Problem(4, 2, 3, regulariser=lp.Ridge(0.1, 0.1), constraint=lp.NonNegative()),
            PROBLEM.init(),
            "need a (problem without bias, regulariser and constraint|ridge problem without a constraint)",
        ),
        (
            lp.Problem(4, 2, 3, constraint=lp.NormBalls(1.0, 1.0)),
            PROBLEM.init(),
            "need a problem without bias, regulariser and constraint",
        ),
    ],
)
@pytest.mark.parametrize("question", [lp.global_certificate, lp.escape, lp.polish])
def test_what_is_on_no_sphere_or_depends_on_more_than_the_logits_is_refused(question, problem, state, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        question(problem, state)


def test_gradients_of_either_shape_have_their_top_singular_pair():
    tall = lp.ulpm(6, 1, 2)
    for problem in (tall, PROBLEM):
        state = jax.tree.map(np.abs, problem.init(seed=3, scale=2.0))
        found = lp.global_certificate(problem, state)
        u, s, vt = np.linalg.svd(found.gradient)
        assert found.sigma == pytest.approx(s[0], rel=1e-14)
        assert abs(found.u @ u[:, 0]) == pytest.approx(1, rel=1e-13)
        assert abs(found.v @ vt[0]) == pytest.approx(1, rel=1e-13)
