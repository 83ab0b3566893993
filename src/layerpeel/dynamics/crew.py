"""Crew: the flows of several seeds, each by itself, one after the other or in several processes, gathered into one
trajectory.

Every seed has the records of its own flow; where one ended early the rest is nan. The processes are joblib's, which
need no guard in a user's script and take losses defined there.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import NoReturn

import jax
import numpy as np

from layerpeel.dynamics.course import Course, Passage
from layerpeel.dynamics.trajectory import Trajectory, title
from layerpeel.outcome import Outcome
from layerpeel.problem import State
from layerpeel.problem.boundary import has_seed_axis, with_seed_axis
from layerpeel.sampling import dataset

__all__ = ["run_all"]

WORTH_PROCESSES = 200_000
"""Unknowns of all seeds together from which several processes, two seconds to start, are faster than one."""

Show = Callable[[int], None]


def run_all(course: Course, start: State, workers: int | None, progress: AbstractContextManager[Show]) -> Trajectory:
    """Follow ``course`` from every seed of ``start``; a Ctrl-C ends it with what there is, if there is anything."""
    states = with_seed_axis(start)
    members = [_member(states, i) for i in range(len(states.W))]
    passages: list[Passage] = []
    with progress as show:
        try:
            for passage in _followed(course, members, workers or _crew(members), show):
                passages.append(passage)
                if passage.outcome is Outcome.INTERRUPTED:
                    break
        except KeyboardInterrupt:  # while other processes were at work
            pass
    if not any(passage.fields for passage in passages):
        _nothing_to_show(course, passages)
    passages += [_not_begun(member) for member in members[len(passages) :]]
    return _gather(course, passages, single=not has_seed_axis(start))


def _nothing_to_show(course: Course, passages: list[Passage]) -> NoReturn:
    """Where not one record was made, there is no trajectory to report with."""
    ends = [passage.outcome for passage in passages if passage.outcome is not Outcome.INTERRUPTED]
    if not ends:
        raise KeyboardInterrupt
    raise ValueError(f"need a first record that the flow reaches, got log t = {course.points[0]:g}: {ends[0]}")


def _crew(members: list[State]) -> int:
    """How many processes are worth their start."""
    unknowns = sum(leaf.size for member in members for leaf in jax.tree.leaves(member))
    return 1 if unknowns < WORTH_PROCESSES else min(len(members), os.cpu_count() or 1)


def _followed(course: Course, members: list[State], workers: int, show: Show) -> Iterator[Passage]:
    """The passages in the order of their seeds, with ``show`` called with the records made so far."""
    records = len(course.points)
    if min(workers, len(members)) == 1:
        for i, member in enumerate(members):
            yield course.follow(member, partial(_show_after, show, i * records))
        return
    from joblib import Parallel, delayed

    passages = Parallel(n_jobs=workers, return_as="generator")(delayed(course.follow)(member) for member in members)
    for i, passage in enumerate(passages):
        show((i + 1) * records)
        yield passage


def _show_after(show: Show, before: int, done: int) -> None:
    show(before + done)


def _gather(course: Course, passages: list[Passage], *, single: bool) -> Trajectory:
    """One trajectory of all seeds; where a seed ended before the others its records are nan."""
    recorded = [passage for passage in passages if passage.fields]
    length = max(passage.records for passage in recorded)
    names = recorded[0].fields
    fields = {name: np.concatenate([_padded(p.fields.get(name), length) for p in passages]) for name in names}
    last = jax.tree.map(lambda *x: np.concatenate(x), *[passage.last for passage in passages])
    kept = _kept(passages, length) if course.keep_states else None
    return Trajectory(
        problem=course.problem,
        metrics=dataset(fields, course.points[:length], attrs={"title": title(course.problem), "time": "time"}),
        state=_member(last, 0) if single else last,
        outcome=Outcome.worst(passage.outcome for passage in passages),
        seconds=sum(passage.seconds for passage in passages),
        states=jax.tree.map(lambda x: x[:, 0], kept) if single else kept,
    )


def _padded(values: np.ndarray | None, length: int) -> np.ndarray:
    """Records of one seed, (1, record), to ``length`` by nan."""
    values = np.empty((1, 0)) if values is None else values
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), constant_values=np.nan)


def _kept(passages: list[Passage], length: int) -> State:
    """States of all records, (record, seed, ...); after the end of a seed its last one."""

    def lengthened(passage: Passage) -> State:
        lasting = jax.tree.map(lambda x: np.repeat(x[None], length - passage.records, axis=0), passage.last)
        if passage.kept is None:
            return lasting
        return jax.tree.map(lambda x, y: np.concatenate([x, y]), passage.kept, lasting)

    return jax.tree.map(lambda *x: np.concatenate(x, axis=1), *[lengthened(passage) for passage in passages])


def _not_begun(member: State) -> Passage:
    return Passage({}, with_seed_axis(member), None, Outcome.INTERRUPTED, 0.0)


def _member(states: State, i: int) -> State:
    return jax.tree.map(lambda x: x[i], states)
