"""One gradient flow from its start to its end, recorded on the way, and how it ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from layerpeel.dynamics.checkpoint import fold
from layerpeel.dynamics.clock import apply, clock_of, field, flatten, linearized, tau_of
from layerpeel.dynamics.cvode import IntegrationFailed, Integrator
from layerpeel.dynamics.flow_checkpoint import FlowCheckpoint
from layerpeel.dynamics.invariants import Invariants
from layerpeel.dynamics.pieces import Pieces, nearest
from layerpeel.dynamics.recorder import Recorder
from layerpeel.dynamics.rest import at_rest
from layerpeel.dynamics.shrinking import Shrinking, extent, vanished
from layerpeel.outcome import Outcome
from layerpeel.problem import Problem, State
from layerpeel.problem.boundary import with_seed_axis

__all__ = ["Followed", "SingleFlow"]


class Followed(NamedTuple):
    """One flow that was followed; its arrays have a seed axis of length 1. ``fields`` is empty if nothing was
    recorded; ``seconds`` is the wall time spent, over all resumptions."""

    fields: dict[str, Float[np.ndarray, "1 record"]]
    last: State
    kept: State | None
    outcome: Outcome
    seconds: float = 0.0

    @property
    def records(self) -> int:
        """How many records were made."""
        return len(self.fields["loss"][0]) if self.fields else 0


@dataclass(frozen=True, eq=False)
class SingleFlow:
    """What is followed and how; see :func:`layerpeel.flow`.

    Attributes:
        problem: what is minimised.
        points: log t of the records, increasing.
        since: log t of the start.
        rtol: relative tolerance.
        atol: absolute tolerance, for a state of the size of the start.
        keep_states: whether the states of the records are kept.
    """

    problem: Problem
    points: Float[np.ndarray, "record"]
    since: float
    rtol: float
    atol: float
    keep_states: bool

    def follow(
        self,
        start: State,
        show: Callable[[int], None] = lambda done: None,
        stop: Callable[[], bool] = lambda: False,
        checkpoint: Path | None = None,
    ) -> Followed:
        """The flow from ``start`` (one state), with ``show`` called with the number of records made.

        It is interrupted by Ctrl-C, and after the step at which ``stop()`` is true; with a ``checkpoint`` that exists
        it goes on from the last record in it.
        """
        began = time.perf_counter()
        invariants = Invariants(self.problem, start)
        recorder = Recorder(self.problem, with_seed_axis(start), keep_states=self.keep_states, also=_drift(invariants))
        with jax.enable_x64(True), threadpool_limits(limits=1, user_api="blas"):
            kept = FlowCheckpoint(checkpoint, recorder, self._signature(start), began)
            outcome = kept.outcome or self._follow(start, recorder, kept, show, stop)
            if outcome is Outcome.REACHED and invariants.broken(_only(recorder.last)):
                outcome = Outcome.DRIFTED
        kept.save(outcome)
        return Followed(
            fields=recorder.fields() if recorder.rows else {},
            last=recorder.last,
            kept=recorder.kept_states() if recorder.rows else None,
            outcome=outcome,
            seconds=kept.seconds,
        )

    def _follow(
        self,
        start: State,
        recorder: Recorder,
        kept: FlowCheckpoint,
        show: Callable[[int], None],
        stop: Callable[[], bool],
    ) -> Outcome:
        since, done, begun = self.since, len(recorder.rows), extent(self.problem, flatten(start, 0.0))
        if done:
            start, since = _only(recorder.last), float(self.points[done - 1])

        def record(y: np.ndarray) -> bool:
            recorder.add(len(recorder.rows), with_seed_axis(self._state(y)))
            kept.save_if_due()
            show(len(recorder.rows))
            return bool(recorder.alive.any())

        y0 = flatten(start, float(tau_of(since)))
        integrator: Integrator | Pieces | Shrinking | None = None
        try:
            integrator = self._integrator(y0, begun)
            return self._record(integrator, self.points[done:], begun, record, stop)
        except KeyboardInterrupt:
            return Outcome.INTERRUPTED
        except IntegrationFailed:
            finite = np.isfinite(self._velocity(y0 if integrator is None else integrator.y)).all()
            return Outcome.STALLED if finite else Outcome.NONFINITE

    def _record(
        self,
        integrator: Integrator | Pieces | Shrinking,
        points: Float[np.ndarray, "record"],
        begun: float,
        record: Callable[[np.ndarray], bool],
        stop: Callable[[], bool],
    ) -> Outcome:
        """All records; those after the flow, once of the extent ``begun``, has come to rest repeat where it rests."""

        def look(y: np.ndarray) -> None:
            _heed(stop)
            if extent(self.problem, y) <= vanished(self.problem) * begun:
                raise _AtRest(y)
            self._need_motion(y)

        rest = None if self._velocity(integrator.y)[:-1].any() else integrator.y
        for log_time in points:
            _heed(stop)
            try:
                y = integrator.advance_to(float(tau_of(log_time)), look) if rest is None else rest
            except _AtRest as found:
                y = rest = found.y
            if not record(y):
                return Outcome.NONFINITE
        return Outcome.REACHED if rest is None else Outcome.RESTED

    def _integrator(self, y0: np.ndarray, begun: float) -> Integrator | Pieces | Shrinking:
        """One that follows the flow from y0; where the state may go to 0, its absolute tolerance goes with it, from
        that for the extent ``begun``."""
        if self.problem.vanishes:
            return self._smooth(y0, self.atol)
        begin = self._smooth if self.problem.constraint is None else self._in_pieces
        return Shrinking(self.problem, begin, y0, share=self.atol / (begun or 1.0))

    def _smooth(self, y0: np.ndarray, atol: float) -> Integrator:
        clock = clock_of(self.problem)

        def linearize(y: np.ndarray) -> Callable[[np.ndarray], Any]:
            jacobian = linearized(self.problem, clock, y)
            return lambda direction: apply(jacobian, direction)

        return Integrator(self._velocity, linearize, y0, rtol=self.rtol, atol=atol)

    def _in_pieces(self, y0: np.ndarray, atol: float) -> Pieces:
        return Pieces(self.problem, flatten(self._state(y0), float(y0[-1])), rtol=self.rtol, atol=atol)

    def _velocity(self, y: np.ndarray) -> Any:
        return np.asarray(field(self.problem, clock_of(self.problem), y))

    def _state(self, y: np.ndarray) -> State:
        """The state of y, on the set of a constraint, from which an integration strays by its tolerance."""
        return jax.tree.map(np.asarray, nearest(self.problem, y))

    def _need_motion(self, y: np.ndarray) -> None:
        """Raise :class:`_AtRest` where the flow has come to rest; one whose objective vanishes never does."""
        if not self.problem.vanishes and at_rest(self.problem, y):
            raise _AtRest(y)

    def _signature(self, start: State) -> Float[np.ndarray, "m"]:
        """What tells this flow from others: its start, its first velocity, its records and tolerances."""
        y0 = flatten(start, float(tau_of(self.since)))
        return np.array([*fold([y0, self._velocity(y0)]), self.rtol, self.atol, self.keep_states, *self.points])


class _AtRest(Exception):
    """The flow has reached a critical point, y."""

    def __init__(self, y: np.ndarray) -> None:
        super().__init__()
        self.y = y


def _heed(stop: Callable[[], bool]) -> None:
    if stop():
        raise KeyboardInterrupt


def _drift(invariants: Invariants) -> Callable[[State], dict[str, Any]]:
    return lambda states: {name: np.array([value]) for name, value in invariants.drift(_only(states)).items()}


def _only(states: State) -> State:
    """The one state of a seed axis of length 1."""
    return jax.tree.map(lambda x: x[0], states)
