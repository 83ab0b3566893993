"""The points at which statements are put to the test: fixed seeds, by the hundreds.

Random points are far from collapse and almost never separate their classes; the statements are sharp at the collapsed
points, the simplex ETFs of any rotation with |W| = |H|, and so are tried around these, at every distance, as well.
Batches carry a leading seed axis. All problems sum the loss, as the paper's theory does.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from layerpeel.certify.margin import margin
from layerpeel.collapse import measure
from layerpeel.frames import random_orthonormal
from layerpeel.problem import Problem, State, ulpm

__all__ = [
    "SIZES",
    "around_collapse",
    "collapsed",
    "each_point",
    "each_problem",
    "off_collapse",
    "random_points",
    "separated",
    "size",
    "stack",
    "summed",
]

SIZES = ((4, 3, 3), (4, 1, 4), (5, 10, 20))
"""(K, n, d), with d = K-1 and beyond, one sample a class and several."""


def summed(K: int, n: int, d: int) -> Problem:
    """The unconstrained layer-peeled model with the summed loss, equation (4)."""
    return ulpm(K, n, d, reduction="sum")


def each_problem() -> list[Problem]:
    """The model at every one of the sizes."""
    return [summed(*shape) for shape in SIZES]


def each_point(sample: Callable[[Problem], State]) -> Iterator[tuple[Problem, State, str]]:
    """Every problem with every point that ``sample`` gives for it, and where that is, in words."""
    for problem in each_problem():
        states = sample(problem)
        for i, (W, H) in enumerate(zip(states.W, states.H, strict=True)):
            yield problem, State(W, H), f"{size(problem)}, point {i}"


def size(problem: Problem) -> str:
    """K, n and d in words."""
    return f"K={problem.K}, n={problem.n[0]}, d={problem.d}"


def stack(states: Sequence[State]) -> State:
    """Points as one batch."""
    return State(np.stack([state.W for state in states]), np.stack([state.H for state in states]))


def random_points(problem: Problem, count: int = 80) -> State:
    """Gaussian points, a third each of scale 0.1, 1 and 3."""
    return stack([problem.init(seed, scale=(0.1, 1.0, 3.0)[seed % 3]) for seed in range(count)])


def collapsed(problem: Problem, count: int = 33, *, logit: float = 1.0) -> State:
    """Simplex ETFs with |W| = |H| and margin ``logit``, each in a random rotation of R^d."""
    unit = problem.optimum("separation").state
    turns = [random_orthonormal(problem.d, problem.d, seed=seed) for seed in range(count)]
    return stack([State(unit.W @ Q.T, Q @ unit.H) * np.sqrt(logit) for Q in turns])


def around_collapse(problem: Problem, count: int = 80, *, nearest: float = 1e-6, farthest: float = 1.0) -> State:
    """Collapsed points moved by Gaussian noise, from ``nearest`` to ``farthest`` of their own norm."""
    sizes = np.geomspace(nearest, farthest, count)
    noise = stack([problem.init(seed, scale=1.0) for seed in range(count)])
    centres = collapsed(problem, count)
    return centres + noise * (sizes * np.sqrt(centres.squared_norm / noise.squared_norm))


def separated(problem: Problem, count: int = 80) -> State:
    """Points around collapse, up to half of their norm away, that separate their classes and have L < log 2.

    They are scaled to margins from just above log(N (K-1) / log 2) to ten times that: L <= N (K-1) e^{-q_min}.
    """
    points = around_collapse(problem, 2 * count, nearest=1e-3, farthest=0.5)
    q = margin(problem, points).q_min
    kept = np.flatnonzero(q > 0)[:count]
    least = np.log(problem.N * (problem.K - 1) / np.log(2.0)) + 0.1
    wanted = np.geomspace(least, 10 * least, len(kept))
    return State(points.W[kept], points.H[kept]) * np.sqrt(wanted / q[kept])


def off_collapse(problem: Problem, state: State) -> float:
    """The largest gap of NC1 to NC4: 0 iff collapsed."""
    report = measure(state.H.T, problem.labels, classifier=state.W)
    return max(report.within_class_variation, report.mean_angle_gap, report.duality_gap, report.nc4_mismatch)
