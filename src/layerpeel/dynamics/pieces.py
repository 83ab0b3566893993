"""Flows in a set, piece by piece: between the moments at which a face is reached or left, the field is smooth.

In a set with faces g_j <= 0 (:mod:`layerpeel.problem.constraints`) the flow theta' = confine(theta, -grad F) jumps
where it meets a face, and an integrator of high order that steps across a jump loses its order or its way. So the faces
that bind are held fixed along a piece, where the field is the smooth slide(theta, -grad F, binding), and a piece ends
where a free face is crossed, g_j > 0, or where the flow turns away from a binding one, d g_j(-grad F) < 0: found on the
interpolating polynomial of the step across it. The next piece starts there, on the set. On spheres, all of whose faces
bind for ever, there is one piece.

What a binding face holds is off by the tolerance of the integrator, and pulled back at rate 1 in t. Not guaranteed:
that a face touched for less than a step is noticed. Vectors y are those of :mod:`layerpeel.dynamics.clock`, and the
clock is dt = (1 + t) ds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from layerpeel.dynamics.clock import apply, flatten, unflatten
from layerpeel.dynamics.cvode import IntegrationFailed, Integrator
from layerpeel.dynamics.rest import gradient_and_size
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.constraints import Constraint

__all__ = ["Pieces", "nearest"]

ACROSS = 10.0
"""How far a gap must be above 0 to count as crossed, in parts of the absolute tolerance: less is its error. Faces that
near where a piece starts are reached with the one that ended the last, by symmetry."""
AWAY = 1e-2
"""How fast a gap must fall for its face to be left, in parts of the relative tolerance of what grad F is made of."""
PIECES_A_FACE = 20
"""Pieces from one wanted time to the next; more means that the flow chatters."""


class Faces(NamedTuple):
    """g, dg(-grad F) and the size of what grad F is made of, at a point."""

    gaps: Float[Any, "face"]
    rates: Float[Any, "face"]
    size: Float[Any, ""]


class Pieces:
    """The flow of a problem with a constraint from y0, a state of its set; as :class:`Integrator` to its users.

    Args:
        problem: one with a constraint.
        y0: the start.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    def __init__(self, problem: Problem, y0: Float[np.ndarray, "m"], *, rtol: float, atol: float) -> None:
        self._problem, self._tolerances = problem, {"rtol": rtol, "atol": atol}
        self._across, self._away = ACROSS * atol, AWAY * rtol
        gaps, rates, _ = _faces(problem, y0)
        self._binding = (gaps >= -self._across) & (_constraint(problem).equality | (rates > 0))
        self._begin(y0)

    @property
    def y(self) -> Float[np.ndarray, "m"]:
        """Where it stands."""
        return self._piece.y

    def advance_to(
        self, time: float, on_step: Callable[[Float[np.ndarray, "m"]], None] = lambda y: None
    ) -> Float[np.ndarray, "m"]:
        """y where its last component is ``time``; see :meth:`Integrator.advance_to`.

        Raises:
            IntegrationFailed: when a step cannot be taken within the tolerances, or the flow chatters.
        """
        most = PIECES_A_FACE * (len(self._binding) + 5)
        for _ in range(most):
            y = self._piece.advance_to(time, on_step)
            if y[-1] >= time:
                return y
            self._binding = self._next_binding(y)
            self._begin(_onto_set(self._problem, y))
        raise IntegrationFailed(f"{most} pieces did not reach the next time")

    def _begin(self, y0: Float[np.ndarray, "m"]) -> None:
        problem, binding = self._problem, self._binding

        def linearize(y: np.ndarray) -> Callable[[np.ndarray], Any]:
            jacobian = _linearized(problem, binding, y)
            return lambda direction: apply(jacobian, direction)

        def slope(y: np.ndarray) -> Any:
            return np.asarray(_slope(problem, binding, y))

        ends = None if _constraint(problem).equality else lambda y: float(self._overdue(y).max())
        self._piece = Integrator(slope, linearize, y0, ends=ends, **self._tolerances)

    def _overdue(self, y: Float[np.ndarray, "m"]) -> Float[np.ndarray, "face"]:
        """Positive for the faces that are crossed and for those that are left."""
        gaps, rates, size = _faces(self._problem, y)
        return np.where(self._binding, -rates - self._away * size, gaps - self._across)

    def _next_binding(self, y: Float[np.ndarray, "m"]) -> Bool[np.ndarray, "face"]:
        """The face that ended the piece changes sides, and with it those that do so within the tolerances."""
        gaps, rates, size = _faces(self._problem, y)
        binding = (self._binding | (gaps > -self._across)) & (rates > -self._away * size)
        latest = np.argmax(self._overdue(y))
        binding[latest] = not self._binding[latest]
        return binding


def _constraint(problem: Problem) -> Constraint:
    assert problem.constraint is not None
    return problem.constraint


@jax.jit
def _slope(problem: Problem, binding: Bool[Any, "face"], y: Float[Any, "m"]) -> Float[Any, "m"]:
    """dy/ds."""
    state, tau = unflatten(problem, y)
    velocity = _constraint(problem).slide(state, -pure.gradient(problem, state), binding)
    return jnp.concatenate([*(jnp.ravel(jnp.exp(tau) * leaf) for leaf in jax.tree.leaves(velocity)), jnp.ones(1)])


@jax.jit
def _linearized(problem: Problem, binding: Bool[Any, "face"], y: Float[Any, "m"]) -> Callable[[Any], Any]:
    return jax.linearize(lambda z: _slope(problem, binding, z), y)[1]


def _faces(problem: Problem, y: Float[np.ndarray, "m"]) -> Faces:
    return Faces(*map(np.asarray, _compiled_faces(problem, y)))


@jax.jit
def _compiled_faces(problem: Problem, y: Float[Any, "m"]) -> Faces:
    state, _ = unflatten(problem, y)
    gradient, size = gradient_and_size(problem, state)
    constraint = _constraint(problem)
    return Faces(constraint.gaps(state), constraint.rates(state, -gradient), size)


def _onto_set(problem: Problem, y: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    return flatten(nearest(problem, y), float(y[-1]))


@jax.jit
def nearest(problem: Problem, y: Float[Any, "m"]) -> State:
    """The state of y, projected on the set of the problem's constraint, if it has one."""
    state, _ = unflatten(problem, y)
    return state if problem.constraint is None else problem.constraint.project(state)
