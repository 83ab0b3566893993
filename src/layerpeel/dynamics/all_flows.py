"""The flows of several seeds, each by itself, one after the other or in several processes, gathered into one
trajectory.

Every seed has the records of its own flow; where one ended early the rest is nan. The processes are joblib's, which
need no guard in a user's script and take losses defined there.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

from layerpeel.dynamics.single_flow import Followed, SingleFlow
from layerpeel.dynamics.trajectory import Trajectory, title
from layerpeel.outcome import Outcome
from layerpeel.problem import State
from layerpeel.problem.boundary import has_seed_axis, with_seed_axis
from layerpeel.sampling import dataset

__all__ = ["follow_all"]

WORTH_PROCESSES = 200_000
"""Unknowns of all seeds together from which several processes, two seconds to start, are faster than one."""

Show = Callable[[int], None]


def follow_all(
    flow: SingleFlow,
    start: State,
    workers: int | None,
    checkpoint: Path | None,
    progress: AbstractContextManager[Show],
) -> Trajectory:
    """Follow ``flow`` from every seed of ``start``; a Ctrl-C ends it with what there is, if there is anything."""
    began = time.perf_counter()
    states = with_seed_axis(start)
    members = [_member(states, i) for i in range(len(states.W))]
    files = _files(checkpoint, len(members))
    before = sum(file is not None and file.exists() for file in files)
    with progress as show:
        found = dict(_followed(flow, members, files, workers or _processes(members), show))
    flows = [found.get(i) or _not_begun(member) for i, member in enumerate(members)]
    if not any(one.fields for one in flows):
        _nothing_to_show(flow, flows)
    seconds = sum(one.seconds for one in flows) if before else time.perf_counter() - began
    return _gather(flow, flows, seconds, single=not has_seed_axis(start))


def _files(checkpoint: Path | None, seeds: int) -> list[Path | None]:
    """The checkpoint of each seed: with several, NAME-seed-0.EXTENSION and so on."""
    if checkpoint is None or seeds == 1:
        return [checkpoint] * seeds
    return [checkpoint.with_stem(f"{checkpoint.stem}-seed-{i}") for i in range(seeds)]


def _nothing_to_show(flow: SingleFlow, flows: list[Followed]) -> NoReturn:
    """Where not one record was made, there is no trajectory to report with."""
    ends = [one.outcome for one in flows if one.outcome is not Outcome.INTERRUPTED]
    if not ends:
        raise KeyboardInterrupt
    raise ValueError(f"need a first record that the flow reaches, got log t = {flow.points[0]:g}: {ends[0]}")


def _processes(members: list[State]) -> int:
    """How many processes are worth their start."""
    unknowns = sum(leaf.size for member in members for leaf in jax.tree.leaves(member))
    return 1 if unknowns < WORTH_PROCESSES else min(len(members), os.cpu_count() or 1)


def _followed(
    flow: SingleFlow, members: list[State], files: list[Path | None], workers: int, show: Show
) -> Iterator[tuple[int, Followed]]:
    """The flows with their seeds as they are finished, and ``show`` called with the records made so far."""
    records = len(flow.points)
    with _asked_to_stop() as stop:
        if min(workers, len(members)) == 1:
            for i, member in enumerate(members):
                one = flow.follow(member, partial(_show_after, show, i * records), stop.exists, files[i])
                yield i, one
                if one.outcome is Outcome.INTERRUPTED:
                    return
            return
        from joblib import Parallel, delayed

        jobs = (delayed(_follow_until)(flow, i, member, stop, files[i]) for i, member in enumerate(members))
        for done, found in enumerate(Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)):
            show((done + 1) * records)
            yield found


def _follow_until(flow: SingleFlow, i: int, member: State, stop: Path, checkpoint: Path | None) -> tuple[int, Followed]:
    """The flow of one seed in a process of its own, until the file ``stop`` appears."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to every process: only the first decides
    return i, flow.follow(member, stop=stop.exists, checkpoint=checkpoint)


@contextmanager
def _asked_to_stop() -> Iterator[Path]:
    """The name of a file that a first Ctrl-C makes, so that whatever is at work, compilers and integrators in C as
    well, comes to a good end and back with what there is.

    A second Ctrl-C is a KeyboardInterrupt, and so is the first outside of the main thread.
    """
    with tempfile.TemporaryDirectory() as folder:
        stop = Path(folder) / "stop"

        def ask(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, before)
            stop.touch()

        try:
            before = signal.signal(signal.SIGINT, ask)
        except ValueError:
            yield stop
            return
        try:
            yield stop
        finally:
            signal.signal(signal.SIGINT, before)


def _show_after(show: Show, before: int, done: int) -> None:
    show(before + done)


def _gather(flow: SingleFlow, flows: list[Followed], seconds: float, *, single: bool) -> Trajectory:
    """One trajectory of all seeds; where a seed ended before the others its records are nan."""
    recorded = [one for one in flows if one.fields]
    length = max(one.records for one in recorded)
    names = recorded[0].fields
    fields = {name: np.concatenate([_padded(one.fields.get(name), length) for one in flows]) for name in names}
    last = jax.tree.map(lambda *x: np.concatenate(x), *[one.last for one in flows])
    kept = _kept(flows, length) if flow.keep_states else None
    return Trajectory(
        problem=flow.problem,
        metrics=dataset(fields, flow.points[:length], attrs={"title": title(flow.problem), "time": "time"}),
        state=_member(last, 0) if single else last,
        outcome=Outcome.worst(one.outcome for one in flows),
        seconds=seconds,
        states=jax.tree.map(lambda x: x[:, 0], kept) if single else kept,
    )


def _padded(values: np.ndarray | None, length: int) -> np.ndarray:
    """Records of one seed, (1, record), to ``length`` by nan."""
    values = np.empty((1, 0)) if values is None else values
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), constant_values=np.nan)


def _kept(flows: list[Followed], length: int) -> State:
    """States of all records, (record, seed, ...); after the end of a seed its last one."""

    def lengthened(one: Followed) -> State:
        lasting = jax.tree.map(lambda x: np.repeat(x[None], length - one.records, axis=0), one.last)
        if one.kept is None:
            return lasting
        return jax.tree.map(lambda x, y: np.concatenate([x, y]), one.kept, lasting)

    return jax.tree.map(lambda *x: np.concatenate(x, axis=1), *[lengthened(one) for one in flows])


def _not_begun(member: State) -> Followed:
    return Followed({}, with_seed_axis(member), None, Outcome.INTERRUPTED)


def _member(states: State, i: int) -> State:
    return jax.tree.map(lambda x: x[i], states)
