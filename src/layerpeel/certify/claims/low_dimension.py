"""E12, too few dimensions: what is printed without a condition on d, and is false for d < K - 1.

The logits Z = W H have rank d at most; those of collapse, a multiple of (I - J/K) Y, have K - 1 equal singular values.
So (Eckart and Young) Z differs from every collapsed Z* by sqrt(1 - d/(K-1)) |Z*| at least, and no optimum, which there
is on every sphere, and of (5) for every d >= 2, is collapsed.

Nor is every point that is not optimal on its sphere a saddle or left downhill. With K=4, n=1, d=1 and rho^2 = 200 there
are two kinds of strict local minima, of L = 1.686211 and 2.333230: at the second the Riemannian Hessian is positive
definite (there are no rotations of R^1), its least eigenvalue 9.137e-4. In d = 2 the square at rho^2 = 20 is a local
minimum but for rotations, above the formula of Theorem 3.3; whether it is the optimum of its sphere is not known here.
"""

from functools import cache

import numpy as np

from layerpeel.certify.claims.points import size, stack, summed
from layerpeel.certify.curvature import curvature
from layerpeel.certify.global_certificate import global_certificate
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import onto_sphere, tangent
from layerpeel.certify.sphere_descent import newton_on_sphere
from layerpeel.problem import Problem, State

__all__ = [
    "LOW_DIMENSIONS",
    "distance_from_collapse",
    "formula",
    "lower_than_trapped",
    "square",
    "square_rise",
    "trapped",
    "trapped_curvature",
]

LOW_DIMENSIONS = ((4, 1, 2), (5, 1, 2), (5, 1, 3))
"""(K, n, d) with d < K - 1."""
SQUARE, SQUARE_LOSS = 20.0, 0.63111787
"""K=4, n=1, d=2: rho^2 and L at the square."""
TRAPPED, TRAPPED_LOSS, LOWER_LOSS = 200.0, 2.333230, 1.686211
"""K=4, n=1, d=1: rho^2, L at the higher local minimum and at the lower one."""


def distance_from_collapse(problem: Problem) -> float:
    """The least |Z - Z*| / |Z*| over all Z of rank d, Z* the collapsed logits of any size."""
    values = np.linalg.svd(problem.onehot - 1 / problem.K, compute_uv=False)
    return float(np.linalg.norm(values[problem.d :]) / np.linalg.norm(values))


def formula(problem: Problem, rho2: float) -> float:
    """The least loss on the sphere as Theorem 3.3 prints it, for whatever d."""
    K, n = problem.K, problem.n[0]
    return float(n * K * np.log1p((K - 1) * np.exp(-rho2 / (2 * (K - 1) * np.sqrt(n)))))


def square() -> tuple[Problem, State]:
    """Classifiers and features at the corners of one square."""
    turns = np.arange(4) * np.pi / 2
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.sqrt(SQUARE / 8)
    return summed(4, 1, 2), State(corners, corners.T)


@cache
def square_rise() -> tuple[float, str]:
    """The least rise of log L from the square, over the squared distance from its rotations, nearby on the sphere."""
    problem, state = square()
    noise = stack([tangent(state, problem.init(seed, scale=1.0)) for seed in range(300)])
    reach = np.geomspace(1e-3, 0.3, 300) * np.sqrt(SQUARE / noise.squared_norm)
    near = onto_sphere(State(state.W[None], state.H[None]) + noise * reach, SQUARE)
    distance = np.array([_distance_to_orbit(state, State(W, H)) for W, H in zip(near.W, near.H, strict=True)])
    least = ((problem.log_objective(near) - problem.log_objective(state)) / distance).min()
    loss, printed = problem.objective(state), formula(problem, SQUARE)
    known = abs(loss - SQUARE_LOSS) < 1e-8 and loss > printed
    return least if known else np.nan, f"{size(problem)}, ρ²=20: L = {loss:.8f} there, the formula is {printed:.8f}"


def _distance_to_orbit(state: State, other: State) -> float:
    """Squared distance of ``other`` from the rotations of ``state``."""
    overlap = np.linalg.svd(other.W.T @ state.W + other.H @ state.H.T, compute_uv=False).sum()
    return float(state.squared_norm + other.squared_norm - 2 * overlap)


def trapped() -> tuple[Problem, State]:
    """The higher local minimum on a line."""
    problem = summed(4, 1, 1)
    W, H = (-8.654074, 2.730493, 3.193087, 2.730493), (-0.922032, 0.270248, 9.950065, 0.270248)
    near = onto_sphere(State(np.array([W]).T, np.array([H])), TRAPPED)
    return problem, newton_on_sphere(LogitLoss(problem), near)


def lower_than_trapped() -> State:
    """A point near the lower local minimum, on the same sphere."""
    W, H = (-4.741419, 5.245850, -5.245850, 4.741419), (-0.356687, 7.062066, -7.062066, 0.356687)
    return onto_sphere(State(np.array([W]).T, np.array([H])), TRAPPED)


@cache
def trapped_curvature() -> tuple[float, str]:
    """The least eigenvalue of the Riemannian Hessian over L at the higher local minimum; nan if it is not critical."""
    problem, state = trapped()
    losses = problem.objective(state), problem.objective(lower_than_trapped())
    critical = global_certificate(problem, state).residual < 1e-12
    known = critical and np.abs(np.subtract(losses, (TRAPPED_LOSS, LOWER_LOSS))).max() < 1e-6
    where = f"{size(problem)}, ρ²=200: L = {losses[0]:.6f} there, {losses[1]:.6f} elsewhere on the sphere"
    return curvature(problem, state).relative if known else np.nan, where
