"""One-vs-rest margins are distances to hulls, proved from both sides; no code exceeds its bound, some attain it."""

import numpy as np
import pytest
from scipy.optimize import minimize

import layerpeel as lp
from layerpeel.frames import random_frame, simplex_etf

GOLDEN_RATIO = (1 + 5**0.5) / 2
ICOSAHEDRON = np.array(
    [np.roll([0, s, t * GOLDEN_RATIO], shift) for s in (1, -1) for t in (1, -1) for shift in range(3)]
).T / np.hypot(1, GOLDEN_RATIO)
GOLDEN = [  # THEORY.md, section 7
    (lp.softmax_code(5, 2), 0.690983),
    (lp.softmax_code(6, 3), 1.0),
    (ICOSAHEDRON, 0.552786),
    (simplex_etf(7, 9, seed=3), 7 / 6),
]


@pytest.mark.parametrize(("code", "margin"), GOLDEN, ids=["pentagon", "octahedron", "icosahedron", "simplex"])
def test_margins_of_the_famous_codes(code, margin):
    assert lp.one_vs_rest_margin(code).margin == pytest.approx(margin, abs=5e-7)
    assert lp.one_vs_rest_margin(ICOSAHEDRON).margin == pytest.approx(1 - 5**-0.5, abs=1e-14)


@pytest.mark.parametrize(("K", "d", "seed"), [(4, 2, 0), (7, 3, 1), (9, 4, 2), (30, 5, 3), (6, 8, 4)])
def test_the_two_proofs_meet_and_are_what_they_say(K, d, seed):
    U = random_frame(K, d, seed=seed)
    found = lp.one_vs_rest_margin(U)
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(found.weights.sum(1), 1, rtol=1e-13)
    assert (np.diag(found.weights) == 0).all()
    np.testing.assert_allclose(np.linalg.norm(U - U @ found.weights.T, axis=0), found.upper, atol=1e-15)
    best = [min(found.directions[:, k] @ (U[:, k] - U[:, j]) for j in range(K) if j != k) for k in range(K)]
    assert max(min(best), 0) == pytest.approx(found.lower, abs=1e-14)
    assert 0 <= found.gap < 1e-12


def test_the_distance_is_that_of_another_solver():
    U = random_frame(5, 3, seed=7)
    for k, distance in enumerate(lp.one_vs_rest_margin(U).upper):
        rest = np.delete(U, k, axis=1)
        sum_to_one = {"type": "eq", "fun": lambda x: x.sum() - 1}
        found = minimize(
            lambda x, rest=rest, k=k: np.sum((rest @ x - U[:, k]) ** 2),
            np.full(4, 1 / 4),
            bounds=[(0, 1)] * 4,
            constraints=sum_to_one,
            options={"ftol": 1e-14},
        )
        assert distance == pytest.approx(found.fun**0.5, abs=1e-6)


@pytest.mark.parametrize(("K", "d"), [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (9, 2), (7, 5), (8, 4), (12, 3), (40, 4)])
def test_no_code_exceeds_the_bound_and_the_known_codes_attain_it(K, d):
    bound = lp.one_vs_rest_bound(K, d)
    rng = np.random.default_rng(0)
    if bound.attained:
        code = lp.softmax_code(K, d)
        assert lp.one_vs_rest_margin(code).margin == pytest.approx(bound.value, abs=1e-14)
        frames = [code + eps * rng.normal(size=code.shape) for eps in (1e-3, 1e-2, 0.1) for _ in range(5)]
    else:
        frames = [random_frame(K, d, seed=seed) for seed in range(10)]
    for frame in frames:
        assert lp.one_vs_rest_margin(frame / np.linalg.norm(frame, axis=0)).margin <= bound.value + 1e-14


def test_a_vector_in_the_hull_of_the_others_has_no_margin():
    found = lp.one_vs_rest_margin([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    assert 0 <= found.lower <= found.margin < 1e-15
    assert lp.one_vs_rest_bound(3, 1) == (0.0, True)


def test_margins_are_those_of_the_best_features():
    """q_min of classifiers u_k and features h_k is the margin; features at the means do worse where K > d + 1."""
    U = random_frame(6, 3, seed=5)
    found = lp.one_vs_rest_margin(U)
    problem = lp.ulpm(6, 1, 3)
    assert lp.margin(problem, lp.State(U.T, found.directions)).q_min == pytest.approx(found.margin, abs=1e-12)
    assert lp.margin(problem, lp.State(U.T, U)).q_min < found.margin - 1e-3


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: lp.one_vs_rest_margin([1.0, 2.0]), "need a finite d x K matrix"),
        (lambda: lp.one_vs_rest_margin([[1.0, np.nan]]), "need a finite d x K matrix"),
        (lambda: lp.one_vs_rest_bound(1, 2), "need K >= 2 and an integer, got K=1"),
        (lambda: lp.one_vs_rest_bound(3, 0), "need d >= 1 and an integer, got d=0"),
        (lambda: lp.softmax_code(7, 3), "need K <= 2d, or d = 2, .* got K=7, d=3"),
    ],
)
def test_a_wrong_call_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        call()


@pytest.mark.parametrize("length", [1e-200, 1e200])
def test_it_is_of_degree_one_at_every_length(length):
    found = lp.one_vs_rest_margin(length * np.eye(3))
    assert found.margin / length == pytest.approx(np.sqrt(1.5))
    assert found.lower / length == pytest.approx(np.sqrt(1.5))
