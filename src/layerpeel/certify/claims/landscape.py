"""Theorem 3.4: from every point that is not optimal on its sphere a tangent line goes down, and so does the sphere.

Tried at random points, around collapse, where W or H vanishes, and at the block points, which are critical but not
optimal. With lam = -<theta, grad L> / rho^2 the multiplier of the sphere and a unit a, W a = 0, H'a = 0, the unit
direction (u a', -a v')/sqrt 2 of the top singular pair of G = dL/dZ has curvature -(sigma_1(G) - lam) on the sphere and
-sigma_1(G) along its tangent line. So a tangent line may fall where the sphere does not: at the optimum, sigma_1 = lam.
"""

from collections.abc import Callable, Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.low_dimension import square_rise, trapped_curvature
from layerpeel.certify.claims.points import (
    around_collapse,
    each_point,
    each_problem,
    random_points,
    size,
    stack,
    summed,
)
from layerpeel.certify.escape import Escape, escape
from layerpeel.certify.global_certificate import global_certificate
from layerpeel.certify.sphere import onto_sphere, tangent
from layerpeel.problem import Problem, State
from layerpeel.problem.block_points import block_point

__all__ = ["BLOCKS", "STATEMENTS", "block"]

BLOCKS = (
    ((4, 1, 4), (2, 2)),
    ((4, 3, 3), (2, 2)),
    ((6, 1, 6), (2, 2, 2)),
    ((6, 1, 6), (3, 3)),
    ((4, 3, 3), (3, 1)),
)
"""(K, n, d) and the blocks."""
GOLDEN = {((4, 1, 4), (2, 2)): 1.7616, ((6, 1, 6), (2, 2, 2)): 1.4049}
"""sigma_1 / lam at own logit c = 2."""
STEPS = np.geomspace(1e-4, 1e-2, 5)
"""Along a tangent line and along the sphere, relative to rho."""
STEEP, DEEP = 0.1, 1e-5
"""A fall is one of more than STEEP times the squared step over rho, or more than DEEP: what is flat does not pass."""


def block(shape: tuple[int, int, int], blocks: tuple[int, ...]) -> tuple[Problem, State]:
    """The block point whose blocks, if they are equal, have own logit 2."""
    problem = summed(*shape)
    return problem, block_point(problem, blocks, rho2=4 * problem.K * np.sqrt(problem.n[0]))


def _descent() -> tuple[Evidence, ...]:
    found = [(p, s, escape(p, s), at) for p, s, at in _suboptimal()]
    return (
        trial(
            "rise of log L from the point to the one that is found on its sphere, plus 1e-5",
            [(_rise(p, s, e) + DEEP, at) for p, s, e, at in found],
            tolerance=1e-12,
        ),
        trial(
            "how far that is from the sphere, relative",
            [(_off_sphere(s, e), at) for _, s, e, at in found],
            tolerance=1e-12,
        ),
        trial(
            "(13): rise of log L along the tangent line over (step/ρ)², plus 0.1, steps of 1e-4 to 1e-2 of ρ",
            [(_steepest(p, s, e, _on_line) + STEEP, at) for p, s, e, at in found],
            tolerance=1e-12,
        ),
        trial(
            "(14): the same along the great circle, at angles of 1e-4 to 1e-2",
            [(_steepest(p, s, e, _on_circle) + STEEP, at) for p, s, e, at in found],
            tolerance=1e-12,
        ),
        trial("at collapse: (L - L*)/L is proved to be at most", _optimal(), tolerance=1e-10),
        trial(
            "curvature at block points over -(σ1 - λ), less 1, and σ1/λ by its formula", _curvatures(), tolerance=1e-4
        ),
        trial(
            "where a tangent line at the optimum falls: rise of log L on the sphere over the squared distance",
            _at_optimum(),
            tolerance=1e-9,
            erratum="E9",
        ),
        trial(
            "d = 1 < K-1, a point with a lower one on its sphere: least eigenvalue of the Riemannian Hessian over L",
            [trapped_curvature()],
            tolerance=1e-6,
            erratum="E12",
        ),
        trial(
            "d = 2 < K-1, a square above the formula of Theorem 3.3: least rise of log L nearby, over the squared "
            "distance",
            [square_rise()],
            tolerance=1e-6,
            erratum="E12",
        ),
    )


def _suboptimal() -> Iterator[tuple[Problem, State, str]]:
    yield from ((p, s, f"random, {at}") for p, s, at in each_point(lambda p: random_points(p, 8)))
    yield from (
        (p, s, f"near collapse, {at}")
        for p, s, at in each_point(lambda p: around_collapse(p, 8, nearest=1e-2, farthest=0.5))
    )
    for problem in each_problem():
        start = problem.init(0, scale=1.0)
        yield problem, State(0 * start.W, start.H), f"{size(problem)}, W = 0"
        yield problem, State(start.W, 0 * start.H), f"{size(problem)}, H = 0"
    for shape, blocks in BLOCKS:
        problem, state = block(shape, blocks)
        yield problem, state, f"{size(problem)}, blocks {blocks}"


def _rise(problem: Problem, state: State, found: Escape) -> float:
    return np.nan if found.state is None else problem.log_objective(found.state) - problem.log_objective(state)


def _off_sphere(state: State, found: Escape) -> float:
    return np.nan if found.state is None else abs(float(found.state.squared_norm / state.squared_norm) - 1)


def _on_line(state: State, direction: State, angle: float) -> State:
    return state + direction * (angle * float(state.squared_norm) ** 0.5)


def _on_circle(state: State, direction: State, angle: float) -> State:
    return state * np.cos(angle) + direction * (np.sin(angle) * float(state.squared_norm) ** 0.5)


def _steepest(problem: Problem, state: State, found: Escape, move: Callable[[State, State, float], State]) -> float:
    """The largest change of log L over the squared step, near the point; nan if the direction is no tangent vector."""
    D = found.direction
    if D is None or abs(state.inner(D)) > 1e-10 * np.sqrt(state.squared_norm):
        return np.nan
    near = stack([move(state, D, step) for step in STEPS])
    return float(((problem.log_objective(near) - problem.log_objective(state)) / STEPS**2).max())


def _optimal() -> Iterator[tuple[float, str]]:
    for problem in each_problem():
        for rho2 in (0.5, 8.0, 60.0):
            found = escape(problem, problem.optimum(rho2=rho2).state)
            yield found.gap if found.optimal else np.nan, f"{size(problem)}, ρ²={rho2:g}"


def _curvatures() -> Iterator[tuple[float, str]]:
    for shape, blocks in BLOCKS:
        problem, state = block(shape, blocks)
        found, certificate = escape(problem, state), global_certificate(problem, state)
        ratio, m = certificate.sigma / certificate.lam, blocks[0]
        equal = len(set(blocks)) == 1
        formula = problem.K / (problem.K - m + m * np.exp(-2 / (m - 1))) if equal else ratio
        curvature = _sphere_curvature(problem, state, found.direction) / (certificate.lam - certificate.sigma)
        errors = (curvature - 1, ratio / formula - 1, ratio - GOLDEN.get((shape, blocks), ratio))
        yield max(map(abs, errors)), f"{size(problem)}, blocks {blocks}: σ1/λ = {ratio:.4f}"


def _sphere_curvature(problem: Problem, state: State, direction: State | None, step: float = 1e-3) -> float:
    """The second derivative of log L along a great circle, by central differences."""
    if direction is None:
        return np.nan
    ends = [onto_sphere(state + side * step * direction, state.squared_norm) for side in (1, -1)]
    return sum(problem.log_objective(end) - problem.log_objective(state) for end in ends) / step**2


def _at_optimum() -> Iterator[tuple[float, str]]:
    """Tangent directions at collapse, nearly rotations: the line falls there, as the norm grows; does the sphere?"""
    for problem in (summed(4, 3, 3), summed(4, 1, 4), summed(5, 10, 20)):
        state = problem.optimum(rho2=8.0).state
        for seed in range(20):
            phi = _near_rotation(problem, state, seed)
            line = state + 1e-2 * phi
            fall = problem.log_objective(line) - problem.log_objective(state)
            rise = problem.log_objective(onto_sphere(line, 8.0)) - problem.log_objective(state)
            yield (
                rise / (1e-2) ** 2 if fall < -1e-7 else np.nan,
                f"{size(problem)}, ρ²=8: log L changes by {fall:.2e} on the line, by {rise:+.2e} on the sphere",
            )


def _near_rotation(problem: Problem, state: State, seed: int) -> State:
    """A unit tangent vector: a rotation of R^d, along which L is flat on the sphere, with a tenth of noise."""
    A = np.random.default_rng(seed).normal(size=(problem.d, problem.d))
    turn = State(state.W @ (A - A.T), -(A - A.T) @ state.H)
    noise = tangent(state, problem.init(seed, scale=1.0))
    mixed = turn * turn.squared_norm**-0.5 + 0.1 * noise * noise.squared_norm**-0.5
    return mixed * mixed.squared_norm**-0.5


STATEMENTS = (
    Statement(
        id="theorem-3.4",
        place="Theorem 3.4",
        text="From a point that is not optimal on its sphere L falls, strictly, along a tangent line (13) and, as near "
        "as wanted, on the sphere (14).",
        quantifier="for all θ != 0, K, n and d >= K-1",
        equations=(13, 14),
        errata=("E9", "E12"),
        functions=("escape", "polish", "curvature"),
        test="tests/theory/test_theorem_3_4.py",
        expected=Verdict.CORRECTED,
        check=_descent,
    ),
)
