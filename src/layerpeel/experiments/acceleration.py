"""Momentum on log L: powers of the number of steps, for several optimisers side by side, and what explains them.

Beside the collapse metrics of every optimiser, seed and record there are, with P = I - J/K and V the row space of PW
(the part of the state that grows),

    squared_norm      rho^2 = |W|^2 + |H|^2,
    still             |1'W|^2/K + |H - VV'H|^2, what has no gradient at collapse and does not grow,
    uneven            2 |PY|_* x, x the mean of (margin - q_min) weighted by the probabilities p of the wrong classes,
    balance_growing   |V'(W'PW - HH')V|_F, conserved by the flow up to the still part.

Near the directions of largest margin 1 - gamma/gamma* = (still + uneven)/rho^2 up to higher powers of 1/rho^2: there
rho^2 = still + 2|Z|_*, |Z|_* = |PY|_* sum p margin (p is the dual certificate), and the bound on q_min is rho^2/(2
|PY|_*). The numerator is constant: uneven tends to 0 for equal classes, and to what log p differs by in the
multipliers of (5) for others. So the gap is as fast as rho^2 grows, and what momentum changes is the growth.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table
from scipy.special import softmax

from layerpeel.experiments.cases import Answer, Solved, solve_cases
from layerpeel.experiments.descents import answer, last_states, side_by_side
from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.log_records import log_records
from layerpeel.experiments.seeds import seed_range
from layerpeel.wording import counted

if TYPE_CHECKING:
    import optax
    import xarray

    from layerpeel.dynamics import Trajectory
    from layerpeel.problem import Problem

__all__ = ["Acceleration"]

FIELDS = {
    "margin_gap": "1-γ/γ*",
    "within_class_variation": "within-class",
    "mean_norm_variation": "norms",
    "mean_angle_gap": "angles",
    "duality_gap": "self-duality",
    "squared_norm": "ρ²",
    "balance_growing": "balance",
}
"""Field -> its heading in the table of exponents."""
MOST = 7
"""Optimisers in one figure."""
ARRIVED = 0.9
"""From this share of the gap on (still + uneven)/rho^2 is all that is left of it: the run has arrived."""


@dataclass(frozen=True)
class Acceleration(Experiment):
    """Descent on log L by several optimisers from the same starts.

    Attributes:
        K: number of classes.
        n: samples a class, an int or one a class: n=[20,10,5,2,1].
        d: dimension of the features.
        optimizers: comma-separated: plain, momentum:FRICTION, nesterov:FRICTION (on the normalised steps),
            heavy-ball:WEIGHT (constant, on the normalised steps), adam:RATE (on log L).
        strength: c in units of |PY|_*^2, for all optimisers but adam.
        steps: number of steps.
        scale: standard deviation of the initial entries.
        seeds: number of seeds, run side by side.
        first_seed: the first of them.
        records: number of records, even in log step.
    """

    name: ClassVar[str] = "acceleration"

    K: int = 5
    n: Any = 10
    d: int = 20
    optimizers: str = "plain,heavy-ball:0.9,adam:0.01,nesterov:3,momentum:1,momentum:4"
    strength: float = 0.1
    steps: int = 100_000
    scale: float = 0.1
    seeds: int = 8
    first_seed: int = 0
    records: int = 60

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend by every optimiser, from all seeds at once (a minute)."""
        from layerpeel.dynamics import descend
        from layerpeel.problem import ulpm

        problem, seeds = ulpm(self.K, self.n, self.d), seed_range(self.first_seed, self.seeds)
        record, optimizers = log_records(self.steps, self.records), self._optimizers(problem)
        start = problem.init(seeds, scale=self.scale)

        def solve(name: str) -> Answer:
            run = descend(problem, start, optimizers[name], self.steps, record=record, keep_states=True)
            return answer(run, _growth(run) | _uneven(run))

        solved = solve_cases(list(optimizers), solve, checkpoint, unit="optimizers", progress=progress)
        return self._finding(problem, solved, seeds)

    def _optimizers(self, problem: "Problem") -> dict[str, "optax.GradientTransformation"]:
        from layerpeel.separation import separation_cost

        if not self.strength > 0:
            raise ValueError(f"need strength > 0, got strength={self.strength}")
        c = self.strength * separation_cost(problem.n) ** 2
        names = [name.strip() for name in self.optimizers.split(",")]
        if not 1 <= len(set(names)) == len(names) <= MOST:
            raise ValueError(f"need optimizers to be at most {MOST} different ones, got {self.optimizers!r}")
        return {name: _optimizer(name, c) for name in names}

    def _finding(self, problem: "Problem", solved: Solved[str], seeds: list[int]) -> Finding:
        from layerpeel.dynamics.trajectory import title

        metrics = side_by_side(solved.numbers, "optimizer", seeds, {"title": title(problem)})
        return Finding(
            metrics=metrics,
            arrays=last_states(solved.numbers),
            summary={"seeds": seeds, **solved.ending},
            text=_describe(metrics),
        )


def _optimizer(name: str, c: float) -> "optax.GradientTransformation":
    """The optimiser called ``name``, NAME or NAME:NUMBER."""
    import optax

    from layerpeel.dynamics import normalized, on_log_loss

    def nesterov(friction: float) -> optax.GradientTransformation:
        trace = optax.inject_hyperparams(optax.trace, static_args=("nesterov",))
        return optax.chain(normalized(c), trace(decay=lambda t: t / (t + friction), nesterov=True))

    makers: dict[str, Callable[[float], optax.GradientTransformation]] = {
        "momentum": lambda friction: normalized(c, momentum=True, friction=friction),
        "nesterov": nesterov,
        "heavy-ball": lambda weight: optax.chain(normalized(c), optax.trace(weight)),
        "adam": lambda rate: optax.chain(on_log_loss(), optax.adam(rate)),
    }
    kind, _, number = name.partition(":")
    if name == "plain":
        return normalized(c)
    try:
        if kind in makers and 0 < float(number) < (1 if kind == "heavy-ball" else np.inf):
            return makers[kind](float(number))
    except ValueError:
        pass
    raise ValueError(
        f"need optimizers to be plain or one of {', '.join(makers)} with :NUMBER > 0 (< 1 for heavy-ball), got {name!r}"
    )


def _growth(run: "Trajectory") -> dict[str, Float[np.ndarray, "seed record"]]:
    """How far which part has grown, from the states of all records."""
    assert run.states is not None
    W, H = np.asarray(run.states.W), np.asarray(run.states.H)
    centred = W - W.mean(-2, keepdims=True)
    V = np.linalg.svd(centred, full_matrices=False)[2][..., : min(W.shape[-2] - 1, W.shape[-1]), :]
    WV, VH = centred @ V.swapaxes(-1, -2), V @ H
    balance = WV.swapaxes(-1, -2) @ WV - VH @ VH.swapaxes(-1, -2)
    fields = {
        "squared_norm": _squared(W) + _squared(H),
        "still": _squared(W - centred) + _squared(H - V.swapaxes(-1, -2) @ VH),
        "balance_growing": np.sqrt(_squared(balance)),
    }
    return {name: values.T for name, values in fields.items()}


def _uneven(run: "Trajectory") -> dict[str, Float[np.ndarray, "seed record"]]:
    """2 |PY|_* x, record by record."""
    from layerpeel.separation import separation_cost

    assert run.states is not None
    problem = run.problem
    own = np.arange(problem.K)[:, None] == problem.labels
    means = [_weighted_margin(W @ H, own) for W, H in zip(run.states.W, run.states.H, strict=True)]
    return {"uneven": 2 * separation_cost(problem.n) * np.stack(means, axis=1)}


def _weighted_margin(Z: Float[np.ndarray, "seed K N"], own: Bool[np.ndarray, "K N"]) -> Float[np.ndarray, "seed"]:
    """x = sum p (margin - q_min) / sum p, p_ki the softmax probability of the wrong class k for sample i."""
    margins = np.where(own, Z, 0.0).sum(-2, keepdims=True) - Z
    excess = np.where(own, 0.0, margins - np.where(own, np.inf, margins).min((-2, -1), keepdims=True))
    own_class = np.where(own, softmax(Z, axis=-2), 0.0).sum(-2, keepdims=True)
    weights = np.where(own, 0.0, own_class * np.exp(-excess))  # p up to a common factor, where p itself underflows
    return np.asarray((weights * excess).sum((-2, -1)) / weights.sum((-2, -1)))


def _squared(matrices: Float[np.ndarray, "*lead a b"]) -> Float[np.ndarray, "*lead"]:
    return np.asarray((matrices**2).sum((-2, -1)))


def _describe(metrics: "xarray.Dataset") -> str:
    """The exponents of the steps over the last decade of the run, a column an optimiser, and what explains them."""
    names = [str(name) for name in metrics["optimizer"].values]
    last = int(metrics["step"][-1])
    table = Table(
        title=f"{metrics.attrs['title']}, {counted(metrics.sizes['seed'], 'seed')}: exponents p of steps^p",
        caption=f"over {last / 10:.4g} <= steps <= {last:.4g}; ± standard error over seeds",
    )
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    columns = [_column(metrics.sel(optimizer=name), last) for name in names]
    for heading in columns[0]:
        table.add_row(heading, *(column[heading] for column in columns))
    console = Console(file=io.StringIO(), width=34 + 19 * len(names), color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _column(metrics: "xarray.Dataset", last: int) -> dict[str, str]:
    """Heading -> entry, of one optimiser."""
    from layerpeel.collapse import rates

    try:
        fitted = rates(metrics, variable="step", window=(last / 10, last))
    except ValueError:  # too few records
        exponents = dict.fromkeys([*FIELDS.values(), "1-γ/γ*, at the end"], "")
    else:
        exponents = {heading: str(fitted[field]) for field, heading in FIELDS.items()}
        exponents["1-γ/γ*, at the end"] = f"{np.median(fitted.local_slopes['margin_gap'][:, -1]):.3f}"
    end = metrics.isel(record=-1)
    gap = (1 - end["margin_ratio"]).values
    share = ((end["still"] + end["uneven"]) / end["squared_norm"]).values / gap
    return exponents | {
        "last 1-γ/γ*": f"{np.median(gap):.3g}",
        "last within-class": f"{float(end['within_class_variation'].median()):.3g}",
        "last -log L": f"{-float(end['log_loss'].median()):.4g}",
        "last still/ρ² : gap": f"{float((end['still'] / end['squared_norm'] / gap).median()):.4f}",
        "(still+uneven)/ρ² : gap": f"{np.median(share):.4f}",
        "seeds arrived": f"{((share > ARRIVED) & (share < 1 / ARRIVED)).sum()} of {len(share)}",
    }
