"""Every model of the literature has the optimum that theory gives it: values, states, thresholds, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import layerpeel as lp
from layerpeel.problem.optima.deep import deep_blocks

LOG5 = 1.6094379124341003
GOLDEN = [  # THEORY.md, sections 2 to 5 and 7, to the printed digits
    (lp.lpm(10, 3, 9, 1, 5), 0.5597815240, 5e-11),
    (lp.lpm(4, 1, 4, 1, 1), 0.5826576531, 5e-11),
    (lp.lpm(5, 10, 8, 2 * 10 / 5, 2 * 10 / 50), 0.6004630042, 5e-11),  # equation (1) of the paper, C1 = C2 = 10
    (lp.ufm(4, 5, 6, 5e-3, 5e-3), 0.183691995718, 5e-13),
    (lp.ufm(4, 5, 6, 5e-3, 5e-3, 0.1), 0.183691995718, 5e-13),
    (lp.ufm(10, 3, 12, 5e-4, 2e-3), 0.114584733595, 5e-13),
    (lp.ufm(5, 4, 6, 0.1, 0.1001), LOG5, 1e-15),
    (lp.mse_ufm(4, 5, 6, 5e-3, 5e-3), 0.043721359550, 5e-13),
    (lp.mse_ufm(4, 5, 6, 5e-3, 5e-3, bias="free"), 0.032791019662, 6e-13),
    (lp.mse_ufm(4, 5, 6, 5e-3, 5e-3, bias=0.5), 0.0432213595, 6e-11),
    (lp.mse_ufm(4, [20, 10, 5, 1], 6, 0.01, 0.005), 0.0732659125, 5e-11),
    (lp.mse_ufm(4, 5, 6, 0, 0), 0.0, 0.0),
    (lp.sphere(4, 1, 3, 1.0), 2.330630612247, 5e-13),
    (lp.sphere(10, 1, 9, 1.0), 13.769349204502, 5e-13),
    (lp.sphere(10, 1, 9, 1.0, tied=True), 13.769349204502, 5e-13),
    (lp.output_ball(4, 1.0), 0.6654962406, 5e-11),
    (lp.ufm(4, 2, 5, 5e-3, 5e-3, nonneg=True), 0.141961501950, 5e-13),
    (lp.ufm(4, 5, 6, 5e-3, 5e-3, loss=lp.CrossEntropy(label_smoothing=0.1)), 0.462698570965, 5e-13),
    (lp.ufm(4, 5, 6, 5e-3, 5e-3, loss=lp.Focal(2.0)), 0.091202717714, 5e-13),
    (lp.deep_ufm(4, 1, 4, 4, 1e-4), 0.00187964, 5e-9),
]
SMOOTH = [problem for problem, _, _ in GOLDEN if problem.constraint is None]
SUMS = [lp.ufm(4, 5, 6, 5e-3, 5e-3, 0.1, reduction="sum"), lp.deep_ufm(4, 3, 5, 3, 1e-3, reduction="sum")]


def name(problem):
    parts = (problem.regulariser, problem.constraint, problem.loss, problem.bias, problem.n[:4], problem.depth)
    return " ".join(map(str, parts))


@pytest.mark.parametrize(("problem", "value", "tolerance"), GOLDEN, ids=lambda x: name(x) if hasattr(x, "K") else "")
def test_optimal_values_are_those_of_theory_and_their_states_attain_them(problem, value, tolerance):
    found = problem.optimum()
    assert found.value == pytest.approx(value, abs=tolerance)
    assert problem.objective(found.state) == pytest.approx(found.value, rel=1e-13, abs=1e-30)


@pytest.mark.parametrize("problem", SMOOTH + SUMS, ids=name)
def test_the_gradient_vanishes_at_an_optimum_without_constraint(problem):
    assert problem.gradient(problem.optimum().state).squared_norm < 1e-26 * problem.N**2


@pytest.mark.parametrize("problem", [p for p, _, _ in GOLDEN if p.constraint is not None], ids=name)
def test_an_optimum_lies_in_its_set_and_no_velocity_inside_the_set_goes_down(problem):
    state = problem.optimum().state
    downhill = -problem.gradient(state)
    with jax.enable_x64(True):
        state, downhill = jax.tree.map(jnp.asarray, (state, downhill))
        projected = problem.constraint.project(state)
        inward = problem.constraint.confine(state, downhill)
        assert (projected - state).squared_norm < 1e-24 * state.squared_norm
        assert inward.squared_norm < 1e-20 * problem.N**2


def flat(problem, state):
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state)])


def reached(problem, seed):
    """The objective where L-BFGS ends from a random start."""
    start = problem.init(seed, scale=0.5)
    leaves, tree = jax.tree.flatten(start)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def state(x):
        parts = zip(np.split(x, ends), leaves, strict=True)
        return tree.unflatten([part.reshape(leaf.shape) for part, leaf in parts])

    def value_and_gradient(x):
        return problem.objective(state(x)), flat(problem, problem.gradient(state(x)))

    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-10}
    return minimize(value_and_gradient, flat(problem, start), jac=True, method="L-BFGS-B", options=options).fun


BENIGN = [p for p in SMOOTH if p.depth == 2 and p.loss.convex] + SUMS[:1]


@pytest.mark.parametrize("problem", BENIGN, ids=name)
def test_direct_optimisation_reaches_the_optimum_from_five_seeds(problem):
    values = [reached(problem, seed) for seed in range(5)]
    np.testing.assert_allclose(values, problem.optimum().value, rtol=1e-8, atol=1e-12)


BOUNDED = [
    (lp.lpm(4, 3, 5, 1, 1), 30.0),
    (lp.sphere(4, 2, 4, 1.5), 0.2),
    (lp.sphere(5, 1, 4, 1.0, tied=True), 0.2),
    (lp.output_ball(4, 2.0, n=2), 30.0),
]


@pytest.mark.parametrize(("problem", "rate"), BOUNDED, ids=lambda x: name(x) if hasattr(x, "K") else "")
def test_projected_descent_reaches_the_optimum_from_five_seeds(problem, rate):
    import optax

    run = lp.descend(problem, problem.init(range(5), scale=0.5), optax.sgd(rate), 20_000, record=2)
    best = problem.optimum().value
    np.testing.assert_allclose(run.metrics["loss"].isel(record=-1), best, rtol=1e-8)
    assert (run.metrics["loss"].isel(record=-1) >= best * (1 - 1e-12)).all()


def test_dead_classes_are_spurious_minima_behind_a_relu():
    """Of 32 seeds at d = K = 4 some lose one class, some two: their features are 0 and stay there."""
    import optax

    problem = lp.ufm(4, 2, 4, 5e-3, 5e-3, nonneg=True)
    run = lp.descend(problem, problem.init(range(32), scale=0.1), optax.sgd(1.0), 20_000, record=2)
    losses, best = run.metrics["loss"].values[:, -1], problem.optimum().value
    dead = (run.state.H.reshape(32, 4, 4, 2) == 0).all((1, 3)).sum(1)
    for count, value in [(0, best), (1, 0.453045), (2, 0.764128)]:
        assert (dead == count).any()
        np.testing.assert_allclose(losses[dead == count], value, rtol=2e-6)


def test_blocks_beat_the_simplex_of_all_classes_from_a_depth_on():
    """Pairs iff F > 2/log2(2(K-1)/K) as the weight goes to 0: 3.419 for K = 4, 2.358 for K = 10."""
    assert deep_blocks(lp.deep_ufm(4, 1, 4, 4, 1e-4))[4].value == pytest.approx(0.00202622, abs=5e-9)
    for K, depth, pairs_win in [(4, 3, False), (4, 4, True), (10, 3, True), (4, 2, False), (10, 2, False)]:
        problem = lp.deep_ufm(K, 1, K, max(depth, 3), 1e-9) if depth > 2 else lp.ufm(K, 1, K, 1e-9, 1e-9)
        if depth == 2:
            assert problem.optimum().conditions.startswith("iff neural collapse")
            continue
        found = deep_blocks(problem)
        assert (found[2].value < found[K].value) == pairs_win


def test_weights_of_the_factors_divide_the_norm_between_them():
    state = lp.ufm(4, 5, 6, 5e-4, 5e-2).optimum().state
    np.testing.assert_allclose(5e-4 * state.W.T @ state.W, 5e-2 * state.H @ state.H.T, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_wrong_class_has_the_same_probability_at_the_optimum(smoothing):
    problem = lp.ufm(4, 5, 6, 5e-3, 5e-3, loss=lp.CrossEntropy(label_smoothing=smoothing))
    state = problem.optimum().state
    odds = np.exp(state.W @ state.H)
    p = (odds / odds.sum(0))[np.arange(4)[:, None] != problem.labels]
    np.testing.assert_allclose(p, smoothing / 4 + np.sqrt(5) * 5e-3, rtol=1e-12)


def test_a_minority_class_of_the_squared_loss_vanishes_at_its_threshold():
    """n_k <= N^2 lam_W lam_H."""
    N = 36
    for size, gone in [(1, False), (1, True)]:
        lam2 = size / N**2 * (1.01 if gone else 0.99)
        state = lp.mse_ufm(4, [20, 10, 5, size], 6, np.sqrt(lam2), np.sqrt(lam2)).optimum().state
        assert (np.linalg.norm(state.W[3]) < 1e-12) == gone


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: lp.lpm(4, 1, 3, -1, 1), "need E_W > 0 and finite, got E_W=-1"),
        (lambda: lp.lpm(4, 1, 3, 1, 0), "need E_H > 0 and finite, got E_H=0"),
        (lambda: lp.lpm(4, [3, 0, 1, 1], 3, 1, 1), "need n >= 1 and an integer, got n=0"),
        (lambda: lp.sphere(4, 1, 3, float("nan")), "need tau > 0 and finite, got tau=nan"),
        (
            lambda: lp.sphere(4, 2, 3, 1, tied=True),
            "need n = 1 for tied vectors, W = H', got N=8 samples of K=4 classes",
        ),
        (lambda: lp.output_ball(4, 0.0), "need R > 0 and finite, got R=0.0"),
        (lambda: lp.ufm(4, 1, 3, 0, 1), "need lam_W > 0 and finite, got lam_W=0"),
        (lambda: lp.ufm(4, 1, 3, 1, "1"), "need lam_H > 0 and finite, got lam_H='1'"),
        (lambda: lp.ufm(4, 1, 3, 1, 1, -1), "need lam_b > 0 and finite, got lam_b=-1"),
        (lambda: lp.mse_ufm(4, 1, 3, 0, 1), "need both lam_W and lam_H > 0, or both 0, got lam_W=0, lam_H=1"),
        (lambda: lp.mse_ufm(4, 1, 3, 1, 1, bias="on"), "need bias to be None, \"free\" or a weight, got 'on'"),
        (lambda: lp.ufm(4, 1, 3, 1, 1, nonneg="no"), "need nonneg to be True or False, got nonneg='no'"),
        (lambda: lp.sphere(4, 1, 3, 1, tied="no"), "need tied to be True or False, got tied='no'"),
        (lambda: lp.ufm(4, 1, 3, 1, 10**400), "need lam_H > 0 and finite, got lam_H=1000"),
        (lambda: lp.deep_ufm(4, 1, 3, 1, 1), "need depth >= 2 and an integer, got depth=1"),
        (lambda: lp.deep_ufm(4, 1, 3, 3, 0), "need lam > 0 and finite, got lam=0"),
        (lambda: lp.CrossEntropy(label_smoothing=1), "need 0 <= label_smoothing < 1, got label_smoothing=1"),
        (lambda: lp.Focal(-1), "need gamma >= 0 and finite, got gamma=-1"),
        (lambda: lp.ufm(4, 1, 2, 0.01, 0.01).optimum(), "need d >= 3, the rank of the optimal logits"),
        (lambda: lp.ufm(4, 1, 3, 0.01, 0.01, nonneg=True).optimum(), "need d >= 4, the dimension of an orthogonal"),
        (lambda: lp.lpm(4, 1, 2, 1, 1).optimum(), "need d >= 3, the dimensions of a simplex"),
        (lambda: lp.sphere(4, 1, 2, 1).optimum(), "need d >= 3, the dimensions of a simplex"),
        (lambda: lp.ufm(4, 1, 3, 1, 1).optimum(rho2=1.0), "need optimum\\(\\) without a question or rho2"),
    ],
)
def test_impossible_models_are_refused_in_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        make()
