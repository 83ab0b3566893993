"""Streaming class moments over many classes: K = 29,233, d = 1,024, batches of 256, float32.

Compared, one update of each in turn in one process: layerpeel's ``MomentStream`` (counts, float64 means and
scatters), the metric ``NeuralCollapse`` around it without and with the d x d within-class matrix, the usual tracker's
class sums by a one-hot product in float32, and a Python loop over the samples in float64. All see the same batches;
after them the means are compared. Not compared: what is computed from the moments at the end.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.row import Row, Target
from benchmarks.timing import Timing, alternate

__all__ = ["rows"]

Array = np.ndarray[Any, Any]

BATCHES = 8


def rows(*, quick: bool) -> Iterator[Row]:
    """Milliseconds an update."""
    import torch

    from benchmarks.peers.class_sums import SampleLoop
    from benchmarks.peers.covariance_tracker import Tracker
    from layerpeel.collapse.moments import ClassMoments, MomentStream
    from layerpeel.torch import NeuralCollapse

    K, d, size = (300, 64, 32) if quick else (29_233, 1_024, 256)
    stream, tracker, loop = MomentStream(ClassMoments.empty(K, d)), Tracker(K, d), SampleLoop(K, d)
    metrics = {within: NeuralCollapse(K, num_features=d, within=within) for within in ("trace", "matrix")}
    turns = [cycle(_batches(K, d, size)) for _ in range(5)]
    contenders: dict[str, Callable[[], None]] = {
        "layerpeel": lambda: stream.update(*next(turns[0])),
        "one-hot product": lambda: tracker.update(*map(torch.from_numpy, next(turns[1]))),
        "loop over samples": lambda: loop.update(*next(turns[2])),
        "NeuralCollapse, trace": lambda: metrics["trace"].update(*map(torch.from_numpy, next(turns[3]))),
        "NeuralCollapse, matrix": lambda: metrics["matrix"].update(*map(torch.from_numpy, next(turns[4]))),
    }
    alternate(contenders, repetitions=BATCHES)  # touches the memory of every class that the batches hold
    taken = alternate(contenders, repetitions=2 * BATCHES)
    moments = stream.moments()
    failure = _disagreement(moments.counts, moments.means, tracker.counts.numpy(), loop)
    what = f"update, K={K:,} d={d:,} batch {size}"
    yield from _against_each(what, taken, failure)
    for within, metric in metrics.items():
        means = (metric.means + metric.origin).numpy()
        failure = _disagreement(metric.counts.numpy(), means, tracker.counts.numpy(), loop)
        yield _metric_row(what, within, metric, taken, failure)


def _against_each(what: str, taken: dict[str, Timing], failure: str) -> Iterator[Row]:
    ours, one_hot, loop = (taken[name] for name in ("layerpeel", "one-hot product", "loop over samples"))
    raw = {name: timing.asdict() for name, timing in taken.items()}
    note = f"a one-hot product takes {one_hot.cpu / ours.cpu:.3g} times as long; medians of {ours.repetitions}"
    milliseconds, target = 1e3 * ours.cpu, Target(10, "ms")
    yield Row("streaming", what, str(ours), str(one_hot), milliseconds, "ms", target, note, failure, raw)
    ratio = loop.cpu / ours.cpu
    yield Row("streaming", f"{what}, Python loop", str(ours), str(loop), ratio, "x", None, "", failure)


def _metric_row(what: str, within: str, metric: Any, taken: dict[str, Timing], failure: str) -> Row:
    ours, one_hot = taken[f"NeuralCollapse, {within}"], taken["one-hot product"]
    states = sum(state.nbytes for state in metric.metric_state.values()) / 2**20
    note = f"its states take {states:,.0f} MiB and grow by nothing; medians of {ours.repetitions}"
    what = f'{what}, NeuralCollapse(within="{within}")'
    return Row("streaming", what, str(ours), str(one_hot), 1e3 * ours.cpu, "ms", Target(10, "ms"), note, failure)


def _batches(K: int, d: int, size: int) -> list[tuple[Array, Array]]:
    random = np.random.default_rng(0)
    shape = (BATCHES, size)
    features = random.standard_normal((*shape, d), dtype=np.float32)
    return list(zip(features, random.integers(K, size=shape), strict=True))


def _disagreement(counts: Array, means: Array, tracker_counts: Array, loop: Any) -> str:
    if not (np.array_equal(counts, loop.counts) and np.array_equal(counts, tracker_counts)):
        return "class counts differ"
    held = loop.counts > 0
    worst = float(np.abs(means[held] - loop.means[held]).max())
    return "" if worst < 1e-12 else f"class means differ by {worst:.2g}"
