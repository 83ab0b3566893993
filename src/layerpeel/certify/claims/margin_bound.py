"""Lemma 3.1: the margin is an indicator of collapse, q_min <= rho^2 / (2 (K-1) sqrt n).

With A = (I - J/K) Y / sqrt n, whose norm is |A|_2 = 1, the mean margin over all samples and wrong classes is
<A, W H> / ((K-1) sqrt n), and

    rho^2/2 - <A, W H> = |W - A H'|^2/2 + (|H|^2 - |A H'|^2)/2 >= |W - A H'|^2/2,    likewise >= |H - W'A|^2/2.

So with q the ratio of q_min to its bound, max(|W - A H'|^2, |H - W'A|^2, (|W| - |H|)^2) <= (1 - q) rho^2: at equality
h_i = W'(e_k - 1/K)/sqrt n depends on its class alone (NC1), W = A H' is the dual (NC3), all margins are equal (NC2),
and W H = q_min (I - J/K) Y has rank K - 1 <= d.
"""

from collections.abc import Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.low_dimension import LOW_DIMENSIONS, distance_from_collapse
from layerpeel.certify.claims.points import around_collapse, collapsed, each_point, random_points, size, summed
from layerpeel.certify.claims.separation_solver import local_minima
from layerpeel.certify.margin import margin
from layerpeel.certify.sphere import onto_sphere
from layerpeel.problem import Problem, State

__all__ = ["STATEMENTS", "centred_labels"]


def centred_labels(problem: Problem) -> np.ndarray:
    """A = (I - J/K) Y / sqrt n, of spectral norm 1."""
    return (problem.onehot - 1 / problem.K) / np.sqrt(problem.n[0])


def _bound() -> tuple[Evidence, ...]:
    points = [*each_point(random_points), *each_point(around_collapse)]
    return (
        trial(
            "q_min over its bound, less 1",
            [(margin(p, s).ratio - 1, at) for p, s, at in points],
            tolerance=1e-12,
        ),
        trial(
            "|1 - q_min over its bound| at collapse, in any rotation",
            [(abs(margin(p, s).ratio - 1), at) for p, s, at in each_point(collapsed)],
            tolerance=1e-12,
        ),
        trial(
            "distance from collapse, squared, over ρ², less 1 - q_min over its bound",
            [(_distance(p, s) - (1 - margin(p, s).ratio), at) for p, s, at in points],
            tolerance=1e-12,
        ),
        trial(
            "d < K - 1: 0.1 less the least distance of logits of rank d from collapsed ones, over their norm",
            [(0.1 - distance_from_collapse(p), size(p)) for p in (summed(*shape) for shape in LOW_DIMENSIONS)],
            tolerance=1e-12,
        ),
        trial("d < K - 1: the best ratio found, less 0.9", _unattained(), tolerance=1e-12),
        trial(
            "margin at collapse less that of a random point of the same norm", _rises(), tolerance=1e-6, erratum="E14"
        ),
    )


def _distance(problem: Problem, state: State) -> float:
    """max(|W - A H'|^2, |H - W'A|^2, (|W| - |H|)^2) / rho^2."""
    A = centred_labels(problem)
    dual, features = state.W - A @ state.H.T, state.H - state.W.T @ A
    uneven = np.linalg.norm(state.W) - np.linalg.norm(state.H)
    return float(max((dual**2).sum(), (features**2).sum(), uneven**2) / state.squared_norm)


def _unattained() -> Iterator[tuple[float, str]]:
    """The best of several local minima of (5), as a margin ratio, where the dimension is too small."""
    for shape in LOW_DIMENSIONS:
        problem = summed(*shape)
        ratios = [float(margin(problem, state).ratio) for state in local_minima(problem, 6)]
        yield max(ratios) - 0.9, f"{size(problem)}: at most {max(ratios):.6f} from {len(ratios)} starts"


def _rises() -> Iterator[tuple[float, str]]:
    for problem, state, at in each_point(random_points):
        best = problem.optimum("margin", rho2=1.0)
        q = float(margin(problem, onto_sphere(state, 1.0)).q_min)
        yield best.value - q, f"{at} on the unit sphere: {q:.3f}, at collapse {best.value:.3f}"


STATEMENTS = (
    Statement(
        id="lemma-3.1",
        place="Lemma 3.1",
        text="q_min <= ρ²/(2(K-1) sqrt n), with equality iff collapsed, sum_k w_k = 0 and |W| = |H|; attained iff "
        "d >= K-1.",
        quantifier="for all (W, H), K, n, d",
        errata=("E14",),
        functions=("margin", "Problem.optimum", "separation.margin_bound"),
        test="tests/theory/test_lemma_3_1.py",
        expected=Verdict.CORRECTED,
        check=_bound,
    ),
)
