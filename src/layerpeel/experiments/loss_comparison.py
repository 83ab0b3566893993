"""Are all losses created equal? Five losses on one regularised model: where each ends, and how fast (Zhou et al. 2022).

Every model is min mean loss(WH + b1') + (lam/2)(|W|^2 + |H|^2), the bias free, from the same starts, with gradient
descent of one step. For a loss that treats classes alike the optimum is Z = q (I - J/K) Y: one geometry, neural
collapse, and one number, the margin q, that tells losses apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from layerpeel.experiments.cases import Answer, Solved, solve_cases
from layerpeel.experiments.descents import answer, last_states, side_by_side
from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.log_records import log_records
from layerpeel.experiments.seeds import seed_range
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

    from layerpeel.problem import Problem

__all__ = ["LossComparison"]

NAMES = ("cross-entropy", "label smoothing", "focal", "squared error", "hinge")
SHOWN = ("within_class_variation", "mean_norm_variation", "mean_angle_gap", "duality_gap")
COLLAPSED = 1e-3
"""Below it, for all of SHOWN, a run counts as collapsed."""


@dataclass(frozen=True)
class LossComparison(Experiment):
    """Descent on the regularised model with five losses, from the same starts.

    Attributes:
        K: number of classes.
        n: samples a class.
        d: dimension of the features.
        lam: weight of W and of H.
        losses: comma-separated: cross-entropy, label smoothing, focal, squared error, hinge.
        smoothing: of label smoothing.
        gamma: of the focal loss.
        learning_rate: step size; of the hinge, whose kink it would jump about, it falls like 1/(1 + lam time).
        steps: number of steps.
        scale: standard deviation of the initial entries.
        seeds: number of seeds, run side by side.
        first_seed: the first of them.
        records: number of records, even in log step.
    """

    name: ClassVar[str] = "loss-comparison"

    K: int = 4
    n: int = 5
    d: int = 6
    lam: float = 5e-3
    losses: str = "cross-entropy,label smoothing,focal,squared error,hinge"
    smoothing: float = 0.1
    gamma: float = 2.0
    learning_rate: float = 1.0
    steps: int = 5000
    scale: float = 0.1
    seeds: int = 8
    first_seed: int = 0
    records: int = 60

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend on every loss, from all seeds at once (half a minute)."""
        seeds = seed_range(self.first_seed, self.seeds)
        if not self.learning_rate > 0:
            raise ValueError(f"need learning_rate > 0, got learning_rate={self.learning_rate}")
        record, problems = log_records(self.steps, self.records), self._problems()
        for problem in problems.values():
            problem.optimum()  # too small a dimension is told before anything is computed
        solved = solve_cases(
            list(problems),
            lambda name: self._descent(name, problems[name], seeds, record),
            checkpoint,
            unit="losses",
            progress=progress,
        )
        return self._finding(problems, solved, seeds)

    def _problems(self) -> dict[str, "Problem"]:
        from layerpeel.problem import CrossEntropy, Focal, Hinge, mse_ufm, ufm

        losses = (CrossEntropy(), CrossEntropy(label_smoothing=self.smoothing), Focal(self.gamma), None, Hinge())
        shape = (self.K, self.n, self.d, self.lam, self.lam)
        chosen = [name.strip() for name in self.losses.split(",")]
        if not set(chosen) <= set(NAMES):
            raise ValueError(f"need losses among {', '.join(NAMES)}, got {self.losses!r}")
        models = {
            name: mse_ufm(*shape, bias="free") if loss is None else ufm(*shape, 0.0, loss=loss)
            for name, loss in zip(NAMES, losses, strict=True)
        }
        return {name: models[name] for name in chosen}

    def _descent(self, name: str, problem: "Problem", seeds: list[int], record: list[int]) -> Answer:
        import optax

        from layerpeel.dynamics import descend

        rate = self._falling if name == "hinge" else self.learning_rate
        start = problem.init(seeds, scale=self.scale)
        return answer(descend(problem, start, optax.sgd(rate), self.steps, record=record))

    def _falling(self, step: Any) -> Any:
        return self.learning_rate / (1 + self.lam * self.learning_rate * step)

    def _finding(self, problems: Mapping[str, "Problem"], solved: Solved[str], seeds: list[int]) -> Finding:
        attrs = {
            "lam": self.lam,
            "learning_rate": self.learning_rate,
            "title": f"K={self.K}, n={self.n}, d={self.d}, weight {self.lam:g}, step {self.learning_rate:g}",
        }
        records = side_by_side(solved.numbers, "model", seeds, attrs)
        metrics = records.assign(_against_optimum([problems[name] for name in solved.numbers], records))
        return Finding(
            metrics=metrics,
            arrays=last_states(solved.numbers),
            summary={"seeds": seeds, **solved.ending},
            text=_describe(metrics),
        )


def _against_optimum(problems: Sequence["Problem"], records: "xarray.Dataset") -> dict[str, Any]:
    """What the closed form says, beside what descent found."""
    optima = [problem.optimum() for problem in problems]
    Z = [np.asarray(optimum.state.W @ optimum.state.H) for optimum in optima]
    values = np.array([optimum.value for optimum in optima])
    return {
        "optimum": ("model", values),
        "optimal_margin": ("model", np.array([z[0, 0] - z[1, 0] for z in Z])),
        "objective_gap": (("model", "seed", "record"), records["loss"].values - values[:, None, None]),
    }


def _describe(metrics: "xarray.Dataset") -> str:
    last, spread = int(metrics["step"][-1]), metrics.isel(record=-1).median("seed")
    names = [str(name) for name in metrics["model"].values]
    rows = {
        "optimum, closed form": [f"{v:.12f}" for v in spread["optimum"].values],
        "objective - optimum": [f"{v:.1e}" for v in spread["objective_gap"].values],
        "margin q, closed form": [f"{v:.8f}" for v in spread["optimal_margin"].values],
        "margin q, found": [f"{v:.8f}" for v in spread["margin"].values],
        "within-class": [f"{v:.1e}" for v in spread["within_class_variation"].values],
        "norms": [f"{v:.1e}" for v in spread["mean_norm_variation"].values],
        "angles": [f"{v:.1e}" for v in spread["mean_angle_gap"].values],
        "self-duality": [f"{v:.1e}" for v in spread["duality_gap"].values],
        "fall of within-class": [_fall(metrics.sel(model=name)) for name in names],
        f"steps to all < {COLLAPSED:g}": [_first(metrics.sel(model=name), _worst) for name in names],
        "steps to gap < 1e-6": [_first(metrics.sel(model=name), _relative_gap) for name in names],
    }
    heading = f"{metrics.attrs['title']}, {counted(metrics.sizes['seed'], 'seed')}, medians after {last} steps"
    lines = [heading, f"{'':24}" + "".join(f"{name:>18}" for name in names)]
    lines += [f"{label:24}" + "".join(f"{value:>18}" for value in values) for label, values in rows.items()]
    lines += [
        "",
        "fall of within-class: -d log(within-class variation) / d(step size x steps) over the last half of the run:",
        f"the weight, {metrics.attrs['lam']:g}, whatever the loss, once what features of a class differ by is unseen.",
    ]
    return "\n".join(lines)


def _fall(metrics: "xarray.Dataset") -> str:
    """The rate at which within-class variation falls at the end; empty for the hinge, whose step falls."""
    if str(metrics["model"].item()) == "hinge":
        return ""
    late = metrics.where(metrics["step"] >= metrics["step"][-1] / 2, drop=True)
    if late.sizes["record"] < 2:
        return ""
    fell = -np.diff(np.log(late["within_class_variation"].median("seed").values[[0, -1]]))[0]
    return f"{fell / float(late['step'][-1] - late['step'][0]) / metrics.attrs['learning_rate']:.6f}"


def _worst(metrics: "xarray.Dataset") -> np.ndarray:
    """Median over the seeds of the worst metric of collapse, over COLLAPSED."""
    return np.max([metrics[name].median("seed").values for name in SHOWN], axis=0) / COLLAPSED


def _relative_gap(metrics: "xarray.Dataset") -> np.ndarray:
    return np.asarray((metrics["objective_gap"].median("seed") / metrics["optimum"]).values / 1e-6)


def _first(metrics: "xarray.Dataset", measure: Any) -> str:
    """The first recorded step from which on ``measure`` stays below 1."""
    above = np.flatnonzero(~(measure(metrics) < 1))
    at = above[-1] + 1 if above.size else 0
    return str(int(metrics["step"][at])) if at < metrics.sizes["record"] else "never"
