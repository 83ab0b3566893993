"""Seeds: 64 runs of the paper's experiment at once against one run, per seed, in the same process.

Both are ``lp.descend`` with 40 records; the records are inside the time. 2 x 10^4 steps, because 64 x 10^5
take minutes. Not compared: a loop over seeds in several processes.
"""

from collections.abc import Iterator

from benchmarks.descent import layerpeel_run
from benchmarks.row import Row, Target
from benchmarks.timing import alternate

__all__ = ["rows"]


def rows(*, quick: bool) -> Iterator[Row]:
    """Cost per seed, all at once over one alone."""
    steps, seeds = (500, 8) if quick else (20_000, 64)
    layerpeel_run(steps)
    layerpeel_run(steps, seeds)
    taken = alternate(
        {"one": lambda: layerpeel_run(steps), "many": lambda: layerpeel_run(steps, seeds)},
        repetitions=1 if quick else 3,
    )
    per_seed = taken["many"].times(1 / seeds)
    yield Row(
        "seeds",
        f"{seeds} seeds at once, cost per seed against one alone, {steps:,} steps",
        str(per_seed),
        str(taken["one"]),
        per_seed.cpu / taken["one"].cpu,
        "x",
        Target(1.1, "x"),
        raw={name: timing.asdict() for name, timing in taken.items()},
    )
