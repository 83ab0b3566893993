"""Clocks: contenders in alternation, and calls in fresh processes whose peak memory is their own.

CPU seconds are user + system time of this process, all its threads, and its finished children. Alternation
(A B A B ...) gives every contender the same share of a machine's moods; the median of each is kept.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["ROOT", "Timing", "alternate", "in_fresh_process", "median", "seconds", "timed"]

ROOT = Path(__file__).resolve().parent.parent

Result = TypeVar("Result")


@dataclass(frozen=True)
class Timing:
    """Wall-clock and CPU seconds of one call, or their medians over ``repetitions``."""

    wall: float
    cpu: float
    repetitions: int = 1

    def asdict(self) -> dict[str, float | int]:
        """The three numbers by name."""
        return asdict(self)

    def times(self, factor: float) -> "Timing":
        """The time of ``factor`` as much work."""
        return Timing(self.wall * factor, self.cpu * factor, self.repetitions)

    def __str__(self) -> str:
        return seconds(self.cpu)


def timed(call: Callable[[], Result]) -> tuple[Result, Timing]:
    """What ``call()`` returns, and the time it took."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    result = call()
    return result, Timing(time.perf_counter() - wall, _cpu_seconds() - cpu)


def median(timings: list[Timing]) -> Timing:
    """Median wall-clock and median CPU seconds, taken separately."""
    wall, cpu = (statistics.median(getattr(t, clock) for t in timings) for clock in ("wall", "cpu"))
    return Timing(wall, cpu, len(timings))


def alternate(contenders: Mapping[str, Callable[[], object]], *, repetitions: int) -> dict[str, Timing]:
    """Medians of ``repetitions`` calls of every contender, taken in turn; warm them up before."""
    taken: dict[str, list[Timing]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, call in contenders.items():
            taken[name].append(timed(call)[1])
    return {name: median(timings) for name, timings in taken.items()}


def in_fresh_process(entry: str, **options: object) -> dict[str, Any]:
    """What ``entry`` ("module:function" of this package) returns in a new process, with ``peak_bytes``.

    Raises:
        RuntimeError: when the process fails, with the last line it wrote.
    """
    command = [sys.executable, "-m", "benchmarks.fresh", entry, json.dumps(options)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if finished.returncode:
        raise RuntimeError(f"{entry}: {(finished.stderr.strip() or 'no message').splitlines()[-1]}")
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def seconds(value: float) -> str:
    """A duration to three digits in us, ms or s."""
    for scale, unit in ((1e-6, "us"), (1e-3, "ms")):
        if value < 1000 * scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.3g} s"


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
