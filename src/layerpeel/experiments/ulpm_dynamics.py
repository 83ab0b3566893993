"""Figure 2 of Ji et al. 2022: descent on the unconstrained layer-peeled model, collapse in powers of log t."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from layerpeel.experiments.experiment import Experiment, Finding

if TYPE_CHECKING:
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

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend from all seeds at once."""
        from layerpeel.dynamics import GradientNoise, descend
        from layerpeel.problem import ulpm

        problem = ulpm(self.K, self.n, self.d, reduction=self.reduction)
        if self.seeds < 1:
            raise ValueError(f"need seeds >= 1, got seeds={self.seeds}")
        if not 0 <= self.first_seed < 2**31:
            raise ValueError(f"need 0 <= first_seed < 2^31, got first_seed={self.first_seed}")
        start = problem.init(range(self.first_seed, self.first_seed + self.seeds), scale=self.scale)
        run = descend(
            problem,
            start,
            self._optimizer(),
            steps=self.steps,
            record=self.records,
            noise=GradientNoise(self.noise, seed=self.first_seed) if self.noise else None,
            checkpoint=checkpoint,
            progress=progress,
        )
        return self._finding(run)

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

    def _finding(self, run: "Trajectory") -> Finding:
        seeds = list(range(self.first_seed, self.first_seed + self.seeds))
        return Finding(
            metrics=run.metrics.assign_coords(seed=seeds),
            arrays={"W": run.state.W, "H": run.state.H},
            summary={
                "seeds": seeds,
                "outcome": {"name": run.outcome.name, "sentence": run.outcome.value},
                "wall_seconds": round(run.seconds, 3),
                "last_values": _last_medians(run),
            },
            text=_describe(run),
        )


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
