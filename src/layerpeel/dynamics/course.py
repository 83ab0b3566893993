"""Course: one gradient flow from its start to its end, recorded on the way, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from layerpeel.dynamics.clock import apply, clock_of, field, flatten, linearized, tau_of
from layerpeel.dynamics.cvode import IntegrationFailed, Integrator
from layerpeel.dynamics.invariants import Invariants
from layerpeel.dynamics.pieces import Pieces, nearest
from layerpeel.dynamics.recorder import Recorder
from layerpeel.dynamics.rest import at_rest
from layerpeel.outcome import Outcome
from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import with_seed_axis

__all__ = ["Course", "Passage"]


VANISHED = 1e-15
"""A flow whose state is below this part of its start rests at 0: what is left of it is rounding."""


class Passage(NamedTuple):
    """One flow that was followed; its arrays have a seed axis of length 1. ``fields`` is empty if nothing was
    recorded."""

    fields: dict[str, Float[np.ndarray, "1 record"]]
    last: State
    kept: State | None
    outcome: Outcome

    @property
    def records(self) -> int:
        """How many records were made."""
        return len(self.fields["loss"][0]) if self.fields else 0


@dataclass(frozen=True, eq=False)
class Course:
    """What is followed and how; see :func:`layerpeel.flow`.

    Attributes:
        problem: what is minimised.
        points: log t of the records, increasing.
        since: log t of the start.
        rtol: relative tolerance.
        atol: absolute tolerance.
        keep_states: whether the states of the records are kept.
    """

    problem: Problem
    points: Float[np.ndarray, "record"]
    since: float
    rtol: float
    atol: float
    keep_states: bool

    def follow(
        self, start: State, show: Callable[[int], None] = lambda done: None, stop: Callable[[], bool] = lambda: False
    ) -> Passage:
        """The flow from ``start`` (one state), with ``show`` called with the number of records made.

        It is interrupted by Ctrl-C, and after the step at which ``stop()`` is true.
        """
        invariants = Invariants(self.problem, start)
        recorder = Recorder(self.problem, with_seed_axis(start), keep_states=self.keep_states, also=_drift(invariants))
        with jax.enable_x64(True), threadpool_limits(limits=1, user_api="blas"):
            outcome = self._follow(start, recorder, show, stop)
        if outcome is Outcome.REACHED and invariants.broken(_only(recorder.last)):
            outcome = Outcome.DRIFTED
        return Passage(
            fields=recorder.fields() if recorder.rows else {},
            last=recorder.last,
            kept=recorder.kept_states() if recorder.rows else None,
            outcome=outcome,
        )

    def _follow(
        self, start: State, recorder: Recorder, show: Callable[[int], None], stop: Callable[[], bool]
    ) -> Outcome:
        try:
            integrator = self._integrator(start)
            return self._record(integrator, recorder, show, stop)
        except KeyboardInterrupt:
            return Outcome.INTERRUPTED
        except IntegrationFailed:
            finite = np.isfinite(self._velocity(integrator.y)).all()
            return Outcome.STALLED if finite else Outcome.NONFINITE

    def _record(
        self, integrator: Integrator | Pieces, recorder: Recorder, show: Callable[[int], None], stop: Callable[[], bool]
    ) -> Outcome:
        """All records; those after the flow has come to rest repeat where it rests."""

        begun = np.linalg.norm(integrator.y[:-1])

        def look(y: np.ndarray) -> None:
            if stop():
                raise KeyboardInterrupt
            if np.linalg.norm(y[:-1]) <= VANISHED * begun:
                raise _AtRest(y)
            self._need_motion(y)

        rest = None if self._velocity(integrator.y)[:-1].any() else integrator.y
        for done, log_time in enumerate(self.points):
            try:
                y = integrator.advance_to(float(tau_of(log_time)), look) if rest is None else rest
            except _AtRest as found:
                y = rest = found.y
            recorder.add(done, with_seed_axis(self._state(y)))
            if not recorder.alive.any():
                return Outcome.NONFINITE
            show(done + 1)
        return Outcome.REACHED if rest is None else Outcome.RESTED

    def _integrator(self, start: State) -> Integrator | Pieces:
        y0 = flatten(start, float(tau_of(self.since)))
        if self.problem.constraint is not None:
            return Pieces(self.problem, y0, rtol=self.rtol, atol=self.atol)
        clock = clock_of(self.problem)

        def linearize(y: np.ndarray) -> Callable[[np.ndarray], Any]:
            jacobian = linearized(self.problem, clock, y)
            return lambda direction: apply(jacobian, direction)

        return Integrator(self._velocity, linearize, y0, rtol=self.rtol, atol=self.atol)

    def _velocity(self, y: np.ndarray) -> Any:
        return np.asarray(field(self.problem, clock_of(self.problem), y))

    def _state(self, y: np.ndarray) -> State:
        """The state of y, on the set of a constraint, from which an integration strays by its tolerance."""
        return jax.tree.map(np.asarray, nearest(self.problem, y))

    def _need_motion(self, y: np.ndarray) -> None:
        """Raise :class:`_AtRest` where the flow has come to rest; one whose objective vanishes never does."""
        if not self.problem.vanishes and at_rest(self.problem, y):
            raise _AtRest(y)


class _AtRest(Exception):
    """The flow has reached a critical point, y."""

    def __init__(self, y: np.ndarray) -> None:
        super().__init__()
        self.y = y


def _drift(invariants: Invariants) -> Callable[[State], dict[str, Any]]:
    return lambda states: {name: np.array([value]) for name, value in invariants.drift(_only(states)).items()}


def _only(states: State) -> State:
    """The one state of a seed axis of length 1."""
    return jax.tree.map(lambda x: x[0], states)
