"""The minimum-norm separation problem (5): what it is, Remark 3.1 and Theorem 3.2.

Its optimum has a certificate. For any multipliers lambda >= 0, whose matrix A (the sum of a sample's lambda in the row
of its own class, -lambda in the rows of the others) has |A|_2 <= 1, every feasible point has

    (|W|^2 + |H|^2)/2 >= |W H|_* >= <A, W H> = sum lambda * margin >= sum lambda

in any dimension. All lambda = 1/(K sqrt n) give A = (I - J/K) Y / sqrt n and the bound (K-1) sqrt n. The simplex ETF
attains it: so it is optimal, and these lambda are its KKT multipliers.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.low_dimension import LOW_DIMENSIONS, distance_from_collapse
from layerpeel.certify.claims.margin_bound import centred_labels
from layerpeel.certify.claims.points import collapsed, each_point, each_problem, separated, size, summed
from layerpeel.certify.claims.separation_solver import local_minima
from layerpeel.certify.margin import margin
from layerpeel.collapse import measure
from layerpeel.problem import Problem, State

__all__ = ["STATEMENTS"]

GOLDEN = 12.649110640673518
"""(K-1) sqrt n for K=5, n=10."""
STARTS = 6
SOLVED = ((3, 2, 3), (4, 1, 3), (4, 1, 4), (4, 2, 4))
"""(K, n, d) with d >= K - 1 at which (5) is solved numerically."""


def _problem() -> tuple[Evidence, ...]:
    points = [(_below(p, s * float(margin(p, s).q_min) ** -0.5), at) for p, s, at in each_point(separated)]
    minima = [(_below(p, s), at) for p, s, at in _minima()]
    return (
        trial("(K-1) sqrt n less the objective at feasible points, relative", points, tolerance=1e-12),
        trial("the same at local minima, found numerically", minima, tolerance=1e-7),
    )


def _below(problem: Problem, state: State) -> float:
    """How far the objective is below (K-1) sqrt n, relative."""
    return 1 - float(state.squared_norm) / 2 / problem.optimum("separation").value


def _minima() -> Iterator[tuple[Problem, State, str]]:
    for shape in SOLVED:
        problem = summed(*shape)
        for i, state in enumerate(local_minima(problem, STARTS)):
            yield problem, state, f"{size(problem)}, minimum {i}"


def _directions() -> tuple[Evidence, ...]:
    found = list(_least_along_directions())
    return (
        trial(
            "least feasible objective along a direction, by bisection, over (ρ²/2) / q_min, less 1",
            [(abs(least * q / half - 1), at) for least, half, q, at in found],
            tolerance=1e-9,
        ),
        trial(
            "least feasible objective along a direction over the printed (ρ²/2) / sqrt(q_min), less 1",
            [
                (abs(least * q**0.5 / half - 1), f"{at}: {least:.4g}, printed {half / q**0.5:.4g}")
                for least, half, q, at in found
            ],
            tolerance=1e-9,
            erratum="E3",
        ),
        trial(
            "q_min inside the ball over that on its boundary, less 1",
            [(margin(p, 0.9 * s).q_min / margin(p, s).q_min - 1, at) for p, s, at in each_point(separated)],
            tolerance=1e-12,
        ),
    )


def _least_along_directions() -> Iterator[tuple[float, float, float, str]]:
    """Least |alpha theta|^2/2 with alpha theta feasible, rho^2/2, q_min and where: for each separated point."""
    for problem in each_problem():
        states = separated(problem)
        least = _least_factors(problem, states) ** 2 * states.squared_norm / 2
        q = margin(problem, states).q_min
        for i, (value, half, q_i) in enumerate(zip(least, states.squared_norm / 2, q, strict=True)):
            yield float(value), float(half), float(q_i), f"{size(problem)}, point {i}"


def _least_factors(problem: Problem, states: State) -> Float[np.ndarray, "seed"]:
    """The least alpha with alpha theta feasible, by bisection: no formula for it."""
    low, high = np.zeros(len(states.W)), np.full(len(states.W), 10.0)
    for _ in range(60):
        middle = (low + high) / 2
        feasible = margin(problem, states * middle).q_min >= 1.0
        low, high = np.where(feasible, low, middle), np.where(feasible, middle, high)
    return high


def _optimum() -> tuple[Evidence, ...]:
    return (
        trial("optimal value less its golden one", [_golden()], tolerance=1e-13),
        trial(
            "KKT at collapse: stationarity, margins 1, |w_k|² and |h|²",
            [(_kkt_error(p, s), at) for p, s, at in each_point(collapsed)],
            tolerance=1e-12,
        ),
        trial("certificate: |A|_2 and the sum of the λ over the value, less 1", _certificate(), tolerance=1e-12),
        trial(
            "distance from collapse of the minima found at that value",
            [(_from_collapse(p, s), at) for p, s, at in _minima() if _below(p, s) > -1e-7],
            tolerance=1e-4,
        ),
        trial(
            "d < K - 1: least distance of logits of rank d from collapsed ones, over their norm",
            _low_ranks(),
            tolerance=1e-6,
            erratum="E12",
        ),
    )


def _golden() -> tuple[float, str]:
    value = summed(5, 10, 20).optimum("separation").value
    return abs(value - GOLDEN), f"K=5, n=10: {value!r}"


def _kkt_error(problem: Problem, state: State) -> float:
    """theta = sum lambda grad(margin) with all lambda 1/(K sqrt n); every margin 1; the norms of w_k and h."""
    A, K, root = centred_labels(problem), problem.K, np.sqrt(problem.n[0])
    errors = (
        state.W - A @ state.H.T,
        state.H - state.W.T @ A,
        state.W @ state.H - (problem.onehot - 1 / K),
        (state.W**2).sum(1) - (K - 1) * root / K,
        (state.H**2).sum(0) - (K - 1) / (K * root),
    )
    return max(float(np.abs(error).max()) for error in errors)


def _certificate() -> Iterator[tuple[float, str]]:
    for problem in each_problem():
        total = problem.N * (problem.K - 1) / (problem.K * np.sqrt(problem.n[0]))
        norm = np.linalg.norm(centred_labels(problem), 2)
        yield max(abs(norm - 1), abs(total / problem.optimum("separation").value - 1)), size(problem)


def _from_collapse(problem: Problem, state: State) -> float:
    report = measure(state.H.T, problem.labels, classifier=state.W)
    return max(report.within_class_variation, report.mean_angle_gap, report.duality_gap, report.nc4_mismatch)


def _low_ranks() -> Iterator[tuple[float, str]]:
    """Where (5) has feasible points, hence an optimum, and none that is collapsed."""
    for shape in LOW_DIMENSIONS:
        problem = summed(*shape)
        feasible = [state for state in local_minima(problem, STARTS) if margin(problem, state).q_min > 0]
        least = min((float(state.squared_norm) / 2 for state in feasible), default=np.nan)
        where = f"{size(problem)}: least value found {least:.6f}, formula {problem.K - 1:g}"
        yield distance_from_collapse(problem) if feasible else np.nan, where


STATEMENTS = (
    Statement(
        id="problem-5",
        place="Equation (5)",
        text="Minimum-norm separation: the least (|W|² + |H|²)/2 with (w_k - w_j).h_ki >= 1 for all i and j != k.",
        quantifier="for all feasible (W, H)",
        equations=(5,),
        functions=("Problem.optimum", "separation.separation_cost", "kkt"),
        test="tests/problem/test_optimum.py",
        expected=Verdict.HOLDS,
        check=_problem,
    ),
    Statement(
        id="remark-3.1",
        place="Remark 3.1",
        text="Along a direction the least feasible objective is (ρ²/2)/q_min, so (5) maximises q_min in a ball of ρ².",
        quantifier="for all (W, H) with q_min > 0",
        errata=("E3",),
        functions=("margin", "Problem.optimum"),
        test="tests/certify/claims/test_statements.py",
        expected=Verdict.CORRECTED,
        check=_directions,
    ),
    Statement(
        id="theorem-3.2",
        place="Theorem 3.2",
        text="Every optimum of (5) is KKT and collapsed: value (K-1) sqrt n, |w_k|² = (K-1) sqrt(n)/K, |h|² = "
        "(K-1)/(K sqrt n), multipliers 1/(K sqrt n).",
        quantifier="for all K, n and d >= K-1",
        errata=("E12",),
        functions=("Problem.optimum", "kkt"),
        test="tests/problem/test_optimum.py",
        expected=Verdict.CORRECTED,
        check=_optimum,
    ),
)
