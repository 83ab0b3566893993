"""Measuring saved features: ``lp.measure`` with classifier and bias, every field, against a usual tracker.

Compared on float32 features in memory, each contender in fresh processes, in turn, on one thread, after a
warm-up on a small input: CPU seconds of the measurement (imports and drawing the features are outside) and
the peak of resident memory of the whole process, interpreter and packages included. The peer is
:mod:`benchmarks.peers.covariance_tracker`: 10 fields in float32, where layerpeel gives all of them in
float64. Values are compared where both define them. Not compared: GPUs.
"""

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.mixture import Sample, draw
from benchmarks.row import Row, Target
from benchmarks.timing import Timing, in_fresh_process, median, timed

__all__ = ["layerpeel_once", "rows", "tracker_once"]

Size = Mapping[str, int]

QUICK: Size = {"K": 10, "d": 64, "N": 2_000}
SMALL: Size = {"K": 10, "d": 512, "N": 60_000}
LARGE: Size = {"K": 1000, "d": 2048, "N": 100_000}
TOLERANCE = 2e-3
GIB = 2**30


def rows(*, quick: bool) -> Iterator[Row]:
    """Time and memory at two sizes."""
    if quick:
        yield from _contest(QUICK, 2, repetitions=1)
    else:
        yield from _contest(SMALL, 2, repetitions=5)
        yield from _contest(LARGE, 5, repetitions=3)


def layerpeel_once(**size: int) -> dict[str, Any]:
    """One measurement by layerpeel, in the tracker's convention; for a fresh process."""
    import layerpeel as lp

    convention = lp.Convention(name="tracker", centre_classifier=False)

    def measure(s: Sample) -> Any:
        K = len(s.classifier)
        return lp.measure(s.features, s.labels, classifier=s.classifier, bias=s.bias, num_classes=K, preset=convention)

    measure(draw(**QUICK))
    sample = draw(**size)
    report, timing = timed(lambda: measure(sample))
    return {**timing.asdict(), "fields": report.asdict()}


def tracker_once(**size: int) -> dict[str, Any]:
    """One measurement by the usual tracker; for a fresh process."""
    import torch

    from benchmarks.peers.covariance_tracker import track

    def measure(s: Sample) -> tuple[dict[str, float], dict[str, float]]:
        arrays = (s.features, s.labels, s.classifier, s.bias)
        return track(*(torch.from_numpy(array) for array in arrays))

    measure(draw(**QUICK))
    sample = draw(**size)
    (fields, stages), timing = timed(lambda: measure(sample))
    return {**timing.asdict(), "fields": fields, "stages": stages}


def _contest(size: Size, ratio: float, *, repetitions: int) -> Iterator[Row]:
    ours: list[dict[str, Any]] = []
    peer: list[dict[str, Any]] = []
    for _ in range(repetitions):
        ours.append(in_fresh_process("measure:layerpeel_once", **size))
        peer.append(in_fresh_process("measure:tracker_once", **size))
    name = "K={K:,} d={d:,} N={N:,}".format(**size)
    failure = _disagreement(ours[0]["fields"], peer[0]["fields"])
    yield _time(name, ours, peer, Target(ratio, "x", at_least=True), failure)
    yield _memory(name, ours, peer, size)


def _time(name: str, ours: list[dict[str, Any]], peer: list[dict[str, Any]], target: Target, failure: str) -> Row:
    mine, theirs = (median([Timing(run["wall"], run["cpu"]) for run in runs]) for runs in (ours, peer))
    stages = ", ".join(f"{stage} {seconds:.2g} s" for stage, seconds in peer[0]["stages"].items())
    return Row(
        "measure",
        f"{name}, CPU",
        str(mine),
        str(theirs),
        theirs.cpu / mine.cpu,
        "x",
        target,
        f"medians of {mine.repetitions}; the tracker's stages: {stages}",
        failure,
        raw={"layerpeel": ours, "tracker": peer},
    )


def _memory(name: str, ours: list[dict[str, Any]], peer: list[dict[str, Any]], size: Size) -> Row:
    features = 4 * size["N"] * size["d"] / GIB
    mine, theirs = (statistics.median(run["peak_bytes"] for run in runs) / GIB for runs in (ours, peer))
    note = f"resident peak of the process; the features are {features:.2f} GiB of it"
    return Row(
        "measure",
        f"{name}, memory beyond the features",
        f"{mine:.2f} GiB in all",
        f"{theirs:.2f} GiB in all",
        mine - features,
        "GiB",
        Target(1, "GiB"),
        note,
    )


def _disagreement(ours: dict[str, float], peer: dict[str, float]) -> str:
    shared = sorted(ours.keys() & peer.keys())
    wrong = {n: (ours[n], peer[n]) for n in shared if abs(ours[n] - peer[n]) > TOLERANCE * abs(peer[n])}
    if not shared:
        return "no field in common"
    return f"fields disagree: {wrong}" if wrong else ""
