"""Two sizes of classes in the layer-peeled model of Fang, He, Long and Su 2021: by symmetry a program of four scalars.

K_A majority classes have R times as many samples as each of the K_B minority classes; c_A and c_B are the shares of one
class of them in all samples. The optimum over classifiers and features is that of the convex program

    min over Z in R^{K x K} of sum_k c_k CE(z_k, k)   with   |Z|_* <= T = K sqrt(E_W E_H),

whose solutions can be averaged over permutations within both groups. What is left are two centred blocks, with x and y
on their diagonals less off them, and one mode between the groups, of singular value s = sqrt(K (K_B p^2 + K_A r^2)):

    f = c_A K_A log(1 + (K_A-1) e^{-x} + K_B e^{-a}) + c_B K_B log(1 + (K_B-1) e^{-y} + K_A e^{-b}),
    a = ((K_A-1) x + K p)/K_A,   b = ((K_B-1) y + K r)/K_B,   (K_A-1) x + (K_B-1) y + s <= T,   x, y >= 0.

The bound is active, hence s = T - (K_A-1) x - (K_B-1) y, and (p, r) is an angle: p = s cos(phi)/sqrt(K K_B), r = s
sin(phi)/sqrt(K K_A). The classifiers of the minority have, with u = s K_A/(K K_B), the cosine

    (u - y/K_B) / (u + y (1 - 1/K_B)).

They coincide iff y = 0, which holds from a finite R0 on (:mod:`layerpeel.problem.thresholds`): where at the least f
with y = 0 a larger y does not lower f.
Where s = 0 as well they are 0 themselves, and their cosine is taken as 1, what it is before they vanish. Not for d <
K - 1, where the program is not the model.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

__all__ = ["TwoGroups", "vanishing_ratio"]

NEWTON_STEPS = 8


@dataclass(frozen=True)
class TwoGroups:
    """The program of ``KA`` majority and ``KB`` minority classes.

    Attributes:
        KA: number of majority classes, >= 1.
        KB: number of minority classes, >= 2, so that there is an angle between them.
        E_W: bound of the mean squared norm of the classifiers, > 0.
        E_H: bound of the mean squared norm of the features, > 0.

    Raises:
        ValueError: for fewer classes, or bounds that are not positive and finite.
    """

    KA: int
    KB: int
    E_W: float
    E_H: float

    def __post_init__(self) -> None:
        if self.KA < 1 or self.KB < 2:
            raise ValueError(f"need KA >= 1 and KB >= 2, got KA={self.KA} and KB={self.KB}")
        if not (0 < self.E_W < math.inf and 0 < self.E_H < math.inf):
            raise ValueError(f"need E_W > 0 and E_H > 0, both finite, got E_W={self.E_W} and E_H={self.E_H}")

    @property
    def K(self) -> int:
        """Number of classes."""
        return self.KA + self.KB

    @property
    def T(self) -> float:
        """The bound of the nuclear norm."""
        return self.K * math.sqrt(self.E_W * self.E_H)

    def loss(self, R: float) -> float:
        """The least mean cross-entropy at the ratio R >= 1."""
        return float(_with_derivatives(self, self._optimum(R), R)[0])

    def minority_cosine(self, R: float) -> float:
        """The cosine of two classifiers of the minority at the optimum: -1/(K-1) at R = 1, and 1 from R0 on."""
        optimum = self._optimum(R)
        u, y = self.between(optimum) * self.KA / (self.K * self.KB), optimum[1]
        return float((u - y / self.KB) / (u + y * (1 - 1 / self.KB))) if y > 0 else 1.0

    def slope_at_collapse(self, R: float) -> float:
        """df/dy less its price at the least f with y = 0, over c_B: below 0 for R < R0, above 0 for R > R0.

        The price of the bound is that of x, or of s where there is one majority class and no x.
        """
        return _slope_at_collapse(self, _least(self, R, (0, 2)), R)

    def between(self, v: Any) -> Any:
        """s, the singular value of the mode between the groups, at v = (x, y, phi)."""
        return _between(self._numbers, v)

    @property
    def _numbers(self) -> "_Numbers":
        return _Numbers(float(self.KA), float(self.KB), self.T)

    @property
    def weights(self) -> Float[np.ndarray, "2"]:
        """What x and y cost of the bound."""
        return np.array([self.KA - 1.0, self.KB - 1.0])

    def _optimum(self, R: float) -> Float[np.ndarray, "3"]:
        if not 1 <= R < math.inf:
            raise ValueError(f"need a finite ratio R >= 1, got R={R}")
        return _optimum(self, R)


def vanishing_ratio(KA: int, KB: int, E_W: float, E_H: float) -> float:
    """R1: from this ratio on the minority classifiers are 0 at the optimum; infinite if they never are.

    At s = y = 0, x = T/(K_A-1), a = T/K_A the steepest fall of f along s, over all (p, r), is the length of (c_A A,
    c_B B) with A = sqrt(K K_B) e^{-a}/D, B = sqrt(K_A/K), D = 1 + (K_A-1) e^{-x} + K_B e^{-a}; the price of the bound
    is c_A M, M = (K_A e^{-x} + K_B e^{-a})/D. They are equal at R1 = B/sqrt(M^2 - A^2). One majority class has no x.
    """
    program = TwoGroups(KA, KB, E_W, E_H)
    if KA == 1:
        return math.inf
    ex, ea = math.exp(-program.T / (KA - 1)), math.exp(-program.T / KA)
    D = 1 + (KA - 1) * ex + KB * ea
    M, A = (KA * ex + KB * ea) / D, math.sqrt(program.K * KB) * ea / D
    return math.sqrt(KA / program.K / (M**2 - A**2)) if M > A else math.inf


class _Numbers(NamedTuple):
    """K_A, K_B and the bound T, as numbers that the compiled objective takes: one serves all programs."""

    KA: Any
    KB: Any
    T: Any


def _between(numbers: _Numbers, v: Any) -> Any:
    KA, KB, T = numbers
    return T - (KA - 1) * v[0] - (KB - 1) * v[1]


def _objective(numbers: _Numbers, v: Any, R: Any) -> Float[Any, ""]:
    """F at v = (x, y, P, Q), P = sqrt(K K_B) p and Q = sqrt(K K_A) r, s = |(P, Q)|."""
    KA, KB, _ = numbers
    x, y, P, Q = v
    a = ((KA - 1) * x + P * jnp.sqrt((KA + KB) / KB)) / KA
    b = ((KB - 1) * y + Q * jnp.sqrt((KA + KB) / KA)) / KB
    majority = jnp.log1p((KA - 1) * jnp.exp(-x) + KB * jnp.exp(-a))
    minority = jnp.log1p((KB - 1) * jnp.exp(-y) + KA * jnp.exp(-b))
    return (R * KA * majority + KB * minority) / (R * KA + KB)


def _on_bound(numbers: _Numbers, v: Any, R: Any) -> Float[Any, ""]:
    """F at v = (x, y, phi), the bound active."""
    s = _between(numbers, v)
    return _objective(numbers, jnp.stack([v[0], v[1], s * jnp.cos(v[2]), s * jnp.sin(v[2])]), R)


@jax.jit
def _compiled(numbers: _Numbers, v: Any, R: Any) -> tuple[Any, ...]:
    return jax.value_and_grad(_objective, argnums=1)(numbers, v, R)


@jax.jit
def _compiled_on_bound(numbers: _Numbers, v: Any, R: Any) -> tuple[Any, ...]:
    value, slope = jax.value_and_grad(_on_bound, argnums=1)(numbers, v, R)
    return value, slope, jax.hessian(_on_bound, argnums=1)(numbers, v, R)


def _with_derivatives(program: TwoGroups, v: np.ndarray, R: float) -> list[np.ndarray]:
    """F and its derivatives: the gradient at the four scalars; gradient and Hessian at (x, y, phi) on the bound."""
    with jax.enable_x64(True):
        found = (_compiled if len(v) == 4 else _compiled_on_bound)(program._numbers, v, float(R))
        return [np.asarray(x) for x in found]


def _slope_at_collapse(program: TwoGroups, v: np.ndarray, R: float) -> float:
    slope = _with_derivatives(program, v, R)[1]
    priced = slope[1] - (program.KB - 1) * (slope[0] / (program.KA - 1) if program.KA > 1 else 0.0)
    return float(priced) * (program.KA * R + program.KB)


@lru_cache(maxsize=256)
def _optimum(program: TwoGroups, R: float) -> Float[np.ndarray, "3"]:
    """(x, y, phi) of the least f: with y = 0 where a larger y does not lower it."""
    collapsed = _least(program, R, (0, 2))
    optimum = collapsed if _slope_at_collapse(program, collapsed, R) >= 0 else _least(program, R, (0, 1, 2))
    optimum.flags.writeable = False
    return optimum


def _least(program: TwoGroups, R: float, free: tuple[int, ...]) -> Float[np.ndarray, "3"]:
    """(x, y, phi) of the least f, y = 0 unless it is ``free``: a minimum within the bounds, then Newton's method."""
    weights, T, every = program.weights, program.T, program.T / (program.K - 1)
    if 1 not in free and vanishing_ratio(program.KA, program.KB, program.E_W, program.E_H) <= R:
        return np.array([T / (program.KA - 1), 0.0, 0.0])
    start = np.array([every, every * (1 in free), every * math.sqrt(program.KB / program.K), 0.0])
    start[3] = math.sqrt(every**2 - start[2] ** 2)

    def room(v: np.ndarray) -> Any:
        return T - weights @ v[:2] - math.hypot(v[2], v[3])

    found = minimize(
        lambda v: _with_derivatives(program, v, R),
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, T), (0.0, T * (1 in free)), (0.0, T), (0.0, T)],
        constraints={"type": "ineq", "fun": room, "jac": lambda v: -np.append(weights, v[2:] / math.hypot(v[2], v[3]))},
        options={"ftol": 1e-15, "maxiter": 1000},
    ).x
    v = np.array([found[0], found[1], math.atan2(found[3], found[2])])
    moving = [i for i in free if i != 0 or program.KA > 1]  # one majority class has no x
    for _ in range(NEWTON_STEPS):
        _, slope, curvature = _with_derivatives(program, v, R)
        v[moving] -= np.linalg.solve(curvature[np.ix_(moving, moving)], slope[moving])
    return v
