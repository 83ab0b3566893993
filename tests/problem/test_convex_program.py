"""Optima of any class sizes: closed forms and a second method agree, duality proves them, descent reaches them."""

import numpy as np
import pytest
from scipy.optimize import minimize

import layerpeel as lp
from layerpeel.problem.optima.convex_program import computed_optimum

pytest.importorskip("cvxpy")

UNEQUAL = (6, 3, 2, 1)
SMOOTHED = lp.CrossEntropy(label_smoothing=0.1)


def balls(W2, H2, weights=None, **kwargs):
    return lp.Problem(4, UNEQUAL, 4, constraint=lp.NormBalls(W2, H2, weights), **kwargs)


PROGRAMS = {
    "lpm": lp.lpm(4, UNEQUAL, 4, 1, 5),
    "lpm, its smallest classes collapsed": lp.lpm(4, UNEQUAL, 4, 1, 1),
    "lpm, a loss of 1e-9": lp.lpm(4, UNEQUAL, 4, 5, 50),
    "lpm, sum": lp.lpm(4, UNEQUAL, 4, 1, 5, reduction="sum"),
    "balls without weights": balls(4.0, 12.0),
    "balls, free bias": balls(4.0, 12.0, bias=True),
    "balls, smoothed": lp.lpm(4, UNEQUAL, 4, 1, 5, loss=SMOOTHED),
    "balls, squared error": lp.lpm(4, UNEQUAL, 4, 0.1, 0.1, loss=lp.SquaredError()),
    "ufm": lp.ufm(4, UNEQUAL, 4, 5e-3, 2e-2),
    "ufm, free bias": lp.ufm(4, UNEQUAL, 4, 5e-3, 2e-2, 0),
    "ufm, weighted bias, sum": lp.ufm(4, UNEQUAL, 4, 5e-2, 2e-1, 0.1, reduction="sum"),
    "ufm, smoothed, free bias": lp.ufm(4, UNEQUAL, 4, 5e-3, 5e-3, 0, loss=SMOOTHED),
    "ufm, nothing but a bias": lp.ufm(4, UNEQUAL, 1, 1.0, 1.0, 0),
    "squared error, free bias": lp.mse_ufm(4, UNEQUAL, 4, 1e-2, 5e-3, bias="free"),
    "squared error, weighted bias": lp.mse_ufm(4, UNEQUAL, 4, 1e-2, 5e-3, bias=0.5),
}
HINGES = {
    "balls": lp.lpm(4, UNEQUAL, 4, 0.3, 0.3, loss=lp.Hinge()),
    "ufm": lp.ufm(4, UNEQUAL, 4, 0.05, 0.05, loss=lp.Hinge()),
    "ufm, free bias": lp.ufm(4, UNEQUAL, 4, 0.05, 0.05, 0, loss=lp.Hinge()),
    "12 classes": lp.lpm(12, range(1, 13), 12, 1, 0.1, loss=lp.Hinge()),
}


def table(problems):
    return pytest.mark.parametrize("problem", problems.values(), ids=problems)


def proved(problem, within):
    """The optimum, after checking that its state attains it and that the dual comes within a part of its value."""
    best = problem.optimum()
    assert problem.objective(best.state) == pytest.approx(best.value, rel=1e-12)
    assert best.lower_bound <= best.value <= best.lower_bound + within * best.value
    assert best.conditions.startswith("computed; within ")
    return best


@table(PROGRAMS)
def test_a_computed_optimum_is_attained_and_proved_to_rounding(problem):
    proved(problem, 1e-12)


@table(HINGES)
def test_a_loss_with_kinks_is_proved_to_what_interior_points_give(problem):
    proved(problem, 1e-9)


@table({name: problem for name, problem in PROGRAMS.items() if problem.constraint is None})
def test_the_gradient_vanishes_at_a_computed_optimum(problem):
    assert problem.gradient(problem.optimum().state).squared_norm < 1e-24 * problem.N**2


@table({name: problem for name, problem in PROGRAMS.items() if problem.constraint is not None})
def test_both_norms_of_a_computed_optimum_are_at_their_bounds(problem):
    state, ball = problem.optimum().state, problem.constraint
    weights = 1.0 if ball.weights is None else ball.weights
    assert np.sum(state.W**2) == pytest.approx(ball.W2, rel=1e-12)
    assert np.sum(weights * state.H**2) == pytest.approx(ball.H2, rel=1e-12)


BALANCED = {
    "lpm": lp.lpm(5, 3, 5, 1, 2),
    "ufm": lp.ufm(4, 5, 4, 5e-3, 5e-3),
    "ufm, weighted bias, sum": lp.ufm(4, 5, 4, 5e-3, 5e-3, 0.1, reduction="sum"),
    "ufm, smoothed": lp.ufm(4, 5, 4, 5e-3, 5e-3, loss=SMOOTHED),
    "squared error, weighted bias": lp.mse_ufm(4, 5, 4, 5e-3, 5e-3, bias=0.5),
    "squared error, unequal": lp.mse_ufm(4, [20, 10, 5, 1], 4, 0.01, 0.005),
}


@table(BALANCED)
def test_the_program_agrees_with_the_closed_forms(problem):
    assert computed_optimum(problem).value == pytest.approx(problem.optimum().value, rel=1e-12)


def test_the_program_gives_the_golden_value_of_the_unequal_squared_error():
    assert computed_optimum(BALANCED["squared error, unequal"]).value == pytest.approx(0.0732659125, abs=5e-11)


def test_the_hinge_of_equal_classes_in_balls_falls_by_its_margin():
    problem = lp.lpm(4, 3, 4, 0.5, 0.5, loss=lp.Hinge())
    assert problem.optimum().value == pytest.approx(1 - 4 * 0.5 / 3, rel=1e-9)  # 1 - T/(K-1)


@pytest.mark.parametrize(("loss", "least"), [(lp.Hinge(), 0.0), (lp.SquaredError(), 0.0), (SMOOTHED, 0.3487803849)])
def test_in_a_large_ball_the_least_loss_of_all_logits_is_reached(loss, least):
    best = lp.lpm(4, UNEQUAL, 4, 50, 50, loss=loss).optimum()
    assert best.value == best.lower_bound == pytest.approx(least, abs=5e-11)
    assert lp.lpm(4, UNEQUAL, 4, 50, 50, loss=loss).objective(best.state) == pytest.approx(best.value, abs=1e-13)


def four_scalars(KA, KB, R, T):
    """The minority cosine and the value of the layer-peeled model by x, y, p, r alone (THEORY.md, section 2)."""
    K, cB = KA + KB, 1 / (KA * R + KB)

    def loss(v):
        x, y, p, r = v
        a, b = ((KA - 1) * x + K * p) / KA, ((KB - 1) * y + K * r) / KB
        small = cB * KB * np.log(1 + (KB - 1) * np.exp(-y) + KA * np.exp(-b))
        return cB * R * KA * np.log(1 + (KA - 1) * np.exp(-x) + KB * np.exp(-a)) + small

    def s0(v):
        return np.sqrt(K * (KB * v[2] ** 2 + KA * v[3] ** 2))

    room = {"type": "ineq", "fun": lambda v: T - (KA - 1) * v[0] - (KB - 1) * v[1] - s0(v)}
    start, bounds = np.full(4, T / K / 4), [(0, None)] * 2 + [(1e-9, None)] * 2
    found = minimize(loss, start, method="SLSQP", bounds=bounds, constraints=room, options={"ftol": 1e-15})
    common, y = s0(found.x) * KA / (K * KB), found.x[1]
    return (common - y / KB) / (common + y * (1 - 1 / KB)), found.fun


def minority_cosine(state, KB):
    u, v = state.W[-KB:][:2]
    return u @ v / np.linalg.norm(u) / np.linalg.norm(v)


@pytest.mark.parametrize(
    ("sizes", "cosine"), [((1, 1), -0.1111), ((3162, 1000), -0.0172), ((10, 1), 0.5175), ((12589, 1000), 1.0)]
)
def test_minority_cosines_are_the_golden_ones_and_those_of_four_scalars(sizes, cosine):
    problem = lp.lpm(10, [sizes[0]] * 5 + [sizes[1]] * 5, 10, 1, 5)
    best = computed_optimum(problem)
    second, value = four_scalars(5, 5, sizes[0] / sizes[1], 10 * np.sqrt(5))
    assert minority_cosine(best.state, 5) == pytest.approx(cosine, abs=5e-5)
    assert minority_cosine(best.state, 5) == pytest.approx(second, abs=2e-5)
    assert best.value == pytest.approx(value, rel=1e-9)


def test_the_classifiers_of_minimum_norm_separation_have_the_golden_cosines():
    W = lp.ulpm(10, [10] * 5 + [1] * 5, 10).optimum("separation").state.W
    W = W / np.linalg.norm(W, axis=1, keepdims=True)
    cosines = [(W @ W.T)[pair] for pair in ((0, 1), (5, 6), (0, 5))]
    np.testing.assert_allclose(cosines, [-0.143953, 0.033369, -0.138681], atol=5e-7)


def test_the_order_of_the_classes_does_not_matter():
    shuffled = lp.lpm(4, (2, 6, 1, 3), 4, 1, 5)
    assert shuffled.optimum().value == pytest.approx(PROGRAMS["lpm"].optimum().value, rel=1e-13)


def test_a_computed_optimum_is_the_same_every_time():
    first, second = (PROGRAMS["ufm"].optimum() for _ in range(2))
    assert first.value == second.value
    np.testing.assert_array_equal(first.state.W, second.state.W)


def test_random_points_of_the_set_stay_above_the_bound():
    problem = PROGRAMS["lpm"]
    assert (problem.objective(problem.init(range(100), scale=1.0)) > problem.optimum().lower_bound).all()


@pytest.mark.parametrize("name", ["ufm", "ufm, free bias", "squared error, weighted bias"])
def test_direct_optimisation_reaches_a_computed_optimum_from_five_seeds(name):
    problem = PROGRAMS[name]
    m = problem.K * problem.d

    def state(x):
        W, H, b = np.split(x, [m, m + problem.d * problem.N])
        return lp.State(W.reshape(problem.K, -1), H.reshape(problem.d, -1), b if problem.bias else None)

    def value_and_gradient(x):
        slope = problem.gradient(state(x))
        b = [slope.b] if problem.bias else []
        return problem.objective(state(x)), np.concatenate([slope.W.ravel(), slope.H.ravel(), *b])

    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-9}
    for seed in range(5):
        start = problem.init(seed, scale=0.5)
        x = np.concatenate([start.W.ravel(), start.H.ravel(), start.b if problem.bias else []])
        found = minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", options=options)
        assert found.fun == pytest.approx(problem.optimum().value, rel=1e-8)


@pytest.mark.parametrize("name", ["lpm", "balls without weights"])
def test_projected_descent_reaches_a_computed_optimum_from_five_seeds(name):
    import optax

    problem = PROGRAMS[name]
    run = lp.descend(problem, problem.init(range(5), scale=0.5), optax.sgd(10.0), 1000, record=2)
    best = problem.optimum().value
    np.testing.assert_allclose(run.metrics["loss"].isel(record=-1), best, rtol=1e-8)
    assert (run.metrics["loss"].isel(record=-1) >= best * (1 - 1e-12)).all()


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (lp.lpm(4, UNEQUAL, 2, 1, 5), "need d >= 3, the rank of the optimal logits"),
        (lp.ufm(4, UNEQUAL, 3, 5e-3, 5e-3, loss=lp.Focal()), "need a model whose optimum is known"),
        (balls(1.0, 1.0, np.arange(1.0, 13.0)), "need a model whose optimum is known"),
        (balls(1.0, 1.0, regulariser=lp.Ridge(0.1, 0.1)), "need a model whose optimum is known"),
        (lp.ufm(4, UNEQUAL, 4, 5e-3, 5e-3, nonneg=True), "need a model whose optimum is known"),
    ],
)
def test_what_the_program_does_not_answer_is_said_in_one_sentence(problem, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        problem.optimum()
