"""Theorem 3.3 and Remark 3.2: the least loss on a sphere |W|^2 + |H|^2 = rho^2 is that of collapse with |W| = |H|.

For d >= K-1 it is n K log(1 + (K-1) e^{-q}) with q = rho^2 / (2(K-1) sqrt n). One point proves it: L is convex in
Z = W H, so that L* >= L - (sigma_1(G) - lam) rho^2/2 with G = dL/dZ and lam = -<theta, grad L>/rho^2
(:mod:`layerpeel.certify.global_certificate`), and at collapse sigma_1 = lam.
"""

from collections.abc import Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.low_dimension import distance_from_collapse, formula
from layerpeel.certify.claims.points import (
    around_collapse,
    collapsed,
    each_point,
    each_problem,
    off_collapse,
    random_points,
    size,
    summed,
)
from layerpeel.certify.global_certificate import global_certificate
from layerpeel.certify.margin import margin
from layerpeel.certify.polish import polish
from layerpeel.certify.sphere import onto_sphere
from layerpeel.collapse import measure
from layerpeel.problem import Problem, State

__all__ = ["STATEMENTS"]

GOLDEN = (((4, 1, 4), 8.0, 2.330630612247), ((5, 2, 4), 30.0, 2.485296346609))
"""(K, n, d), rho^2, the least loss."""
LOW = ((5, 2, 3), 30.0, 2.948893063724)
"""The same with d < K-1, where the formula is not attained."""
SPHERES = (0.5, 8.0, 60.0)
"""rho^2."""


def _least() -> tuple[Evidence, ...]:
    values = [(summed(*shape).optimum(rho2=rho2).value, value, shape) for shape, rho2, value in GOLDEN]
    polished = list(_polished())
    return (
        trial(
            "the formula less its golden values",
            [(abs(a - b), f"{a:.12f} at {c}") for a, b, c in values],
            tolerance=6e-13,
        ),
        trial("log of the formula less log L, on spheres of ρ² = 0.5, 8, 60", _above(), tolerance=1e-12),
        trial("certificate at collapse: (L - L*)/L is at most", _gaps(), tolerance=1e-12),
        trial(
            "polished from random starts: L over the formula, less 1",
            [(abs(excess), at) for excess, _, at in polished],
            tolerance=1e-9,
        ),
        trial(
            "their distance from collapse, and | |W|/|H| - 1 |", [(gap, at) for _, gap, at in polished], tolerance=1e-4
        ),
        trial(
            "d < K - 1: least distance of logits of rank d from collapsed ones, over their norm",
            [_low()],
            tolerance=1e-6,
            erratum="E12",
        ),
    )


def _above() -> Iterator[tuple[float, str]]:
    for problem in each_problem():
        for rho2 in SPHERES:
            least = np.log(problem.optimum(rho2=rho2).value)
            for kind, sample in (("random", random_points), ("near collapse", around_collapse)):
                rises = problem.log_objective(onto_sphere(sample(problem), rho2)) - least
                yield from ((-rise, f"{size(problem)}, ρ²={rho2:g}, {kind}, point {i}") for i, rise in enumerate(rises))


def _gaps() -> Iterator[tuple[float, str]]:
    for problem in each_problem():
        for rho2 in SPHERES:
            found = global_certificate(problem, problem.optimum(rho2=rho2).state)
            yield found.gap / (1 + found.rho2), f"{size(problem)}, ρ²={rho2:g}"


def _polished() -> Iterator[tuple[float, float, str]]:
    """log of L over the formula, the distance from collapse, and where."""
    for shape, rho2 in (((4, 3, 3), 8.0), ((4, 1, 4), 8.0), ((4, 1, 4), 40.0)):
        problem = summed(*shape)
        least = np.log(problem.optimum(rho2=rho2).value)
        for seed in range(4):
            found = polish(problem, onto_sphere(problem.init(seed, scale=1.0), rho2))
            report = measure(found.state.H.T, problem.labels, classifier=found.state.W)
            uneven = abs(float(np.linalg.norm(found.state.W) / np.linalg.norm(found.state.H)) - 1)
            gaps = (report.within_class_variation, report.mean_angle_gap, report.duality_gap, uneven)
            yield float(found.log_after - least), max(gaps), f"{size(problem)}, ρ²={rho2:g}, start {seed}"


def _low() -> tuple[float, str]:
    """Every sphere is compact and has an optimum; none is collapsed."""
    shape, rho2, golden = LOW
    problem = summed(*shape)
    starts = [onto_sphere(problem.init(seed, scale=1.0), rho2) for seed in range(2)]
    least = min(float(np.exp(polish(problem, start).log_after)) for start in starts)
    words = f"the least L found is {least:.9f} (known: {golden:.9f}), the formula {formula(problem, rho2):.9f}"
    return distance_from_collapse(problem), f"{size(problem)}, ρ²={rho2:g}: {words}"


def _scaled() -> tuple[Evidence, ...]:
    factors = [(a, b) for a in (-3.0, 0.5, 1.0, 2.0) for b in (-2.0, 0.3, 1.0)]
    points = [(p, State(a * s.W, b * s.H), a, b, at) for p, s, at in each_point(_few) for a, b in factors]
    alike = [(p, s, a, b, at) for p, s, a, b, at in points if a * b > 0]
    return (
        trial(
            "distance of (aW, bH), ab > 0, from NC1 to NC4, (W, H) collapsed",
            [(off_collapse(p, s), f"{at}, a={a:g}, b={b:g}") for p, s, a, b, at in alike],
            tolerance=1e-12,
        ),
        trial(
            "their ratio of q_min to its bound less 2ab/(a² + b²): 1 for a = b alone",
            [
                (abs(margin(p, s).ratio - 2 * a * b / (a**2 + b**2)), f"{at}, a={a:g}, b={b:g}")
                for p, s, a, b, at in alike
            ],
            tolerance=1e-12,
        ),
        trial(
            "distance of (aW, bH), ab < 0, from NC1 to NC4: every decision is wrong",
            [(off_collapse(p, s), f"{at}, a={a:g}, b={b:g}") for p, s, a, b, at in points if a * b < 0],
            tolerance=1e-12,
            erratum="E10",
        ),
    )


def _few(problem: Problem) -> State:
    return collapsed(problem, 5)


STATEMENTS = (
    Statement(
        id="theorem-3.3",
        place="Theorem 3.3",
        text="On the sphere ρ the least L is nK log(1 + (K-1) exp(-ρ²/(2(K-1) sqrt n))), iff collapsed, centred and "
        "|W| = |H|.",
        quantifier="for all K, n, ρ and d >= K-1",
        errata=("E12",),
        functions=("Problem.optimum", "escape", "polish"),
        test="tests/problem/test_optimum.py",
        expected=Verdict.CORRECTED,
        check=_least,
    ),
    Statement(
        id="remark-3.2",
        place="Remark 3.2",
        text="(αW, βH) stays collapsed for αβ > 0; its margin is 2αβ/(α² + β²) of the bound, the best for α = β.",
        quantifier="for all collapsed (W, H), |W| = |H|, all α, β",
        errata=("E10",),
        functions=("margin", "measure"),
        test="tests/theory/test_lemma_3_1.py",
        expected=Verdict.CORRECTED,
        check=_scaled,
    ),
)
