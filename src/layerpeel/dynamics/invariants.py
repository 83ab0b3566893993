"""What a gradient flow conserves, and how far an integration has drifted from it (fact F3).

For any loss of Z = W H (+ b 1') with nothing added, d/dt (W'W - HH') = 0; where the loss does not change when all
logits of a sample shift together, as cross-entropy, also d/dt 1'W = 0. With hidden layers, Z = W M_1 .. M_L H, every
two neighbours A, B of the chain conserve A'A - BB': W'W - M_1 M_1', M_1'M_1 - M_2 M_2', .., M_L'M_L - HH'. (Under a
ridge of equal weights lam these fall like e^{-2 lam t}.) A numerical flow keeps them up to its errors, so their drift
judges the tolerance with no reference solution at hand: within-class variation at late times is set by
W'W - HH' alone.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import evaluate

__all__ = ["Invariants", "balance", "column_sums"]


def balance(state: State) -> Float[np.ndarray, "*seed pair d d"]:
    """A'A - BB' of neighbours A, B in W, M_1, .., M_L, H; without hidden layers W'W - HH' alone.

    Zero where neighbours have the same norms along every direction between them.
    """
    return np.subtract(*_grams(state))


def _grams(state: State) -> tuple[np.ndarray, np.ndarray]:
    """A'A and BB' of neighbours A, B."""
    between = [] if state.hidden is None else list(np.moveaxis(state.hidden, -3, 0))
    left = [A.swapaxes(-1, -2) @ A for A in (state.W, *between)]
    right = [B @ B.swapaxes(-1, -2) for B in (*between, state.H)]
    return np.stack(left, axis=-3), np.stack(right, axis=-3)


def column_sums(state: State) -> Float[Any, "*seed d"]:
    """1'W, the sum of the classifiers."""
    return state.W.sum(-2)


@dataclass(frozen=True, eq=False)
class Invariants:
    """The conserved quantities of the flow that starts at ``start`` (one state)."""

    problem: Problem
    start: State

    def drift(self, state: State) -> dict[str, float]:
        """Name -> distance from the start's value, relative to the size of what it is the difference of.

        ``balance_drift`` = |B - B0|_F / (|W'W|_F + |HH'|_F) with B = W'W - HH', ``column_sum_drift`` = |1'W - 1'W0| /
        |W|_F; of several pairs of neighbours |.|_F is over all. Nothing where nothing of the kind is conserved: with a
        regulariser or a constraint.
        """
        if not self._conserves:
            return {}
        drifts = {"balance_drift": _ratio(np.linalg.norm(self._balance_change(state)), _size(state))}
        if self._shifts:
            change = np.linalg.norm(column_sums(state) - column_sums(self.start))
            drifts["column_sum_drift"] = _ratio(change, np.linalg.norm(state.W))
        return drifts

    def broken(self, state: State) -> bool:
        """Whether W'W - HH' has drifted by more than 1% of itself and more than 1e-8 of its size."""
        if not self._conserves:
            return False
        change = np.linalg.norm(self._balance_change(state))
        return bool(change > 1e-2 * np.linalg.norm(balance(self.start)) and change > 1e-8 * _size(state))

    def _balance_change(self, state: State) -> Float[np.ndarray, "pair d d"]:
        return balance(state) - balance(self.start)

    @property
    def _conserves(self) -> bool:
        problem = self.problem
        return problem.regulariser is None and problem.constraint is None

    @cached_property
    def _shifts(self) -> bool:
        """Whether shifting the logits of a sample changes nothing: then every column of dL/dZ sums to 0."""
        G = evaluate(pure.log_logit_gradient, self.problem, self.start)
        return bool(np.abs(G.sum(axis=0)).max() <= 1e-12 * np.abs(G).max())


def _size(state: State) -> float:
    return float(sum(np.linalg.norm(gram) for gram in _grams(state)))


def _ratio(change: Any, size: Any) -> float:
    return float(change / size) if size > 0 else 0.0
