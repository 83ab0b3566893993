"""Trajectory: what a run leaves behind, records in log-log time, the last state and how it ended."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerpeel.outcome import Outcome
from layerpeel.problem import Problem, State
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

__all__ = ["Trajectory", "title"]


def title(problem: Problem) -> str:
    """The problem in a line, as figures have it in their heading."""
    sizes = str(problem.n[0]) if problem.balanced else ",".join(map(str, problem.n))
    return f"{type(problem.loss).__name__}, K={problem.K}, n={sizes}, d={problem.d}, {problem.reduction} loss"


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run of descent or of the gradient flow.

    Attributes:
        problem: what was minimised.
        metrics: the records, dims (seed, record), coords log_time, loglog_time and, of descent, step.
        state: the state at the last record (for a seed that diverged, at its last finite one).
        outcome: how the run ended; with several seeds the worst of their ends.
        seconds: wall time spent, over all resumptions.
        states: the state at every record (axes: record, then seed if any), when it was asked for.
    """

    problem: Problem
    metrics: "xarray.Dataset"
    state: State
    outcome: Outcome
    seconds: float
    states: State | None = None

    def __str__(self) -> str:
        last = self.metrics.isel(record=-1).median("seed")
        fields = ("loss" if last["loss"] > 0 else "log_loss", "margin_ratio", "within_class_variation")
        summary = ", ".join(f"{name} {float(last[name]):.4g}" for name in fields)
        seeds = self.metrics.sizes["seed"]
        took = f"{self._length()}, {counted(seeds, 'seed')}, {self.seconds:.1f} s"
        return f"{self.outcome} {took}: {summary}"

    def _length(self) -> str:
        if "step" in self.metrics.coords:
            return counted(int(self.metrics["step"][-1]), "step")
        return f"log t = {float(self.metrics['log_time'][-1]):.6g}"
