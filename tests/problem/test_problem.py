"""A problem is what its formula says, in float64, one state or many; what does not fit is refused in a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import layerpeel as lp


def loop_objective(problem, state):
    """Straight from the formula: a sum of -log softmax over the columns."""
    total, column = 0.0, 0
    for label, size in enumerate(problem.n):
        for _ in range(size):
            z = state.W @ state.H[:, column] + (0 if state.b is None else state.b)
            total += -np.log(np.exp(z[label]) / np.exp(z).sum())
            column += 1
    return total if problem.reduction == "sum" else total / column


class Exponential(lp.Loss):
    def value(self, Z, Y):
        return jnp.sum(jnp.exp(Z - jnp.sum(Y * Z, axis=0)), axis=0) - 1


PROBLEMS = {
    "balanced": lp.ulpm(K=4, n=3, d=5),
    "sum": lp.ulpm(K=4, n=3, d=5, reduction="sum"),
    "imbalanced": lp.ulpm(K=3, n=(5, 1, 2), d=2),
    "bias": lp.ulpm(K=3, n=2, d=4, bias=True),
}
ALL = {
    **PROBLEMS,
    "own loss": lp.ulpm(K=3, n=2, d=4, loss=Exponential()),
    "ridge": lp.Problem(K=3, n=2, d=4, regulariser=lp.Ridge(0.3, 0.2, 0.1), bias=True),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_objective_is_the_formula(problem):
    state = problem.init(seed=3, scale=0.7)
    assert problem.objective(state) == pytest.approx(loop_objective(problem, state), rel=1e-13)


@pytest.mark.parametrize("problem", ALL.values(), ids=ALL)
def test_gradient_matches_central_differences(problem):
    state = problem.init(seed=1, scale=0.5)
    direction = problem.init(seed=2, scale=1.0)
    eps = 1e-5
    ahead, behind = (jax.tree.map(lambda x, v, s=s: x + s * eps * v, state, direction) for s in (1, -1))
    slope = (problem.objective(ahead) - problem.objective(behind)) / (2 * eps)
    gradient = problem.gradient(state)
    inner = sum(np.vdot(g, v) for g, v in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    assert inner == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("problem", ALL.values(), ids=ALL)
def test_log_gradient_is_gradient_over_objective(problem):
    state = problem.init(seed=1, scale=0.5)
    value, gradient, log_gradient = (
        problem.objective(state),
        problem.gradient(state),
        problem.log_gradient(state),
    )
    assert problem.log_objective(state) == pytest.approx(np.log(value), rel=1e-13)
    for g, log_g in zip(jax.tree.leaves(gradient), jax.tree.leaves(log_gradient), strict=True):
        np.testing.assert_allclose(log_g, g / value, rtol=1e-11, atol=1e-15)


def test_log_domain_stays_exact_where_the_loss_underflows():
    problem = lp.ulpm(K=4, n=2, d=4, reduction="sum")
    optimum = problem.optimum("margin", rho2=1.0)
    q = 1e5
    state = jax.tree.map(lambda x: x * np.sqrt(q / optimum.value), optimum.state)
    assert problem.objective(state) == 0.0
    assert problem.log_objective(state) == pytest.approx(np.log(8 * 3) - q, rel=1e-14)
    slope = sum(
        np.vdot(x, g) for x, g in zip(jax.tree.leaves(state), jax.tree.leaves(problem.log_gradient(state)), strict=True)
    )
    assert slope == pytest.approx(-2 * q, rel=1e-12)  # log L = const - |theta|^2 gamma along the ray


def test_several_seeds_are_the_single_ones_side_by_side():
    problem = lp.ulpm(K=4, n=3, d=5)
    together = problem.init(seed=range(3))
    assert problem.objective(together).shape == (3,)
    for seed in range(3):
        one = problem.init(seed=seed)
        np.testing.assert_array_equal(together.H[seed], one.H)
        assert problem.objective(together)[seed] == pytest.approx(problem.objective(one), rel=1e-14)
        np.testing.assert_allclose(problem.gradient(together).W[seed], problem.gradient(one).W, rtol=1e-12, atol=1e-17)


def test_init_draws_W_then_H_in_row_major_order_from_default_rng():
    rng = np.random.default_rng(7)
    W, H = rng.normal(0, 0.1, (5, 20)), rng.normal(0, 0.1, (20, 50))
    state = lp.ulpm(K=5, n=10, d=20).init(seed=7, scale=0.1)
    np.testing.assert_array_equal(state.W, W)
    np.testing.assert_array_equal(state.H, H)


def test_everything_is_float64_and_the_global_precision_untouched():
    problem = lp.ulpm(K=3, n=2, d=4)
    state = jax.tree.map(lambda x: x.astype(np.float32), problem.init())
    assert problem.gradient(state).W.dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32


def test_problem_and_state_are_pytrees():
    problem = lp.Problem(K=3, n=2, d=4, regulariser=lp.Ridge(0.1, 0.2))
    doubled = jax.tree.map(lambda x: 2 * x, problem)
    assert doubled.regulariser == lp.Ridge(0.2, 0.4)
    assert doubled.n == problem.n
    assert len(jax.tree.leaves(problem.init())) == 2


def test_ridge_descends_to_the_closed_form_of_zhu_et_al():
    import optax

    problem = lp.Problem(K=4, n=5, d=4, regulariser=lp.Ridge(5e-3, 5e-3))
    run = lp.descend(problem, problem.init(seed=0), optax.sgd(2.0, momentum=0.9), steps=3000)
    assert problem.objective(run.state) == pytest.approx(0.183691995718, rel=1e-10)


def test_norm_balls_descend_to_the_closed_form_of_equation_1():
    import optax

    problem = lp.Problem(K=5, n=10, d=6, constraint=lp.NormBalls(20.0, 20.0))
    run = lp.descend(problem, problem.init(seed=0), optax.sgd(5.0), steps=3000)
    assert problem.objective(run.state) == pytest.approx(0.6004630042, rel=1e-9)
    assert np.sum(run.state.W**2) <= 20 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"K": 1}, "need K >= 2 and an integer, got K=1"),
        ({"K": 2.5}, "need K >= 2 and an integer, got K=2.5"),
        ({"d": 0}, "need d >= 1 and an integer, got d=0"),
        ({"n": 0}, "need n >= 1 and an integer, got n=0"),
        ({"n": (3, 0, 2)}, "need n >= 1 and an integer, got n=0"),
        ({"n": (3, 2)}, "need K = 3 class sizes, got 2"),
        ({"n": "many"}, "need n to be an int or K ints, got 'many'"),
        ({"n": 1.5}, "need n to be an int or K ints, got 1.5"),
        ({"reduction": "max"}, "need reduction to be one of mean, sum, got 'max'"),
        ({"n": None}, "need n to be an int or K ints, got None"),
        ({"loss": "ce"}, "need loss to be an instance of layerpeel.Loss, got 'ce'"),
        ({"bias": "no"}, "need bias to be True or False, got bias='no'"),
        ({"bias": 1}, "need bias to be True or False, got bias=1"),
    ],
)
def test_impossible_problems_are_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the sentence is compared whole)
        lp.ulpm(**{"K": 3, "n": 2, "d": 4} | arguments)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (lp.State(np.ones((3, 5)), np.ones((4, 6))), "need W of shape (3, 4), got (3, 5)"),
        (lp.State(np.ones((3, 4)), np.ones((6, 4))), "need H of shape (4, 6), got (6, 4)"),
        (lp.State(np.ones((2, 3, 4)), np.ones((4, 6))), "need H of shape (2, 4, 6), got (4, 6)"),
        (lp.State(np.ones((3, 4)), np.full((4, 6), np.nan)), "need finite entries in H, got 24 that are not"),
        (
            lp.State(np.ones((3, 4)), np.ones((4, 6)), np.ones(3)),
            "need no bias in the state of this problem, got one",
        ),
        (lp.State("W", np.ones((4, 6))), "need W to be an array of real numbers, got str"),
        (lp.State([[1.0], [2.0, 3.0]], np.ones((4, 6))), "need W to be an array of real numbers, got list"),
        (lp.State(np.ones((3, 4)), 1j * np.ones((4, 6))), "need H to be an array of real numbers, got complex128"),
        (lp.State([[1.0 + 0j] * 4] * 3, np.ones((4, 6))), "need W to be an array of real numbers, got list"),
        (lp.State(np.full((3, 4), "1.0"), np.ones((4, 6))), "need W to be an array of real numbers, got <U3"),
        (lp.State(None, np.ones((4, 6))), "need W of shape (3, 4), got ()"),
        (lp.State(np.ones((0, 3, 4)), np.ones((0, 4, 6))), "need at least one seed, got none"),
        (np.ones((3, 4)), "need a layerpeel.State, got ndarray"),
    ],
)
def test_states_that_do_not_fit_are_refused_in_one_sentence(state, sentence):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        lp.ulpm(K=3, n=2, d=4).objective(state)
    assert str(error.value) == sentence


class Tensor:
    """As a torch tensor with a gradient: an array once it is detached and on the host."""

    def __init__(self, array, ready=()):
        self.array, self.ready = array, ready

    def detach(self):
        return Tensor(self.array, (*self.ready, "detached"))

    def cpu(self):
        return Tensor(self.array, (*self.ready, "on the host"))

    def __array__(self, dtype=None, copy=None):
        assert self.ready == ("detached", "on the host")
        return np.array(self.array, dtype=dtype)


def test_a_tensor_with_a_gradient_is_taken_without_it():
    problem = lp.ulpm(K=3, n=2, d=4)
    state = problem.init(0)
    assert problem.objective(lp.State(Tensor(state.W), state.H)) == problem.objective(state)


def test_a_torch_tensor_with_a_gradient_is_taken_without_it():
    torch = pytest.importorskip("torch")
    problem = lp.ulpm(K=3, n=2, d=4)
    state = problem.init(0)
    W = torch.tensor(state.W, requires_grad=True)
    assert problem.objective(lp.State(W, state.H)) == problem.objective(state)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"regulariser": 0.1}, "need regulariser to be a layerpeel.Regulariser or None, got 0.1"),
        ({"constraint": "ball"}, "need constraint to be a layerpeel.Constraint or None, got 'ball'"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused(part, sentence):
    with pytest.raises(ValueError, match=sentence):
        lp.Problem(K=3, n=2, d=4, **part)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"seed": 1.5}, "need seed >= 0 and an integer, got seed=1.5"),
        ({"seed": "abc"}, "need seed >= 0 and an integer, got seed='abc'"),
        ({"seed": -1}, "need seed >= 0 and an integer, got seed=-1"),
        ({"seed": []}, "need at least one seed, got none"),
        ({"seed": np.arange(4).reshape(2, 2)}, r"need seed >= 0 and an integer, got seed=array\(\[0, 1\]\)"),
        ({"seed": [[1, 2], [3]]}, r"need seed >= 0 and an integer, got seed=\[1, 2\]"),
        ({"seed": np.array(3)}, r"need seed >= 0 and an integer, got seed=array\(3\)"),
        ({"seed": b"ab"}, "need seed >= 0 and an integer, got seed=b'ab'"),
        ({"scale": 10**400}, "need scale >= 0 and finite, got scale=1000"),
        ({"scale": "a"}, "need scale >= 0 and finite, got scale='a'"),
        ({"scale": -1.0}, "need scale >= 0 and finite, got scale=-1.0"),
    ],
)
def test_impossible_starts_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        lp.ulpm(3, 2, 4).init(**arguments)


def test_a_loss_of_the_wrong_shape_is_refused():
    class Scalar(lp.Loss):
        def value(self, Z, Y):
            return jnp.sum(Z * Y)

    problem = lp.ulpm(3, 2, 4, loss=Scalar())
    with pytest.raises(ValueError, match=r"need one loss a sample, shape \(6,\), got \(\) from"):
        problem.objective(problem.init())


def test_states_are_scaled_seed_by_seed_from_either_side():
    states, factors = lp.ulpm(3, 2, 4).init(range(2)), np.array([2.0, -1.0])
    left, right = factors * states, states * factors
    np.testing.assert_array_equal(left.H, right.H)
    np.testing.assert_array_equal(left.W[1], -states.W[1])
