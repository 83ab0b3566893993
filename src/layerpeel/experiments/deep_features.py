"""Deep features: where neural collapse is not optimal, nor are its blocks; what search finds with F factors.

For every K and depth F the local minima that L-BFGS finds from many seeds and scales are held against two states in
closed form: neural collapse, one simplex of all classes, and the best of the blocks (:func:`layerpeel.deep_blocks`).
A value below both is a state that is better than either, by its own evidence; that nothing lies lower still is not
proved.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from layerpeel.experiments.cases import Answer, Numbers, solve_cases
from layerpeel.experiments.distinct import SAME, distinct
from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.number_list import number_list
from layerpeel.experiments.seeds import seed_range
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

    from layerpeel.problem import Problem, State

__all__ = ["DeepFeatures"]

RANK = 1e-3
"""Singular values of the logits below this part of the largest count as 0."""


@dataclass(frozen=True)
class DeepFeatures(Experiment):
    """Multi-start minimisation of the deep model against its closed forms.

    Attributes:
        classes: numbers of classes, comma-separated.
        depths: numbers of factors F >= 2, comma-separated; 2 is W and H alone.
        n: samples a class.
        d: dimension of the features and width of the layers; 0 for d = K.
        lam: weight of every factor.
        scales: standard deviations of the initial entries, comma-separated.
        seeds: number of seeds at every scale.
        first_seed: the first of them.
    """

    name: ClassVar[str] = "deep-features"

    classes: str = "4,10"
    depths: str = "2,3,4,5,6"
    n: int = 1
    d: int = 0
    lam: float = 1e-4
    scales: str = "0.3,0.6"
    seeds: int = 12
    first_seed: int = 0

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Search case by case (half a minute)."""
        from layerpeel.problem import deep_ufm

        classes, depths = number_list("classes", self.classes, int), number_list("depths", self.depths, int)
        scales, seeds = number_list("scales", self.scales, float), seed_range(self.first_seed, self.seeds)
        problems = {(K, F): deep_ufm(K, self.n, self.d or K, F, self.lam) for K in classes for F in depths}
        rows = {case: _closed_forms(problem) for case, problem in problems.items()}
        starts = [(scale, seed) for scale in scales for seed in seeds]
        solved = solve_cases(
            list(problems), lambda case: _search(problems[case], starts), checkpoint, progress=progress
        )
        metrics = _dataset(classes, depths, starts, rows, solved.numbers)
        return Finding(
            metrics=metrics.assign_attrs(title=f"deep features, n={self.n}, weight {self.lam:g} of every factor"),
            arrays={f"K{K}_F{F}": found["logits"] for (K, F), found in solved.numbers.items()},
            summary={"seeds": seeds, **solved.ending},
            text=_describe(metrics, self.lam),
        )


def _closed_forms(problem: "Problem") -> dict[str, float]:
    """Values of neural collapse and of the best blocks, and how many classes a block has."""
    from layerpeel.problem import deep_blocks

    if problem.depth == 2:
        value = problem.optimum().value
        return {"etf": value, "blocks": value, "block_size": problem.K}
    found = {m: optimum.value for m, optimum in deep_blocks(problem).items()}
    if problem.K not in found:
        raise ValueError(f"need d >= K-1 = {problem.K - 1} for neural collapse beside the blocks, got d={problem.d}")
    best = min(found, key=lambda m: found[m])
    return {"etf": found[problem.K], "blocks": found[best], "block_size": best}


def _search(problem: "Problem", starts: list[tuple[float, int]]) -> Answer:
    """The logits of the lowest minimum, all values, all ranks."""
    from layerpeel.dynamics.minimise import minimise

    minima = [minimise(problem, problem.init(seed, scale=scale)) for scale, seed in starts]
    logits = [_logits(minimum.state) for minimum in minima]
    values = np.array([minimum.value for minimum in minima])
    return Answer({"logits": logits[int(values.argmin())], "value": values, "rank": [_rank(Z) for Z in logits]})


def _logits(state: "State") -> np.ndarray:
    from layerpeel.problem.objective import features

    return np.asarray(state.W @ features(state))


def _rank(Z: np.ndarray) -> int:
    s = np.linalg.svd(Z, compute_uv=False)
    return int((s > RANK * max(s[0], RANK)).sum())


def _dataset(
    classes: list[int],
    depths: list[int],
    starts: list[tuple[float, int]],
    rows: Mapping[Any, Mapping[str, float]],
    found: Mapping[Any, Numbers],
) -> "xarray.Dataset":
    import xarray

    nothing = np.full(len(starts), np.nan)

    def table(read: Any) -> list[list[Any]]:
        return [[read((K, F)) for F in depths] for K in classes]

    case, each = ("classes", "depth"), ("classes", "depth", "start")
    return xarray.Dataset(
        {name: (case, table(lambda at, name=name: rows[at][name])) for name in ("etf", "blocks", "block_size")}
        | {
            "value": (each, table(lambda at: found[at]["value"] if at in found else nothing)),
            "rank": (each, table(lambda at: found[at]["rank"] if at in found else nothing)),
            "threshold": ("classes", [_threshold(K) for K in classes]),
        },
        coords={
            "classes": classes,
            "depth": depths,
            "scale": ("start", [scale for scale, _ in starts]),
            "seed": ("start", [seed for _, seed in starts]),
        },
    )


def _threshold(K: int) -> float:
    """2/log2(2(K-1)/K): pairs beat neural collapse from this depth on, as the weight goes to 0."""
    return 2 / math.log2(2 * (K - 1) / K) if K > 2 else math.inf


def _describe(metrics: "xarray.Dataset", lam: float) -> str:
    lines = [
        f"{counted(metrics.sizes['start'], 'start')} a case, weight {lam:g}; values over the weight, rank in brackets"
    ]
    for K in metrics["classes"].values:
        of_K = metrics.sel(classes=K)
        lines += ["", f"K = {K}: pairs beat neural collapse iff F > {float(of_K['threshold']):.4f} (weight -> 0)"]
        lines += [f"{'F':>3} {'collapse':>11} {'best blocks':>17} {'least found':>16}  minima found (starts)"]
        lines += [_row(of_K.sel(depth=F), lam) for F in metrics["depth"].values]
    return "\n".join(lines)


def _row(case: "xarray.Dataset", lam: float) -> str:
    F, K, m = (int(case[name]) for name in ("depth", "classes", "block_size"))
    etf, blocks = float(case["etf"]) / lam, float(case["blocks"]) / lam
    closed = f"{F:3} {etf:11.6f} {blocks:11.6f} ({K - K // m:3})"
    if not np.isfinite(case["value"]).all():
        return f"{closed}  not reached"
    minima = distinct(case["value"].values / lam, case["rank"].values)
    least, rank, _ = minima[0]
    listed = ", ".join(f"{value:.5f} [{rank}] x{count}" for value, rank, count in minima[:4])
    more = f" and {len(minima) - 4} more" if len(minima) > 4 else ""
    return f"{closed} {least:11.6f} [{rank:2}]  {_verdict(least, etf, blocks)}: {listed}{more}"


def _verdict(least: float, etf: float, blocks: float) -> str:
    if least < blocks * (1 - SAME):
        return f"{1 - least / blocks:.2%} BELOW every block state"
    if least > blocks * (1 + SAME):
        return "search did not reach the blocks"
    return "neural collapse" if blocks > etf * (1 - SAME) else "the blocks"
