"""Mixon, Parshall and Pi 2020: the squared loss from a small start ends in strong collapse, up to powers of its size.

Without weights the squared loss with a free bias has a continuum of minima, W H + b 1' = Y. From a start of entries of
size eps descent goes to the one with

    W W' = sqrt(n) P,    h_i = w_{y_i} / sqrt(n),    b = 1/K,        P = I - J/K, n samples A CLASS,

with errors O(eps^2) in W W' and O(eps) in H. The limit follows from two facts: P Y has K - 1 equal singular values
sqrt(n), and W'W = HH' up to O(eps^2), conserved by the flow; so those of W are n^{1/4}. sqrt(N) in the paper's W W' =
sqrt(N) P therefore means the samples of a class; with N = K n in its place the error does not tend to 0, and the record
has it too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.log_records import log_records
from layerpeel.experiments.seeds import seed_range
from layerpeel.experiments.text_table import text_table
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

    from layerpeel.dynamics import Trajectory
    from layerpeel.problem import Problem, State

__all__ = ["SquaredLoss"]

ERRORS = {
    "gram_error": "WW' - √n P",
    "gram_error_all": "WW' - √(Kn) P",
    "feature_error": "H - W'Y/√n",
    "within_error": "H - class means",
    "bias_error": "b - 1/K",
}
"""Field -> what it is the norm of."""
EXPONENTS = {"gram_error": "2", "gram_error_all": "0", "feature_error": "1", "within_error": "1", "bias_error": "1"}
"""What theory says of the powers of eps; of those of H and WW' the paper, of the others the facts above."""


class Power(NamedTuple):
    """A fitted exponent and its standard error over the seeds."""

    exponent: float
    stderr: float

    def __str__(self) -> str:
        return f"{self.exponent:.3f} ± {self.stderr:.3f}"


@dataclass(frozen=True)
class SquaredLoss(Experiment):
    """Descent on the squared loss with a free bias, no weights, from starts of several sizes.

    Attributes:
        K: number of classes.
        n: samples a class.
        d: dimension of the features, >= K - 1.
        sizes: number of sizes eps, even in log eps.
        smallest: the smallest eps.
        largest: the largest eps.
        learning_rate: step size, of the mean loss.
        steps: number of steps.
        seeds: number of seeds; each gives the same directions at all sizes.
        first_seed: the first of them.
        records: number of records, even in log step.
    """

    name: ClassVar[str] = "squared-loss"

    K: int = 4
    n: int = 5
    d: int = 10
    sizes: int = 7
    smallest: float = 1e-5
    largest: float = 1e-2
    learning_rate: float = 1.0
    steps: int = 2000
    seeds: int = 5
    first_seed: int = 0
    records: int = 120

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend from all sizes and seeds at once."""
        import optax

        from layerpeel.dynamics import descend
        from layerpeel.problem import mse_ufm

        seeds, problem = seed_range(self.first_seed, self.seeds), mse_ufm(self.K, self.n, self.d, 0, 0, bias="free")
        self._check()
        record = log_records(self.steps, self.records)
        eps = np.geomspace(self.largest, self.smallest, self.sizes)
        run = descend(
            problem,
            _starts(problem, eps, seeds),
            optax.sgd(self.learning_rate),
            self.steps,
            record=record,
            keep_states=True,
            checkpoint=checkpoint,
            progress=progress,
        )
        metrics = _metrics(problem, run, eps, seeds).assign_attrs(
            title=f"Squared loss, K={self.K}, n={self.n}, d={self.d}, rate {self.learning_rate:g}, {self.steps} steps"
        )
        return Finding(
            metrics=metrics,
            arrays={"W": run.state.W, "H": run.state.H, "b": run.state.b},
            summary={
                "seeds": seeds,
                "outcome": {"name": run.outcome.name, "sentence": run.outcome.value},
                "wall_seconds": round(run.seconds, 3),
                "exponents": {field: list(_power(metrics, field)) for field in ERRORS},
            },
            text=_describe(metrics),
        )

    def _check(self) -> None:
        if self.d < self.K - 1:
            raise ValueError(f"need d >= K-1 = {self.K - 1}, the dimensions of a simplex, got d={self.d}")
        if self.sizes < 2 or not 0 < self.smallest < self.largest < 1:
            raise ValueError(
                f"need sizes >= 2 and 0 < smallest < largest < 1, got {self.sizes}, {self.smallest}, {self.largest}"
            )
        if not self.learning_rate > 0:
            raise ValueError(f"need learning_rate > 0, got learning_rate={self.learning_rate}")


def _starts(problem: "Problem", eps: Float[np.ndarray, "eps"], seeds: list[int]) -> "State":
    """eps N(0, 1), the same numbers at every eps; b = 0. Size after size."""
    from layerpeel.problem import State

    unit = problem.init(seeds, scale=1.0)
    W, H = (np.concatenate([size * part for size in eps]) for part in (unit.W, unit.H))
    return State(W, H, np.zeros((len(W), problem.K)))


def _metrics(
    problem: "Problem", run: "Trajectory", eps: Float[np.ndarray, "eps"], seeds: list[int]
) -> "xarray.Dataset":
    """The errors and the loss with the dimensions (eps, seed, record)."""
    import xarray

    assert run.states is not None
    fields = {name: values.T for name, values in _errors(problem, run.states).items()}
    fields["loss"] = run.metrics["loss"].values
    return xarray.Dataset(
        {
            name: (("eps", "seed", "record"), values.reshape(len(eps), len(seeds), -1))
            for name, values in fields.items()
        },
        coords={"eps": eps, "seed": seeds, "step": ("record", run.metrics["step"].values)},
    )


def _errors(problem: "Problem", states: "State") -> dict[str, Float[np.ndarray, "record seed"]]:
    """Norms of what ERRORS names, of states with two leading axes."""
    K, n, W, H = problem.K, problem.n[0], states.W, states.H
    P, transposed = np.eye(K) - 1 / K, W.swapaxes(-1, -2)
    means = H.reshape(*H.shape[:-1], K, n).mean(-1)
    return {
        "gram_error": _norm(W @ transposed - np.sqrt(n) * P),
        "gram_error_all": _norm(W @ transposed - np.sqrt(K * n) * P),
        "feature_error": _norm(H - np.repeat(transposed, n, axis=-1) / np.sqrt(n)),
        "within_error": _norm(H - np.repeat(means, n, axis=-1)),
        "bias_error": np.linalg.norm(states.b - 1 / K, axis=-1),
    }


def _norm(matrices: Float[np.ndarray, "*lead a b"]) -> Float[np.ndarray, "*lead"]:
    return np.linalg.norm(matrices, axis=(-2, -1))


def _power(metrics: "xarray.Dataset", field: str) -> Power:
    """The exponent p of eps^p at the last record: least squares for every seed, mean and standard error."""
    values = metrics[field].isel(record=-1).transpose("eps", "seed").values
    slopes = np.polyfit(np.log(metrics["eps"].values), np.log(values), 1)[0]
    stderr = slopes.std(ddof=1) / np.sqrt(len(slopes)) if len(slopes) > 1 else np.nan
    return Power(float(slopes.mean()), float(stderr))


def _describe(metrics: "xarray.Dataset") -> str:
    eps, seeds = metrics["eps"].values, metrics.sizes["seed"]
    shown = sorted({0, len(eps) // 2, len(eps) - 1})
    columns = ("norm of", *(f"at eps={eps[i]:.3g}" for i in shown), "power of eps", "theory")
    return "\n".join(
        [
            text_table(
                f"{metrics.attrs['title']}; medians over {counted(seeds, 'seed')}",
                columns,
                _rows(metrics, shown),
                caption=f"± standard error over seeds, {len(eps)} sizes from {eps[-1]:.3g} to {eps[0]:.3g}",
            ),
            f"loss at the end: at most {float(metrics['loss'].isel(record=-1).max()):.1e}",
        ]
    )


def _rows(metrics: "xarray.Dataset", shown: list[int]) -> Iterator[tuple[str, ...]]:
    last = metrics.isel(record=-1)
    for field, heading in ERRORS.items():
        values = [f"{float(last[field].isel(eps=i).median()):.3g}" for i in shown]
        yield (heading, *values, str(_power(metrics, field)), EXPONENTS[field])
