"""No state of a convex model lies below the bound of any other, and at a global optimum the bound is the objective."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import layerpeel as lp

SMOOTH = lp.CrossEntropy(label_smoothing=0.1)
MODELS = {
    "ufm": lp.ufm(4, 2, 5, 5e-3, 5e-3),
    "ufm of other weights": lp.ufm(10, 3, 12, 5e-4, 2e-3),
    "ufm beyond its threshold": lp.ufm(4, 2, 5, 0.2, 0.2),
    "ufm at d = K-1": lp.ufm(4, 2, 3, 5e-3, 2e-2, reduction="sum"),
    "ufm with bias": lp.ufm(4, 2, 5, 5e-3, 5e-3, 0.1),
    "ufm with a hardly held bias": lp.ufm(4, 2, 5, 5e-3, 5e-3, 1e-8),
    "ufm with free bias": lp.ufm(4, 2, 5, 5e-3, 2e-3, 0.0),
    "smoothed": lp.ufm(4, 2, 5, 5e-3, 5e-3, loss=SMOOTH),
    "mse": lp.mse_ufm(4, 2, 5, 5e-3, 5e-3),
    "mse of any sizes": lp.mse_ufm(4, [20, 10, 5, 1], 6, 0.01, 0.005),
    "mse with bias": lp.mse_ufm(4, 2, 5, 5e-3, 5e-3, bias=0.5),
    "mse with a lost mean": lp.mse_ufm(4, 2, 5, 5e-3, 5e-3, bias=1e-3),
    "mse with free bias": lp.mse_ufm(4, 2, 5, 5e-3, 5e-3, bias="free"),
    "mse without weights": lp.mse_ufm(4, 2, 5, 0, 0),
    "relu": lp.ufm(4, 2, 5, 5e-3, 5e-3, nonneg=True),
    "relu with bias": lp.ufm(4, 2, 5, 5e-3, 1e-2, 0.1, nonneg=True),
    "lpm": lp.lpm(4, 2, 5, 1, 5),
    "lpm of large balls": lp.lpm(10, 3, 12, 10, 20),
    "sphere": lp.sphere(4, 2, 3, 1.5),
    "tied sphere": lp.sphere(5, 1, 4, 1.0, tied=True),
    "output ball": lp.output_ball(4, 2.0, n=2),
}
CASES = [pytest.param(problem, id=name) for name, problem in MODELS.items()]
HINGE = pytest.param(lp.ufm(4, 2, 5, 5e-3, 2e-3, loss=lp.Hinge()), id="hinge")  # its kinks leave a gap at the optimum
LPM = lp.lpm(4, [6, 3, 2, 1], 5, 1.0, 0.5)
RELU = lp.ufm(4, [6, 3, 2, 1], 5, 5e-3, 5e-3, nonneg=True)


def points(problem, seeds, scales=(0.05, 0.3, 1.0, 4.0)):
    """States anywhere, with biases that are not at rest; the first leaf of the rng is the seed."""
    for seed in seeds:
        state = problem.init(seed, scale=scales[seed % len(scales)])
        if problem.bias:
            state = lp.State(state.W, state.H, np.random.default_rng(seed).normal(size=problem.K))
        yield state


@pytest.mark.parametrize("problem", CASES)
def test_at_the_optimum_of_every_model_the_gap_closes(problem):
    best = problem.optimum()
    found = lp.duality_gap(problem, best.state)
    assert found.optimal
    assert found.gap <= 1e-12 * found.value + found.resolution
    assert found.lower_bound == pytest.approx(best.value, rel=1e-12, abs=1e-30)
    assert str(found).startswith("globally optimal, to a part 1e-10: objective ")


@pytest.mark.parametrize("problem", [*CASES, HINGE])
def test_no_bound_at_any_point_exceeds_the_optimum(problem):
    best = problem.optimum().value
    for state in points(problem, range(20 if problem.bias else 40)):
        found = lp.duality_gap(problem, state)
        assert found.lower_bound <= best + found.resolution
        assert 0 <= found.gap <= found.value


@pytest.mark.parametrize(("problem", "rate", "rest"), [(LPM, 0.3, 1e-6), (RELU, 1.0, 1.0)], ids=["lpm", "relu"])
def test_where_no_optimum_is_known_bounds_stay_below_what_descent_reaches(problem, rate, rest):
    low = lp.descend(problem, problem.init(0, scale=0.5), optax.sgd(rate), 5000, record=2).state
    best = lp.duality_gap(problem, low)
    found = [lp.duality_gap(problem, state) for state in points(problem, range(20))]
    assert max(one.lower_bound for one in found) <= best.value
    assert best.lower_bound <= min(one.value for one in found)
    assert best.gap < rest * best.value


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("name", ["ufm", "ufm with free bias", "mse with bias", "lpm", "output ball", "relu"])
def test_near_the_optimum_the_bound_is_tight_to_first_order(name, size):
    problem = MODELS[name]
    best = problem.optimum()
    for seed in range(5):
        state = best.state + problem.init(seed, scale=1.0) * size
        if problem.constraint is not None:
            with jax.enable_x64(True):
                state = jax.tree.map(np.asarray, problem.constraint.project(jax.tree.map(jnp.asarray, state)))
        found = lp.duality_gap(problem, state)
        assert found.value - best.value - found.resolution <= found.gap <= 300 * size * best.value


def test_sigma_lam_and_the_bound_are_their_definitions():
    problem = lp.ufm(4, 2, 5, 5e-3, 2e-3)
    state = problem.init(1, scale=0.8)
    Z = state.W @ state.H
    p = np.exp(Z) / np.exp(Z).sum(0)
    G = (p - problem.onehot) / problem.N
    L = -np.log(p[problem.onehot > 0]).mean()
    sigma, lam = np.linalg.norm(G, 2), np.sqrt(1e-5)
    found = lp.duality_gap(problem, state)
    np.testing.assert_allclose(found.gradient, G, atol=1e-15)
    assert (found.sigma, found.lam) == pytest.approx((sigma, lam), rel=1e-13)
    assert found.lower_bound == pytest.approx(max(0, min(1, lam / sigma) * (L - np.vdot(G, Z))), rel=1e-12)
    cruder = L - np.vdot(G, Z) - max(0, sigma - lam) * found.value / lam  # with |Z*|_* <= F/lam
    assert found.lower_bound >= cruder


def test_in_balls_it_is_the_frank_wolfe_gap():
    problem = LPM
    state = problem.init(2, scale=0.3)
    found, balls = lp.duality_gap(problem, state), problem.constraint
    size = np.sqrt(balls.W2 * balls.H2)
    sigma = np.linalg.norm(found.gradient / np.sqrt(balls.weights), 2)
    assert found.gap == pytest.approx(np.vdot(found.gradient, state.W @ state.H) + size * sigma, rel=1e-12)
    assert found.gap == pytest.approx((found.sigma - found.lam) * size, rel=1e-12)


@pytest.mark.parametrize("name", ["ufm with bias", "ufm with free bias", "mse with free bias"])
def test_the_bound_does_not_depend_on_the_bias_of_the_state(name):
    """It is that of the best bias; a free one of cross-entropy is best up to shifts."""
    problem = MODELS[name]
    state = problem.init(3, scale=0.2)
    bounds = [
        lp.duality_gap(problem, lp.State(state.W, state.H, b)).lower_bound
        for b in (state.b, np.arange(problem.K) * 2.0, np.full(problem.K, -7.0))
    ]
    assert bounds[0] > 0
    np.testing.assert_allclose(bounds, bounds[0], rtol=1e-9)


@pytest.mark.parametrize("name", ["ufm with bias", "mse of any sizes", "lpm", "sphere"])
def test_it_is_invariant_to_rotations(name):
    problem = MODELS[name]
    state = next(points(problem, [1]))
    Q = lp.frames.random_orthonormal(problem.d, problem.d, seed=0)
    found, turned = (lp.duality_gap(problem, s) for s in (state, lp.State(state.W @ Q, Q.T @ state.H, state.b)))
    assert turned.gap == pytest.approx(found.gap, rel=1e-12)


def test_a_sum_of_losses_with_N_fold_weights_is_N_times_the_mean():
    mean, total = lp.ufm(4, 2, 5, 5e-3, 2e-3, 0.1), lp.ufm(4, 2, 5, 4e-2, 1.6e-2, 0.8, reduction="sum")
    state = next(points(mean, [2]))
    one, other = lp.duality_gap(mean, state), lp.duality_gap(total, state)
    assert other.lower_bound == pytest.approx(8 * one.lower_bound, rel=1e-12)
    assert other.gap == pytest.approx(8 * one.gap, rel=1e-12)


def test_below_K_minus_1_it_is_a_bound_that_need_not_close():
    """Four unit vectors in the plane: the square of 2.506 against the simplex of 2.331."""
    corners = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    found = lp.duality_gap(lp.sphere(4, 1, 2, 1.0), lp.State(corners, corners.T))
    assert found.value == pytest.approx(2.50609350, abs=5e-9)
    assert found.lower_bound <= 2.330630612247
    assert not found.optimal
    assert str(found).startswith("not proved optimal: objective 2.50609")


UFM = MODELS["ufm"]


@pytest.mark.parametrize(
    ("problem", "state", "sentence"),
    [
        (lp.ufm(4, 2, 5, 0.1, 0.1, loss=lp.Focal()), None, "need a loss that is convex in the logits"),
        (lp.deep_ufm(4, 2, 5, 3, 0.1), None, "need two factors, W and H"),
        (lp.ulpm(4, 2, 5), None, "need a problem with a least objective"),
        (lp.lpm(4, 2, 5, 1, 1), lp.State(np.ones((4, 5)), np.ones((5, 8))), "need a state in the set of the problem"),
        (UFM, UFM.init(range(3)), "need one state at a time, without a seed axis, got 3 seeds"),
        (UFM, lp.State(np.ones((4, 6)), np.ones((6, 3))), r"need W of shape \(4, 5\), got \(4, 6\)"),
        (
            lp.Problem(4, 2, 5, regulariser=lp.Ridge(0.1, 0.1), constraint=lp.NormBalls(1.0, 1.0)),
            None,
            "need a ridge or a bounded set, got both",
        ),
    ],
)
def test_what_duality_says_nothing_of_is_refused_in_one_sentence(problem, state, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        lp.duality_gap(problem, problem.init() if state is None else state)


def test_a_vector_of_length_0_is_on_no_sphere_and_has_no_distance_from_it():
    problem = lp.sphere(4, 1, 3, 2.0)
    with pytest.raises(ValueError, match=r"^need a state with a nearest one in the set .* length 0 on a sphere\?\)$"):
        lp.duality_gap(problem, 0.0 * problem.init(0))


@pytest.mark.parametrize(("size", "got"), [(1e60, r".*e\+1.."), (1e150, r".*e\+(29|30)."), (1e200, "inf")])
@pytest.mark.parametrize("bias", [None, 0.0, 0.1])
def test_a_state_whose_powers_float64_does_not_hold_is_refused_without_a_warning(size, got, bias):
    problem = lp.ufm(4, 2, 5, 0.01, 0.01, bias)
    with pytest.raises(
        ValueError, match=rf"^need a state with \|theta\|\^2 <= 1e\+100, whose powers float64 holds, got {got}$"
    ):
        lp.duality_gap(problem, size * problem.init())


@pytest.mark.parametrize("tol", [-1.0, float("inf"), float("nan"), True, "a", None])
def test_an_impossible_tolerance_is_refused(tol):
    with pytest.raises(ValueError, match=r"^need tol >= 0 and finite, got tol="):
        inspect.unwrap(lp.duality_gap)(UFM, UFM.init(), tol=tol)  # the type checker of the tests would speak first


@pytest.mark.parametrize("question", [lp.global_certificate, lp.escape, lp.polish])
def test_a_loss_that_is_not_convex_has_no_certificate_on_a_sphere_either(question):
    problem = lp.ulpm(4, 2, 3, loss=lp.Focal(2.0))
    with pytest.raises(ValueError, match=r"^need a loss that is convex in the logits, .*, got Focal\(gamma=2.0\)"):
        question(problem, problem.init(0, scale=1.0))
    convex = lp.ulpm(4, 2, 3, loss=lp.Focal(0))
    assert lp.global_certificate(convex, convex.init(0, scale=1.0)).gap > 0
