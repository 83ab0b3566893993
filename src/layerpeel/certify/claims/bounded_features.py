"""Table 1, [9], [24] and [39]: classifiers and features in norm balls, on spheres, logits in a ball.

All three bounds keep |Z|_* or the logits bounded, the loss is convex in Z, and for equal classes the best Z is q P Y
with the largest margin q that the bound allows: the mean loss is log(1 + (K-1) e^{-q}).
"""

from collections.abc import Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.known_optima import above, bounded_below, descended, golden
from layerpeel.collapse import measure
from layerpeel.dynamics import descend
from layerpeel.problem import Problem, lpm, output_ball, sphere

__all__ = ["STATEMENTS"]

BALLS = (
    (lpm(10, 3, 9, 1, 5), 0.5597815240),
    (lpm(4, 1, 4, 1, 1), 0.5826576531),
    (lpm(5, 10, 8, 2 * 10 / 5, 2 * 10 / 50), 0.6004630042),  # equation (1), C1 = C2 = 10
)
SPHERES = ((sphere(4, 1, 3, 1.0, tied=True), 2.330630612247), (sphere(10, 1, 9, 1.0, tied=True), 13.769349204502))
OUTPUTS = ((output_ball(4, 1.0), 0.6654962406),)
LOW = ((4, 2, 2.50609350, "a square"), (6, 3, 5.74886259, "an octahedron"))
"""K, d < K-1, the least loss at tau = 1, and its vectors."""


def _balls() -> tuple[Evidence, ...]:
    problems = [problem for problem, _ in BALLS]
    return (
        golden(BALLS, tolerance=6e-11),
        above(problems),
        bounded_below(problems),
        descended([(lpm(4, 3, 5, 1, 1), 30.0)]),
        trial("distance of the optimum from NC1 to NC4", map(_from_collapse, problems), tolerance=1e-12),
    )


def _on_spheres() -> tuple[Evidence, ...]:
    free = [sphere(4, 2, 5, 1.5), sphere(5, 3, 4, 4.0)]
    tied = [problem for problem, _ in SPHERES]
    return (
        golden(SPHERES, tolerance=6e-13),
        above([*tied, *free]),
        bounded_below([*tied, *free]),
        descended([(sphere(5, 1, 4, 1.0, tied=True), 0.2), (free[0], 0.2)]),
        trial("d < K-1: least loss of 10 descents less the golden value", _low(), tolerance=1e-8),
    )


def _outputs() -> tuple[Evidence, ...]:
    problems = [problem for problem, _ in OUTPUTS] + [output_ball(10, 3.0, n=2)]
    return (golden(OUTPUTS, tolerance=6e-11), above(problems), bounded_below(problems), descended([(problems[0], 5.0)]))


def _from_collapse(problem: Problem) -> tuple[float, str]:
    state = problem.optimum().state
    report = measure(state.H.T, problem.labels, classifier=state.W)
    gaps = (report.within_class_variation, report.mean_angle_gap, report.duality_gap, report.nc4_mismatch)
    return max(gaps), f"K={problem.K}, n={problem.n[0]}, d={problem.d}"


def _low() -> Iterator[tuple[float, str]]:
    import optax

    for K, d, value, shape in LOW:
        problem = sphere(K, 1, d, 1.0, tied=True)
        run = descend(problem, problem.init(range(10), scale=1.0), optax.sgd(0.2), 5_000, record=2)
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
