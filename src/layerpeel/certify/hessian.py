"""The Hessians of L on the sphere |theta| = rho, as operators that form no matrix.

With lam = -<theta, grad L>/rho^2 and P the projection on the tangent space {v : <theta, v> = 0} (Definition 3.2 of Ji
et al. 2022; the sphere is that of all coordinates, the bias among them), two operators bear two names:

    projected  (their equation 13)   P Hess L P
    Riemannian (their equation 14)   P (Hess L + lam I) P

On the tangent space they differ by lam I alone: same eigenvectors, eigenvalues lam apart. The Riemannian one is the
Hessian of L on the sphere: along the great circle of a unit tangent v, at every theta, critical or not,

    d^2/ds^2 L(cos(s) theta + sin(s) rho v) = rho^2 <v, (Hess L + lam I) v>    at s = 0.

With Q the projection on the tangent vectors that are orthogonal to the rotation orbit (:mod:`layerpeel.certify.orbit`),
Q (Hess L + lam I) Q is the transversal Hessian: that of L on the sphere modulo rotations.

Units: for an exponential-tailed loss without regulariser everything is divided by L, from Hess L / L = Hess log L +
g g' and lam / L = -<theta, g>/rho^2 with g = grad log L, exact where L underflows; elsewhere the unit is 1. The
derivative of the gradient along v is linearised once a point (jax.linearize): six products of matrices of the sizes
of W, H and W H.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from layerpeel.certify.orbit import RotationOrbit, rotation_orbit
from layerpeel.certify.sphere import tangent
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure

__all__ = ["Compression", "SphereHessian", "sphere_hessian"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["state", "gradient", "multiplier", "log_unit", "orbit", "linear"],
    meta_fields=["of_log"],
)
@dataclass(frozen=True, eq=False)
class SphereHessian:
    """Hess L + lam I at a point, in units of L or of 1: see above. A pytree of jax arrays, for use within float64.

    Attributes:
        state: theta.
        gradient: grad L in the unit.
        multiplier: lam in the unit.
        log_unit: logarithm of the unit: log L, or 0.
        orbit: the rotation orbit at theta.
        linear: v -> Hess log L v, or Hess L v where the unit is 1.
        of_log: whether the unit is L.
    """

    state: State
    gradient: State
    multiplier: Any
    log_unit: Any
    orbit: RotationOrbit
    linear: Callable[[State], State]
    of_log: bool

    def product(self, vector: State) -> State:
        """(Hess L + lam I) v in the unit, for any v and without a projection."""
        curved = self.linear(vector)
        if self.of_log:
            curved = curved + self.gradient.inner(vector) * self.gradient
        return curved + self.multiplier * vector

    def transversal(self, vector: State) -> State:
        """Q v: neither along theta nor along the rotation orbit, which are orthogonal."""
        vector = tangent(self.state, vector)
        return vector - self.orbit.project(vector)


def sphere_hessian(problem: Problem, state: State) -> SphereHessian:
    """The Hessian at ``state``, one point of numpy arrays that is not 0. Within ``jax.enable_x64``."""
    of_log = problem.regulariser is None and problem.loss.vanishes
    orbit = jax.tree.map(jnp.asarray, rotation_orbit(state))
    state = jax.tree.map(jnp.asarray, state)
    gradient, multiplier, log_unit, linear = _linearised(problem, state, of_log=of_log)
    return SphereHessian(state, gradient, multiplier, log_unit, orbit, linear, of_log)


@partial(jax.jit, static_argnames="of_log")
def _linearised(problem: Problem, state: State, *, of_log: bool) -> tuple[State, Any, Any, Callable[[State], State]]:
    """The gradient, lam, the logarithm of the unit, and the derivative of the gradient; compiled once a problem."""
    slope = pure.log_gradient if of_log else pure.gradient
    gradient, linear = jax.linearize(lambda theta: slope(problem, theta), state)
    multiplier = -state.inner(gradient) / state.squared_norm
    return gradient, multiplier, pure.log_objective(problem, state) if of_log else jnp.zeros(()), linear


@dataclass(frozen=True, eq=False)
class Compression:
    """P (Hess L + lam I) P, or with Q for P, on flat vectors of numpy: what an eigensolver takes.

    Attributes:
        hessian: the Hessian at a point.
        transversal: whether the rotation orbit is left out too.
    """

    hessian: SphereHessian
    transversal: bool = False

    @cached_property
    def size(self) -> int:
        """Unknowns: entries of W, H and b."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.hessian.state))

    @property
    def removed(self) -> int:
        """Dimension of what is left out: theta, and the orbit."""
        return 1 + (self.hessian.orbit.dimension if self.transversal else 0)

    def product(
        self, x: Float[np.ndarray, "m"], *, lift: float = 0.0, scale: float = 1.0, shift: float = 0.0
    ) -> Float[np.ndarray, "m"]:
        """scale A x - shift x, A the operator; what is left out is an eigenspace of A, of eigenvalue ``lift``."""
        return np.asarray(_product(self.hessian, x, lift, scale, shift, transversal=self.transversal))

    def project(self, x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """P x or Q x."""
        return np.asarray(_project(self.hessian, x, transversal=self.transversal))

    def as_state(self, x: Float[np.ndarray, "m"]) -> State:
        """The vector as a State of numpy arrays."""
        leaves, structure = jax.tree.flatten(self.hessian.state)
        parts = np.split(x, np.cumsum([leaf.size for leaf in leaves])[:-1])
        arrays = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return cast(State, jax.tree.unflatten(structure, arrays))


@partial(jax.jit, static_argnames="transversal")
def _product(
    hessian: SphereHessian, x: Float[Any, "m"], lift: Any, scale: Any, shift: Any, *, transversal: bool
) -> Float[Any, "m"]:
    vector = ravel_pytree(hessian.state)[1](x)
    inside = _inside(hessian, vector, transversal)
    image = _inside(hessian, hessian.product(inside), transversal) + lift * (vector - inside)
    return scale * ravel_pytree(image)[0] - shift * x


@partial(jax.jit, static_argnames="transversal")
def _project(hessian: SphereHessian, x: Float[Any, "m"], *, transversal: bool) -> Float[Any, "m"]:
    return ravel_pytree(_inside(hessian, ravel_pytree(hessian.state)[1](x), transversal))[0]


def _inside(hessian: SphereHessian, vector: State, transversal: bool) -> State:
    return hessian.transversal(vector) if transversal else tangent(hessian.state, vector)
