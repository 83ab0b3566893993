"""Problem (5) by sequential quadratic programming, from random starts: an oracle that knows nothing of collapse.

min (|W|^2 + |H|^2)/2 with (w_k - w_j).h_i >= 1 for every sample i of class k and every j != k. Not convex: what is
found is a local minimum. For small sizes only.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from layerpeel.problem import Problem, State

__all__ = ["local_minima"]

STEPS = 1000


def local_minima(problem: Problem, starts: int) -> list[State]:
    """Feasible local minima of (5), one from each of ``starts`` Gaussian starts that arrives at one."""
    solver = _Solver(problem)
    return [found for found in map(solver.solve, range(starts)) if found is not None]


class _Solver:
    """Problem (5) in the flat vector x = (W, H)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        rivals = np.arange(problem.K)[:, None] != problem.labels
        self.rival, self.sample = np.nonzero(rivals)
        self.own = problem.labels[self.sample]

    def solve(self, seed: int) -> State | None:
        """SLSQP from a Gaussian start, scaled to margins within a hair of feasible."""
        start = self.problem.init(seed, scale=1.0)
        found = minimize(
            lambda x: x @ x / 2,
            np.concatenate([start.W.ravel(), start.H.ravel()]),
            jac=lambda x: x,
            constraints={"type": "ineq", "fun": self.slack, "jac": self.slack_jacobian},
            method="SLSQP",
            options={"maxiter": STEPS, "ftol": 1e-14},
        )
        least = 1.0 + self.slack(found.x).min()
        return self.state(found.x / np.sqrt(least)) if found.success and least > 0 else None

    def state(self, x: Float[np.ndarray, "m"]) -> State:
        """(W, H) of x."""
        K, d = self.problem.K, self.problem.d
        return State(x[: K * d].reshape(K, d), x[K * d :].reshape(d, -1))

    def slack(self, x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "constraint"]:
        """Margins less 1."""
        point = self.state(x)
        Z = point.W @ point.H
        return Z[self.own, self.sample] - Z[self.rival, self.sample] - 1.0

    def slack_jacobian(self, x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "constraint m"]:
        """Row by row: h_i in the row w_k, -h_i in the row w_j, w_k - w_j in the column h_i."""
        point, rows = self.state(x), np.arange(len(self.own))
        dW = np.zeros((len(rows), *point.W.shape))
        dH = np.zeros((len(rows), *point.H.shape))
        dW[rows, self.own] = point.H.T[self.sample]
        dW[rows, self.rival] = -point.H.T[self.sample]
        dH[rows, :, self.sample] = point.W[self.own] - point.W[self.rival]
        return np.concatenate([dW.reshape(len(rows), -1), dH.reshape(len(rows), -1)], axis=1)
