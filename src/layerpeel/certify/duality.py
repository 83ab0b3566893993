"""How far any point of a regularised or bounded model can be above the global optimum: a proof by duality.

The loss L is convex in the logits Z = X + b 1', X = W H, and not negative. With G = dL/dZ, every s in [0, 1] gives a
plane below it, L(Z') >= s (L - <G, Z> + <G, Z'>): the tangent plane at Z mixed with 0. The model adds to the plane what
:mod:`layerpeel.certify.reach` knows: s G has a least value in it for s <= s_max (all of them in a bounded set, with
its depth; s_max = min(1, lam/sigma_1) under a ridge), and the bias takes s^2 |G 1|^2/(2 lam_b). Hence

    F* >= max over 0 <= s <= s_max of s (L - <G, Z> - depth) - s^2 |G 1|^2/(2 lam_b),

F the objective. It holds at every point, critical or not, for any class sizes and any d, and closes at an optimum
where L is smooth and d has room for it. For balls it is the gap of the Frank-Wolfe method.

The bias is minimised out first (:mod:`layerpeel.certify.best_bias`), so that its own slope does not spoil the bound.
Under a free bias, lam_b = 0, that slope must be 0: with more than rounding left the bound is 0, the least that a loss
can be.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerpeel.certify.best_bias import best_bias
from layerpeel.certify.convex_loss import ConvexLoss
from layerpeel.certify.reach import reach, ridge_of
from layerpeel.certify.sphere import MOST
from layerpeel.problem import NonNegative, NormBalls, OutputBall, Problem, Ridge, Spheres, State
from layerpeel.problem.boundary import admit_in_set, admit_one
from layerpeel.problem.options import need_not_negative
from layerpeel.problem.problem import need_problem

__all__ = ["DualityGap", "duality_gap"]

TOL = 1e-10
EPS = float(np.finfo(float).eps)
ROUNDINGS = 8
"""How many roundings to a result are allowed for."""
AT_REST = 1e-11
"""|G 1| below this part of sum |G| is rounding."""


@dataclass(frozen=True, eq=False)
class DualityGap:
    """What is proved at one point.

    Attributes:
        value: the objective F there.
        lower_bound: no state of the model has an objective below this.
        sigma: how steep the loss is in the logits: sigma_1(G) (balls: of G diag(a)^{-1/2}; H >= 0: sigma_+; logits in a
            ball: sum_i |g_i|).
        lam: what the model holds against it, sqrt(lam_W lam_H) or -<G, X>/T; at a critical point, optimal iff sigma <=
            lam.
        resolution: what float64 makes of the two values.
        tol: the part of the objective up to which a point is called optimal.
        gradient: G, at the best bias.
    """

    value: float
    lower_bound: float
    sigma: float
    lam: float
    resolution: float
    tol: float
    gradient: Float[np.ndarray, "K N"]

    @property
    def gap(self) -> float:
        """value - lower_bound >= F - F*."""
        return max(0.0, self.value - self.lower_bound)

    @property
    def optimal(self) -> bool:
        """Whether the gap is at most the part ``tol`` of the value, or what float64 can resolve."""
        return self.gap <= max(self.tol * self.value, self.resolution)

    def __str__(self) -> str:
        verdict = f"globally optimal, to a part {self.tol:g}" if self.optimal else "not proved optimal"
        return (
            f"{verdict}: objective {self.value:.12g}, least objective >= {self.lower_bound:.12g}, gap {self.gap:.3g} "
            f"(sigma = {self.sigma:.6g}, lam = {self.lam:.6g})"
        )


def duality_gap(problem: Problem, state: State, *, tol: float = TOL) -> DualityGap:
    """A bound on how far ``state`` is above the least objective of ``problem``, at any state of it.

    Args:
        problem: two factors, a loss that is convex in the logits and not negative; a ridge, with or without features >=
            0, or norm balls, spheres or logits in a ball; a bias of any weight.
        state: any state, in the set of the problem.
        tol: the part of the objective up to which it is called optimal.

    Raises:
        ValueError: for another problem, a loss that is not convex, a state that does not fit it, a seed axis, a state
            outside of its set or with |theta|^2 > 1e100, a tol that is not finite or < 0, or a loss that is negative or
            not finite there.

    Fang et al. 2021 (balls), Zhu et al. 2021 (ridge), by facts F1 and F2 of the theory page.
    """
    loss, state = _admit(problem, state)
    tol = need_not_negative("tol", tol)
    lam_b = float(ridge_of(problem).lam_b)
    X = state.W @ state.H
    b = np.zeros(problem.K) if state.b is None else best_bias(loss, X, state.b, lam_b=lam_b)
    Z = X + b[:, None]
    L, G = loss.value_and_gradient(Z)
    found = reach(problem, G, X)
    pull = 0.0 if state.b is None else _pull(G, lam_b)
    value = float(problem.objective(state))
    return DualityGap(
        value=value,
        lower_bound=_highest(L - float(np.vdot(G, Z)) - found.depth, pull, found.most),
        sigma=found.sigma,
        lam=found.lam,
        resolution=ROUNDINGS * EPS * (value + float(np.abs(G * Z).sum()) + found.depth),
        tol=tol,
        gradient=G,
    )


def _highest(rise: float, pull: float, most: float) -> float:
    """max over 0 <= s <= most of s rise - s^2 pull."""
    if rise <= 0 or pull == math.inf:
        return 0.0
    s = most if 2 * most * pull <= rise else rise / (2 * pull)
    return s * (rise - s * pull)


def _pull(G: Float[np.ndarray, "K N"], lam_b: float) -> float:
    """|G 1|^2/(2 lam_b): how far a bias goes down the plane; of a free one, 0 or infinity."""
    slope = G.sum(axis=1)
    if lam_b > 0:
        return float(slope @ slope) / (2 * lam_b)
    return 0.0 if np.abs(slope).sum() <= AT_REST * np.abs(G).sum() else math.inf


def _admit(problem: Problem, state: State) -> tuple[ConvexLoss, State]:
    need_problem(problem)
    _need_convex_model(problem)
    loss, state = ConvexLoss(problem), admit_one(problem, state)
    _need_norm(state)
    admit_in_set(problem, state)
    return loss, state


def _need_norm(state: State) -> None:
    with np.errstate(over="ignore"):
        rho2 = float(state.squared_norm)
    if rho2 > MOST:
        raise ValueError(f"need a state with |theta|^2 <= {MOST:g}, whose powers float64 holds, got {rho2:g}")


def _need_convex_model(problem: Problem) -> None:
    """Raise unless the objective is known to be convex in the logits, once its norms are minimised out."""
    ridge, constraint = problem.regulariser, problem.constraint
    if problem.depth > 2:
        raise ValueError(f"need two factors, W and H: more make no convex function of the logits, got {problem.depth}")
    if not (ridge is None or isinstance(ridge, Ridge)):
        raise ValueError(f"need a layerpeel.Ridge or no regulariser, got {ridge!r}")
    if isinstance(constraint, NormBalls | Spheres | OutputBall):
        if ridge is not None:
            raise ValueError(f"need a ridge or a bounded set, got both, {ridge!r} and {constraint!r}")
    elif not (constraint is None or isinstance(constraint, NonNegative)):
        raise ValueError(f"need a constraint of this package or none, got {constraint!r}")
    elif ridge is None and problem.loss.vanishes:
        raise ValueError(
            "need a problem with a least objective (global_certificate answers for the unconstrained model, on a "
            "sphere), got one without ridge and bounded set whose loss only tends to 0"
        )
