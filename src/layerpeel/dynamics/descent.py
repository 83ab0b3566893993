"""Descent: theta <- theta + update(grad L), with any optax transformation, compiled between records.

One step is a pure function of what it depends on (state, optimiser state, step number), compiled once into a loop of
variable length: how a run is cut into pieces, for records, progress, checkpoints or an interrupt, changes no bit of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from threadpoolctl import threadpool_limits

from layerpeel.dynamics.checkpoint import checkpoint_path
from layerpeel.dynamics.loop import Carry, Loop
from layerpeel.dynamics.noise import GradientNoise
from layerpeel.dynamics.recorder import Recorder
from layerpeel.dynamics.trajectory import Trajectory, title
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import admit, has_seed_axis, with_seed_axis
from layerpeel.problem.options import need_positive
from layerpeel.problem.problem import need_problem
from layerpeel.progress import progress_bar
from layerpeel.sampling import dataset, log_times, record_steps

__all__ = ["descend"]

MOST_STEPS = 10**15
"""More would take centuries; step numbers stay exact in float64."""


def descend(
    problem: Problem,
    state: State,
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    record: int | Sequence[int] = 40,
    noise: GradientNoise | None = None,
    time_step: float = 1.0,
    keep_states: bool = False,
    checkpoint: str | Path | None = None,
    progress: bool = False,
) -> Trajectory:
    """Descend on ``problem`` from ``state`` for ``steps`` steps of ``optimizer``.

    Args:
        problem: what is minimised; a constraint is projected onto after every step.
        state: the start; a leading axis of seeds runs them all at once.
        optimizer: any optax transformation. Each gets the extra arguments value, grad and value_fn (as ``optax.lbfgs``
            needs), log_value and log_gradient (as :func:`layerpeel.normalized` needs).
        steps: number of steps, >= 0.
        record: how many records, evenly spaced in log log step, or the steps themselves; the last step is always one.
        noise: gradient noise, or None.
        time_step: time t of one step. The default counts steps, as the paper's Figure 2; the learning rate of plain
            gradient descent gives the time of the flow of the problem's own reduction.
        keep_states: whether to keep the state at every record (``run.states``).
        checkpoint: a file, written every ten seconds and at the end; if it exists, the run goes on from it, bit for
            bit.
        progress: whether to show a progress bar on stderr.

    Returns:
        The trajectory. A run that diverges or is interrupted (Ctrl-C) ends early with that outcome and all its records,
        its start if it has none.

    Raises:
        ValueError: for a state that does not fit the problem, steps < 0, time_step <= 0, impossible records, or a
            checkpoint of another run.
    """
    need_problem(problem)
    start = admit(problem, state)
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 0 <= steps <= MOST_STEPS:
        raise ValueError(f"need an integer 0 <= steps <= {MOST_STEPS:,}, got steps={steps!r}")
    if not (noise is None or isinstance(noise, GradientNoise)):
        raise ValueError(f"need noise to be a layerpeel.GradientNoise or None, got {noise!r}")
    if not isinstance(optimizer, optax.GradientTransformation):
        raise ValueError(f"need an optax transformation, got {optimizer!r}")
    time_step = need_positive("time_step", time_step)
    points = record_steps(record, int(steps))
    path = checkpoint_path(checkpoint)
    recorder = Recorder(problem, with_seed_axis(start), keep_states=keep_states)
    with jax.enable_x64(True), threadpool_limits(limits=1, user_api="blas"):  # records are small matrices
        step = _DescentStep(problem, optimizer, noise)
        advance = step.compiled(len(start.W) if has_seed_axis(start) else None)
        loop = Loop(advance, step.start(start), points, recorder, path)
        outcome = loop.drive(progress_bar(int(steps), "steps", shown=progress))
    if not recorder.rows:  # it diverged before its first record
        recorder = Recorder(problem, with_seed_axis(start), keep_states=keep_states)
        recorder.add(0, with_seed_axis(start))
    kept = recorder.kept_states()
    single = not has_seed_axis(start)
    return Trajectory(
        problem=problem,
        metrics=dataset(
            recorder.fields(),
            log_times(recorder.steps, time_step),
            steps=recorder.steps,
            attrs={"title": title(problem), "time": "steps" if time_step == 1 else f"steps x {time_step:g}"},
        ),
        state=jax.tree.map(lambda x: x[0], recorder.last) if single else recorder.last,
        outcome=outcome,
        seconds=loop.seconds,
        states=jax.tree.map(lambda x: x[:, 0], kept) if single else kept,
    )


@dataclass(frozen=True)
class _DescentStep:
    """One step of one problem, optimiser and noise."""

    problem: Problem
    optimizer: optax.GradientTransformation
    noise: GradientNoise | None

    def start(self, state: State) -> Carry:
        state = jax.tree.map(jnp.asarray, state)
        init = jax.vmap(self.optimizer.init) if has_seed_axis(state) else self.optimizer.init
        return Carry(state, jax.tree.map(jnp.asarray, init(state)))

    def compiled(self, seeds: int | None) -> Callable[[Carry, int, int], Carry]:
        """(carry, first step, last step) -> carry; over the seed axis if there is one. Compiled once a problem."""
        try:
            return _compile(self, seeds)
        except TypeError:  # a part that cannot be hashed, as a regulariser with an array weight
            return _compile.__wrapped__(self, seeds)

    def steps(self, member: Any, carry: Carry, first: Any, last: Any) -> Carry:
        """Steps first .. last - 1. Not unrolled: the rest of an unrolled loop is other code, and rounds otherwise."""
        key = None if self.noise is None else self.noise.key(member)
        return jax.lax.fori_loop(first, last, lambda i, c: self._step(key, i, c), carry)

    def _step(self, key: Any, i: Any, carry: Carry) -> Carry:
        problem, state = self.problem, carry.state
        value, gradient = jax.value_and_grad(pure.objective, argnums=1)(problem, state)
        log_value, log_gradient = jax.value_and_grad(pure.log_objective, argnums=1)(problem, state)
        if self.noise is not None:
            gradient = self.noise.apply(key, i, gradient)
            log_gradient = self.noise.apply(key, i, log_gradient)
        updates, optimizer = optax.with_extra_args_support(self.optimizer).update(
            gradient,
            carry.optimizer,
            state,
            value=value,
            grad=gradient,
            value_fn=lambda s, log_value=None, log_gradient=None: pure.objective(problem, s),  # optax reads the names
            log_value=log_value,
            log_gradient=log_gradient,
        )  # what a transformation does not use, the compiler removes
        state = optax.apply_updates(state, updates)
        return Carry(state if problem.constraint is None else problem.constraint.project(state), optimizer)


@lru_cache(maxsize=16)
def _compile(step: _DescentStep, seeds: int | None) -> Callable[[Carry, int, int], Carry]:
    if seeds is None:
        return jax.jit(lambda carry, i, j: step.steps(jnp.zeros((), int), carry, i, j))
    over_seeds = jax.vmap(step.steps, in_axes=(0, 0, None, None))
    return jax.jit(lambda carry, i, j: over_seeds(jnp.arange(seeds), carry, i, j))
