"""Table 1, [9], [24] and [39]: classifiers and features in norm balls, on spheres, logits in a ball.

All three bounds keep |Z|_* or the logits bounded, the loss is convex in Z, and for equal classes the best Z is q P Y
with the largest margin q that the bound allows: the mean loss is log(1 + (K-1) e^{-q}).
"""

from collections.abc import Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.finished import finished
from layerpeel.certify.claims.known_optima import above, bounded_below, descended, golden, named
from layerpeel.certify.claims.points import off_collapse
from layerpeel.dynamics import descend
from layerpeel.problem import Problem, lpm, minority_collapse_threshold, output_ball, sphere
from layerpeel.problem.two_groups import TwoGroups

__all__ = ["STATEMENTS"]

BALLS = (
    (lpm(10, 3, 9, 1, 5), 0.5597815240),
    (lpm(4, 1, 4, 1, 1), 0.5826576531),
    (lpm(5, 10, 8, 2 * 10 / 5, 2 * 10 / 50), 0.6004630042),  # equation (1), C1 = C2 = 10
)
SPHERES = ((sphere(4, 1, 3, 1.0, tied=True), 2.330630612247), (sphere(10, 1, 9, 1.0, tied=True), 13.769349204502))
OUTPUTS = ((output_ball(4, 1.0), 0.6654962406),)
RATIOS = (((5, 5, 1, 5), 12.192447), ((3, 7, 1, 5), 245.496931), ((2, 2, 1, 1), 3.380488))
"""(K_A, K_B, E_W, E_H), R0."""
COSINES = ((1.0, -0.1111), (10**0.5, -0.0172), (10.0, 0.5175), (10**1.1, 1.0))
"""R and the cosine of two minority classifiers at (5, 5, 1, 5)."""
LOW = ((4, 2, 2.50609350, "a square"), (6, 3, 5.74886259, "an octahedron"))
"""K, d < K-1, the least loss at tau = 1, and its vectors."""


def _balls() -> tuple[Evidence, ...]:
    problems = [problem for problem, _ in BALLS]
    return (
        golden(BALLS, tolerance=6e-11),
        above(problems),
        bounded_below(problems),
        descended([(problems[1], 10.0)]),
        trial("distance of the optimum from NC1 to NC4", map(_at_the_optimum, problems), tolerance=1e-12),
    )


def _on_spheres() -> tuple[Evidence, ...]:
    free = [sphere(4, 3, 3, 4.0)]
    tied = [problem for problem, _ in SPHERES]
    return (
        golden(SPHERES, tolerance=6e-13),
        above([*tied, *free]),
        bounded_below([*tied, *free]),
        descended([(tied[0], 0.2), (free[0], 0.2)]),
        trial("d < K-1: least loss of 10 descents less the golden value", _low(), tolerance=1e-8),
    )


def _outputs() -> tuple[Evidence, ...]:
    problems = [problem for problem, _ in OUTPUTS] + [output_ball(10, 3.0, n=2)]
    return (golden(OUTPUTS, tolerance=6e-11), above(problems), bounded_below(problems), descended([(problems[0], 5.0)]))


def _minority() -> tuple[Evidence, ...]:
    found = [(minority_collapse_threshold(KA=a, KB=b, E_W=w, E_H=h), value) for (a, b, w, h), value in RATIOS]
    fang = TwoGroups(5, 5, 1.0, 5.0)
    cosines = [(abs(fang.minority_cosine(R) - cosine), f"R={R:.4g}") for R, cosine in COSINES]
    return (
        trial("R0 less its golden value", [(abs(R0 - value), f"{R0:.6f}") for R0, value in found], tolerance=6e-7),
        trial("cosine of the minority classifiers less its golden value", cosines, tolerance=6e-5),
        trial("slope of the least loss in the minority's angle: < 0 below R0, > 0 above", _slopes(), tolerance=1e-12),
    )


def _slopes() -> Iterator[tuple[float, str]]:
    """At R0 (1 -+ 1e-6), with the sign that makes what is expected negative."""
    case = (2, 2, 1.0, 1.0)
    R0 = minority_collapse_threshold(KA=2, KB=2, E_W=1, E_H=1)
    for sign in (1, -1):
        yield sign * TwoGroups(*case).slope_at_collapse(R0 * (1 - sign * 1e-6)), f"R0 (1 {-sign:+d}e-6)"


def _at_the_optimum(problem: Problem) -> tuple[float, str]:
    return off_collapse(problem, problem.optimum().state), named(problem)


def _low() -> Iterator[tuple[float, str]]:
    import optax

    for K, d, value, shape in LOW:
        problem = sphere(K, 1, d, 1.0, tied=True)
        run = finished(descend(problem, problem.init(range(10), scale=1.0), optax.sgd(0.2), 5_000, record=2))
        least = float(np.min(run.metrics["loss"].values[:, -1]))
        yield abs(least - value), f"K={K}, d={d}: {least:.8f}, {shape}"


STATEMENTS = (
    Statement(
        id="norm-balls",
        place="Fang et al. 2021, Theorem 1",
        text="In the balls (1/K) |W|² <= E_W, (1/N) |H|² <= E_H the least mean loss is "
        "log(1 + (K-1) exp(-K/(K-1) sqrt(E_W E_H))), iff collapsed.",
        quantifier="for equal classes, all E_W, E_H and d >= K-1",
        functions=("lpm", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_balls,
    ),
    Statement(
        id="minority-collapse",
        place="Fang et al. 2021, Theorem 5",
        text="In the same balls with K_A classes R times as large as K_B others, the minority classifiers coincide "
        "from a finite R0 on, not only as R grows without end.",
        quantifier="any K_A >= 1, K_B >= 2, E_W, E_H and d >= K; looked at in three settings",
        functions=("minority_collapse_threshold", "lpm", "Problem.optimum"),
        test="tests/problem/test_thresholds.py",
        expected=Verdict.HOLDS,
        check=_minority,
    ),
    Statement(
        id="spheres",
        place="Lu and Steinerberger 2020, Theorem 1",
        text="Of unit vectors with logits tau <u_i, u_j> a simplex has the least loss, K log(1 + (K-1) "
        "exp(-tau K/(K-1))); so have free classifiers and more samples.",
        quantifier="for all tau and d >= K-1; below, another frame",
        functions=("sphere", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_on_spheres,
    ),
    Statement(
        id="output-ball",
        place="Wojtowytsch and E 2020",
        text="Of logits of norm R at most those on the vertices of a simplex have the least mean loss, "
        "log(1 + (K-1) exp(-R sqrt(K/(K-1)))).",
        quantifier="for all K and R",
        functions=("output_ball", "Problem.optimum"),
        test="tests/problem/test_named.py",
        expected=Verdict.HOLDS,
        check=_outputs,
    ),
)
