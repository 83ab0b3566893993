"""Figure 2 of Ji et al. 2022: descent on the unconstrained layer-peeled model, collapse in powers of log t.

Where the powers of descent are still on their way after 10^5 steps, the gradient flow from the same starts goes on to
times that show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.seeds import seed_range
from layerpeel.outcome import Outcome

if TYPE_CHECKING:
    import xarray

    from layerpeel.dynamics import Trajectory

__all__ = ["UlpmDynamics"]


@dataclass(frozen=True)
class UlpmDynamics(Experiment):
    """Descent on the unconstrained layer-peeled model; the defaults are the paper's setting.

    Attributes:
        K: number of classes.
        n: samples a class, an int or one a class: n=[10,10,2].
        d: dimension of the features.
        learning_rate: step size, or c of the normalized descent.
        steps: number of steps.
        scale: standard deviation of the initial entries.
        seeds: number of seeds, run side by side.
        first_seed: the first of them.
        records: number of records, even in log log step.
        optimizer: sgd, momentum (0.9), adam, or normalized (loss-normalised descent).
        reduction: mean (the paper's experiment) or sum.
        noise: relative gradient noise, 0 for none.
        flow_log_time: log t to which the gradient flow is followed beside sgd, on one axis t = learning_rate * step; 0
            for no flow.
    """

    name: ClassVar[str] = "ulpm-dynamics"

    K: int = 5
    n: Any = 10
    d: int = 20
    learning_rate: float = 5.0
    steps: int = 100_000
    scale: float = 0.1
    seeds: int = 8
    first_seed: int = 0
    records: int = 40
    optimizer: str = "sgd"
    reduction: Any = "mean"
    noise: float = 0.0
    flow_log_time: float = 0.0

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend from all seeds at once, and follow the flow from each."""
        from layerpeel.dynamics import GradientNoise, descend, flow
        from layerpeel.dynamics.flow import need_reachable
        from layerpeel.problem import ulpm

        problem = ulpm(self.K, self.n, self.d, reduction=self.reduction)
        seeds = seed_range(self.first_seed, self.seeds)
        if self.flow_log_time and (self.optimizer != "sgd" or self.noise):
            raise ValueError(
                f"need optimizer = sgd without noise beside the flow, got {self.optimizer}, noise={self.noise}"
            )
        if self.flow_log_time:
            need_reachable(problem, self.flow_log_time)
        start = problem.init(seeds, scale=self.scale)
        run = descend(
            problem,
            start,
            self._optimizer(),
            steps=self.steps,
            record=self.records,
            noise=GradientNoise(self.noise, seed=self.first_seed) if self.noise else None,
            time_step=self.learning_rate if self.flow_log_time else 1.0,
            checkpoint=checkpoint,
            progress=progress,
        )
        runs = {"descent": run}
        if self.flow_log_time and run.outcome is not Outcome.INTERRUPTED:
            runs["flow"] = flow(
                problem,
                start,
                log_time=self.flow_log_time,
                record=self.records,
                checkpoint=checkpoint.with_stem(f"{checkpoint.stem}-flow"),
                progress=progress,
            )
        return self._finding(runs)

    def _optimizer(self) -> Any:
        import optax

        from layerpeel.dynamics import normalized

        if not self.learning_rate > 0:
            raise ValueError(f"need learning_rate > 0, got learning_rate={self.learning_rate}")
        makers = {
            "sgd": optax.sgd,
            "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
            "adam": optax.adam,
            "normalized": normalized,
        }
        if self.optimizer not in makers:
            raise ValueError(f"need optimizer to be one of {', '.join(makers)}, got {self.optimizer!r}")
        return makers[self.optimizer](self.learning_rate)

    def _finding(self, runs: Mapping[str, "Trajectory"]) -> Finding:
        seeds = seed_range(self.first_seed, self.seeds)
        outcome = Outcome.worst(run.outcome for run in runs.values())
        metrics = {name: run.metrics.assign_coords(seed=seeds) for name, run in runs.items()}
        return Finding(
            metrics=_side_by_side(metrics) if self.flow_log_time else metrics["descent"],
            arrays={
                name if which == "descent" else f"{which}_{name}": getattr(run.state, name)
                for which, run in runs.items()
                for name in ("W", "H")
            },
            summary={
                "seeds": seeds,
                "outcome": {"name": outcome.name, "sentence": outcome.value},
                "wall_seconds": round(sum(run.seconds for run in runs.values()), 3),
                "last_values": _last_medians(runs["descent"]),
            }
            | ({"flow_last_values": _last_medians(runs["flow"])} if "flow" in runs else {}),
            text="\n\n".join(map(_describe, runs.values())),
        )


def _side_by_side(metrics: Mapping[str, "xarray.Dataset"]) -> "xarray.Dataset":
    """One dataset with the dimension ``dynamics``, each entry with its own times; what one of them lacks is nan."""
    import numpy as np
    import xarray

    times = ("step", "log_time", "loglog_time")
    length = max(part.sizes["record"] for part in metrics.values())
    padded = [
        part.reset_coords([name for name in times if name in part.coords])
        .astype(np.float64)
        .pad(record=(0, length - part.sizes["record"]), constant_values=np.nan)
        .expand_dims(dynamics=[name])
        for name, part in metrics.items()
    ]
    both: xarray.Dataset = xarray.concat(
        padded, dim="dynamics", join="outer", data_vars="all", combine_attrs="override"
    )
    return both.set_coords(times).assign_attrs(time="time")


def _last_medians(run: "Trajectory") -> dict[str, float]:
    last = run.metrics.isel(record=-1).median("seed")
    return {str(name): float(value) for name, value in last.items()}


def _describe(run: "Trajectory") -> str:
    """The run in a line, and its exponents where there are enough records to fit them."""
    from layerpeel.collapse import rates

    try:
        return f"{run}\n\n{rates(run)}"
    except ValueError as error:
        return f"{run}\n(no exponents: {error})"
