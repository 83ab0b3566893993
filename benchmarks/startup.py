"""Start-up: a new interpreter that imports layerpeel, and ``layerpeel --help``, as a user waits for them.

Medians over fresh processes, wall-clock, the interpreter's own start included (its share stands beside it).
The byte-code cache is warm, as after the first use.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.row import Row, Target
from benchmarks.timing import alternate

__all__ = ["rows"]

COMMANDS = {
    "nothing": (sys.executable, "-c", "pass"),
    "import layerpeel": (sys.executable, "-c", "import layerpeel"),
    "layerpeel --help": (str(Path(sys.executable).with_name("layerpeel")), "--help"),
}
TARGETS = {"import layerpeel": 0.3, "layerpeel --help": 0.5}


def rows(*, quick: bool) -> Iterator[Row]:
    """Seconds until the prompt is back."""
    contenders = {name: _process(command) for name, command in COMMANDS.items()}
    for run in contenders.values():
        run()
    taken = alternate(contenders, repetitions=1 if quick else 9)
    for name, bound in TARGETS.items():
        ours, bare = taken[name].wall, taken["nothing"].wall
        note = f"CPU {taken[name].cpu:.3f} s"
        beside = f"{bare:.3f} s an interpreter alone"
        yield Row("startup", name, f"{ours:.3f} s", beside, ours, "s", Target(bound, "s"), note)


def _process(command: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, capture_output=True)
