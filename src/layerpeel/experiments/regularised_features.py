"""Zhu et al. 2021: with weights on classifiers and features every run of descent ends in the one collapsed minimum.

The regularised model of free features has, for d >= K, no critical points but global minima and strict saddles. Descent
here starts from random states and, up to small noise, from saddles: W = H = 0, and block points, at which the classes
of a block collapse to a simplex of their own and blocks do not see each other
(:func:`layerpeel.problem.block_point`, scaled to lam_W W'W = lam_H HH').

What theory says of the numbers. With sigma the largest singular value of G = dL/dZ at the saddle, u and v its singular
vectors and a unit vector a with W a = 0, a'H = 0, the flow leaves along dW = alpha u a', dH = -beta a v' at the rate
mu > 0,

    (mu + lam_W)(mu + lam_H) = sigma^2,      at W = H = 0: sigma = 1/(K sqrt n),

which exists iff sigma > sqrt(lam_W lam_H). What of H lies in directions that no classifier uses has the gradient
lam_H H alone: within-class variation falls in the end by the factor 1 - eta lam_H a step, and the gap of the objective
by its square, where no other mode is slower.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.log_records import log_records
from layerpeel.experiments.seeds import seed_range
from layerpeel.experiments.text_table import text_table
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

    from layerpeel.dynamics import Trajectory
    from layerpeel.problem import Problem, State

__all__ = ["RegularisedFeatures"]

WINDOW = (1e2, 1e4)
"""Distances from a saddle, in units of the noise, between which the rate of leaving it is fitted."""
FALLING = (1e-10, 1e-3)
"""Within-class variations between which the rate of its fall is fitted."""
LAST = {
    "within_class_variation": "within-class",
    "mean_norm_variation": "norms",
    "mean_angle_gap": "angles",
    "duality_gap": "self-duality",
}
"""Field -> its heading in the table."""


@dataclass(frozen=True)
class RegularisedFeatures(Experiment):
    """Descent on regularised features from random starts and from saddles, to the optimum in closed form.

    Attributes:
        K: number of classes.
        n: samples a class.
        d: dimension of the features, >= K.
        lam_W: weight of the classifiers.
        lam_H: weight of the features.
        learning_rate: step size, of the mean loss.
        steps: number of steps.
        scale: standard deviation of the entries of a random start.
        noise: the same of what is added to a saddle.
        blocks: block points to start from, each a sum of its block sizes, comma-separated; "none" for none.
        seeds: number of seeds of each start, run side by side.
        first_seed: the first of them.
        records: number of records, even in log step.
    """

    name: ClassVar[str] = "regularised-features"

    K: int = 4
    n: int = 5
    d: int = 10
    lam_W: float = 5e-3
    lam_H: float = 5e-3
    learning_rate: float = 1.0
    steps: int = 10_000
    scale: float = 0.1
    noise: float = 1e-6
    blocks: str = "2+2,3+1"
    seeds: int = 5
    first_seed: int = 0
    records: int = 150

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend from all starts and seeds at once."""
        import optax

        from layerpeel.dynamics import descend
        from layerpeel.problem import ufm

        seeds, problem = seed_range(self.first_seed, self.seeds), ufm(self.K, self.n, self.d, self.lam_W, self.lam_H)
        self._check()
        record = log_records(self.steps, self.records)
        saddles = _saddles(problem, self.blocks)
        starts = _stack(
            [problem.init(seed, scale=self.scale) for seed in seeds],
            *([saddle + problem.init(seed, scale=self.noise) for seed in seeds] for saddle in saddles.values()),
        )
        run = descend(
            problem,
            starts,
            optax.sgd(self.learning_rate),
            self.steps,
            record=record,
            keep_states=True,
            checkpoint=checkpoint,
            progress=progress,
        )
        metrics = self._metrics(problem, run, saddles, seeds)
        return Finding(
            metrics=metrics,
            arrays={"W": run.state.W, "H": run.state.H},
            summary={
                "seeds": seeds,
                "outcome": {"name": run.outcome.name, "sentence": run.outcome.value},
                "wall_seconds": round(run.seconds, 3),
            },
            text=_describe(metrics),
        )

    def _check(self) -> None:
        if self.d < self.K:
            raise ValueError(f"need d >= K = {self.K}, where every saddle is strict, got d={self.d}")
        if not (self.learning_rate > 0 and self.noise > 0):
            raise ValueError(f"need learning_rate > 0 and noise > 0, got {self.learning_rate} and {self.noise}")
        if self.K * math.sqrt(self.n * self.lam_W * self.lam_H) >= 1:
            raise ValueError(
                "need K sqrt(n lam_W lam_H) < 1, or W = H = 0 is the optimum, "
                f"got lam_W={self.lam_W}, lam_H={self.lam_H}"
            )
        if self.learning_rate * self.lam_H >= 1:
            raise ValueError(
                "need learning_rate * lam_H < 1, or the weight overshoots 0 in every step, "
                f"got {self.learning_rate} and {self.lam_H}"
            )

    def _metrics(
        self, problem: "Problem", run: "Trajectory", saddles: Mapping[str, "State"], seeds: list[int]
    ) -> "xarray.Dataset":
        """The records with the dimensions (start, seed, record), the gap to the optimum and the way from the saddle."""
        import xarray

        names = ["random", *saddles]
        records = {
            str(name): (("start", "seed", "record"), field.values.reshape(len(names), len(seeds), -1))
            for name, field in run.metrics.data_vars.items()
        }
        optimum = problem.optimum()
        rates = [np.nan, *(self._leaving(problem, saddle) for saddle in saddles.values())]
        levels = [np.nan, *(problem.objective(saddle) for saddle in saddles.values())]
        return xarray.Dataset(
            records
            | {
                "distance": (("start", "seed", "record"), _distances(run, list(saddles.values()), len(seeds))),
                "level": ("start", np.array(levels)),
                "leaving": ("start", np.array(rates)),
            },
            coords={"start": names, "seed": seeds, "step": ("record", run.metrics["step"].values)},
            attrs={
                "title": f"Regularised features, K={self.K}, n={self.n}, d={self.d}, "
                f"λ_W={self.lam_W:g}, λ_H={self.lam_H:g}, rate {self.learning_rate:g}",
                "optimum": optimum.value,
                "falling": -math.log1p(-self.learning_rate * self.lam_H),
                "noise": self.noise,
            },
        ).assign(gap=lambda data: data["loss"] - optimum.value)

    def _leaving(self, problem: "Problem", saddle: "State") -> float:
        """log of the factor a step by which the distance from a saddle grows."""
        Z = saddle.W @ saddle.H
        p = np.exp(Z - Z.max(0)) / np.exp(Z - Z.max(0)).sum(0)
        sigma = np.linalg.norm(p - problem.onehot, 2) / problem.N
        half, apart = (self.lam_W + self.lam_H) / 2, (self.lam_W - self.lam_H) / 2
        return math.log1p(self.learning_rate * (math.hypot(apart, sigma) - half))


def _saddles(problem: "Problem", blocks: str) -> dict[str, "State"]:
    """Name -> critical point: the origin, and the block points that ``blocks`` lists."""
    from layerpeel.problem import State

    zero = State(np.zeros((problem.K, problem.d)), np.zeros((problem.d, problem.N)))
    sizes: dict[str, list[int]] = {}
    try:
        sizes = {name.strip(): [int(m) for m in name.split("+")] for name in blocks.split(",") if blocks != "none"}
    except ValueError:
        raise ValueError(f'need blocks as sums of sizes, comma-separated, or "none", got {blocks!r}') from None
    return {"zero": zero} | {name: _block_saddle(problem, chosen) for name, chosen in sizes.items()}


def _block_saddle(problem: "Problem", sizes: list[int]) -> "State":
    """The block point on whose sphere the multiplier is lam = sqrt(lam_W lam_H), at the ratio of the weights."""
    from layerpeel.problem import State, block_point, ulpm

    ridge, free = problem.regulariser, ulpm(problem.K, problem.n, problem.d)
    lam_W, lam_H = float(ridge.lam_W), float(ridge.lam_H)  # type: ignore[union-attr]

    def excess(rho2: float) -> float:
        point = block_point(free, sizes, rho2=rho2)
        return float(-point.inner(free.gradient(point)) / rho2 - math.sqrt(lam_W * lam_H))

    top = 1.0
    while excess(top) > 0:
        top *= 2
    point = block_point(free, sizes, rho2=brentq(excess, 1e-9, top, xtol=1e-14, rtol=1e-15))
    ratio = (lam_H / lam_W) ** 0.25
    return State(point.W * ratio, point.H / ratio)


def _stack(*groups: list["State"]) -> "State":
    """One state with a seed axis: group after group."""
    from layerpeel.problem import State

    states = [state for group in groups for state in group]
    return State(np.stack([state.W for state in states]), np.stack([state.H for state in states]))


def _distances(run: "Trajectory", saddles: list["State"], seeds: int) -> Float[np.ndarray, "start seed record"]:
    """|theta - saddle|, nan for the random starts."""
    assert run.states is not None
    records = len(run.states.W)
    found = np.full((1 + len(saddles), seeds, records), np.nan)
    for i, saddle in enumerate(saddles, start=1):
        own = slice(i * seeds, (i + 1) * seeds)
        squares = ((run.states.W[:, own] - saddle.W) ** 2).sum((-2, -1))
        squares += ((run.states.H[:, own] - saddle.H) ** 2).sum((-2, -1))
        found[i] = np.sqrt(squares).T
    return found


def _describe(metrics: "xarray.Dataset") -> str:
    """Where every start ended and, from saddles, how fast it left them beside what theory says."""
    last = metrics.isel(record=-1)
    fall = -float(np.nanmedian(_slopes(metrics["within_class_variation"].sel(start="random"), metrics, FALLING)))
    seeds = metrics.sizes["seed"]
    columns = ("start", "its objective", "leaves at", "theory", "steps to leave", "last gap", *LAST.values())
    return "\n".join(
        [
            f"{metrics.attrs['title']}; {counted(seeds, 'seed')} a start, {int(last['step'])} steps",
            f"optimum in closed form: {metrics.attrs['optimum']:.12f}",
            "",
            text_table(
                "medians over the seeds; last gap: the largest of any seed",
                columns,
                _rows(metrics),
                caption="leaves at: growth of log |theta - saddle| a step; steps to leave: until half its gap is gone",
            ),
            f"within-class variation falls by e^-{fall:.6f} a step, in theory by 1 - eta lam_H = "
            f"e^-{metrics.attrs['falling']:.6f}",
        ]
    )


def _rows(metrics: "xarray.Dataset") -> Iterator[tuple[str, ...]]:
    for name in metrics["start"].values.tolist():
        one = metrics.sel(start=name)
        last = one.isel(record=-1)
        ends = (f"{float(abs(last['gap']).max()):.1e}", *(f"{float(last[field].median()):.1e}" for field in LAST))
        if name == "random":
            yield (name, "", "", "", "", *ends)
            continue
        window = (WINDOW[0] * metrics.attrs["noise"], WINDOW[1] * metrics.attrs["noise"])
        rate = np.nanmedian(_slopes(one["distance"], metrics, window))
        left = one["gap"].values < (float(one["level"]) - metrics.attrs["optimum"]) / 2
        steps = [metrics["step"].values[row.argmax()] for row in left if row.any()]
        after = f"{np.median(steps):.0f}" if len(steps) == len(left) else f"{len(steps)} of {len(left)} seeds left"
        yield (name, f"{float(one['level']):.9f}", f"{rate:.6f}", f"{float(one['leaving']):.6f}", after, *ends)


def _slopes(
    field: "xarray.DataArray", metrics: "xarray.Dataset", window: tuple[float, float]
) -> Float[np.ndarray, "seed"]:
    """d log field / d step of every seed, by least squares over the last stretch within ``window``."""
    steps = metrics["step"].values.astype(np.float64)
    return np.array([_slope(steps, row, window) for row in field.transpose("seed", "record").values])


def _slope(steps: np.ndarray, values: np.ndarray, window: tuple[float, float]) -> float:
    inside = np.flatnonzero((values > window[0]) & (values < window[1]))
    return float(np.polyfit(steps[inside], np.log(values[inside]), 1)[0]) if len(inside) > 2 else math.nan
