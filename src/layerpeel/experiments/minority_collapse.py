"""Fang, He, Long and Su 2021, Figure 3: classifiers of small classes become one when classes are unequal enough.

In the layer-peeled model of K_A classes with R times as many samples as each of the K_B = K - K_A others, the cosine of
two minority classifiers grows from -1/(K-1) at R = 1 to 1 at a finite R0. Here it is measured by projected descent from
random starts and compared with the optimum of the convex program of four scalars (:mod:`layerpeel.problem.two_groups`).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from layerpeel.experiments.cases import Answer, Numbers, solve_cases
from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.number_list import number_list
from layerpeel.experiments.seeds import seed_range
from layerpeel.experiments.text_table import text_table
from layerpeel.wording import counted

if TYPE_CHECKING:
    import optax
    import xarray

    from layerpeel.problem import Problem

__all__ = ["MinorityCollapse"]

FARTHEST = 2.5
"""The largest ratio, in units of R0."""
CURVE = 61
"""Points of an exact curve."""
MOMENTUM = 0.5


class Place(NamedTuple):
    """One run: which majority, which point of its curve, and the class sizes."""

    majority: int
    point: int
    n_A: int
    n_B: int


@dataclass(frozen=True)
class MinorityCollapse(Experiment):
    """The cosine of minority classifiers against the imbalance R in the layer-peeled model, with its exact threshold.

    Attributes:
        K: number of classes.
        majorities: numbers K_A of majority classes, comma-separated, each from 1 to K - 2.
        d: dimension of the features, >= K - 1.
        E_W: bound of the mean squared norm of the classifiers.
        E_H: bound of the mean squared norm of the features.
        ratios: ratios R for each K_A, even in log R from 1 to 2.5 times the threshold R0, as near as class sizes allow.
        learning_rate: of the classifiers; the features have N E_H/E_W times as much in relation to their gradients.
        steps: number of projected steps.
        scale: standard deviation of the initial entries, before the projection.
        seeds: number of seeds, run side by side.
        first_seed: the first of them.
    """

    name: ClassVar[str] = "minority-collapse"

    K: int = 10
    majorities: str = "3,5,7"
    d: int = 10
    E_W: float = 1.0
    E_H: float = 5.0
    ratios: int = 7
    learning_rate: float = 10.0
    steps: int = 3000
    scale: float = 0.1
    seeds: int = 4
    first_seed: int = 0

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Descend at every ratio from all seeds at once (half a minute)."""
        from layerpeel.problem import minority_collapse_threshold
        from layerpeel.problem.two_groups import TwoGroups

        seeds, majorities = seed_range(self.first_seed, self.seeds), self._majorities()
        if self.ratios < 2 or not self.learning_rate > 0:
            raise ValueError(f"need ratios >= 2 and learning_rate > 0, got {self.ratios} and {self.learning_rate}")
        if self.d < self.K - 1:
            raise ValueError(f"need d >= K-1 = {self.K - 1} for the exact curve, got d={self.d}")
        programs = [TwoGroups(KA, self.K - KA, self.E_W, self.E_H) for KA in majorities]
        bounds = {"E_W": self.E_W, "E_H": self.E_H}
        thresholds = [minority_collapse_threshold(KA=KA, KB=self.K - KA, **bounds) for KA in majorities]
        places = [place for i, R0 in enumerate(thresholds) for place in self._places(i, R0)]
        solved = solve_cases(
            places,
            lambda place: self._descent(place, majorities[place.majority], seeds),
            checkpoint,
            unit="ratios",
            progress=progress,
        )
        metrics = _metrics(programs, thresholds, places, solved.numbers, seeds)
        return Finding(
            metrics=metrics,
            arrays={},
            summary={"seeds": seeds, **solved.ending},
            text=_describe(metrics),
        )

    def _majorities(self) -> list[int]:
        majorities = number_list("majorities", self.majorities, int)
        if not all(1 <= KA <= self.K - 2 for KA in majorities):
            raise ValueError(f"need majorities from 1 to K-2 = {self.K - 2}, got {self.majorities!r}")
        return majorities

    def _places(self, majority: int, R0: float) -> list[Place]:
        """n_B so large that n_A grows from point to point."""
        ratios = np.geomspace(1, FARTHEST * R0, self.ratios)
        n_B = math.ceil(1 / (ratios[1] - 1))
        return [Place(majority, i, max(n_B, round(R * n_B)), n_B) for i, R in enumerate(ratios)]

    def _descent(self, place: Place, KA: int, seeds: list[int]) -> Answer:
        """Cosine and length of the minority's classifiers, and the loss, seed by seed."""
        from layerpeel.dynamics import descend
        from layerpeel.problem import lpm

        sizes = [place.n_A] * KA + [place.n_B] * (self.K - KA)
        problem = lpm(self.K, sizes, self.d, self.E_W, self.E_H)
        start = problem.init(seeds, scale=self.scale)
        run = descend(problem, start, self._optimizer(problem), self.steps, record=[self.steps])
        cosine, length = _minority(run.state.W, KA)
        return Answer({"cosine": cosine, "length": length, "loss": run.metrics["loss"].values[:, -1]}, run.outcome)

    def _optimizer(self, problem: "Problem") -> "optax.GradientTransformation":
        """Heavy ball, with a rate for W and one for H: the set is a product of balls, so its fixed points stay."""
        import optax

        from layerpeel.problem import State

        features = problem.N * self.E_W / self.E_H  # curvatures: |h|^2 for W, |w|^2/N for H
        rates = optax.stateless(lambda slope, _: State(slope.W, features * slope.H))
        return optax.chain(rates, optax.sgd(self.learning_rate * self.E_W / self.E_H, momentum=MOMENTUM))


def _metrics(
    programs: list[Any],
    thresholds: list[float],
    places: list[Place],
    measured: Mapping[Place, Numbers],
    seeds: list[int],
) -> "xarray.Dataset":
    """Cosines and losses of what was measured, nan for what was not, beside the exact ones."""
    import xarray

    from layerpeel.problem.two_groups import vanishing_ratio

    points = len(places) // len(programs)
    ratio, exact_cosine, exact_loss = (np.empty((len(programs), points)) for _ in range(3))
    cosine, loss, length = (np.full((len(programs), points, len(seeds)), np.nan) for _ in range(3))
    for place in places:
        at, program = (place.majority, place.point), programs[place.majority]
        ratio[at] = place.n_A / place.n_B
        exact_cosine[at], exact_loss[at] = program.minority_cosine(ratio[at]), program.loss(ratio[at])
        if place in measured:
            cosine[at], length[at], loss[at] = (measured[place][name] for name in ("cosine", "length", "loss"))
    curve = np.array([_curve_ratios(R0) for R0 in thresholds])
    on_curve = [[program.minority_cosine(R) for R in row] for program, row in zip(programs, curve, strict=True)]
    first = programs[0]
    each = [(program.KA, program.KB, program.E_W, program.E_H) for program in programs]
    return xarray.Dataset(
        {
            "cosine": (("majority", "point", "seed"), cosine),
            "length": (("majority", "point", "seed"), length),
            "loss": (("majority", "point", "seed"), loss),
            "ratio": (("majority", "point"), ratio),
            "exact_cosine": (("majority", "point"), exact_cosine),
            "exact_loss": (("majority", "point"), exact_loss),
            "curve_ratio": (("majority", "curve"), curve),
            "curve_cosine": (("majority", "curve"), np.array(on_curve)),
            "threshold": ("majority", np.array(thresholds)),
            "vanishing": ("majority", np.array([vanishing_ratio(*settings) for settings in each])),
        },
        coords={"majority": [program.KA for program in programs], "seed": seeds},
        attrs={"title": f"Layer-peeled model, K={first.K}, E_W={first.E_W:g}, E_H={first.E_H:g}", "K": first.K},
    )


def _curve_ratios(R0: float) -> Float[np.ndarray, "curve"]:
    """From 1 to R0, the denser the nearer, where the curve is steep and bends; then to the end."""
    share = 1 - np.linspace(1, 0, CURVE - 1) ** 2
    return np.append(R0**share, FARTHEST * R0)


def _minority(W: Float[np.ndarray, "seed K d"], KA: int) -> tuple[Float[np.ndarray, "seed"], Float[np.ndarray, "seed"]]:
    """The mean cosine of two minority classifiers, and their mean length over that of the majority's."""
    lengths = np.linalg.norm(W, axis=-1)
    unit = W[:, KA:] / np.maximum(lengths[:, KA:, None], 1e-300)
    KB = unit.shape[1]
    cosines = (np.sum(unit.sum(1) ** 2, axis=-1) - KB) / (KB * (KB - 1))
    return cosines, lengths[:, KA:].mean(1) / lengths[:, :KA].mean(1)


def _describe(metrics: "xarray.Dataset") -> str:
    """A table for each K_A: cosines and losses beside the exact ones, and the threshold."""
    K, seeds = int(metrics.attrs["K"]), metrics.sizes["seed"]
    parts = [f"{metrics.attrs['title']}; {counted(seeds, 'seed')}, the largest deviation of any of them"]
    for KA in metrics["majority"].values:
        one = metrics.sel(majority=KA)
        title = (
            f"\nK_A = {KA}, K_B = {K - KA}: minority classifiers coincide from R0 = {float(one['threshold']):.8g} on"
        )
        if np.isfinite(one["vanishing"]):
            title += f", and are 0 from R1 = {float(one['vanishing']):.8g} on"
        parts.append(text_table(title, ("R", "cosine", "exact", "off by", "loss", "exact", "above it by"), _rows(one)))
    above, off = (float(abs(metrics[f] - metrics[f"exact_{f}"]).max()) for f in ("loss", "cosine"))
    parts.append(
        f"\nLosses of descent are within {above:.1e} of the optimum, cosines within {off:.1e}: "
        "the most near R0, where descent is slow."
    )
    return "\n".join(parts)


def _rows(metrics: "xarray.Dataset") -> Iterator[tuple[str, ...]]:
    for i in range(metrics.sizes["point"]):
        one = metrics.isel(point=i)
        cosine, loss = float(one["exact_cosine"]), float(one["exact_loss"])
        if not np.isfinite(one["cosine"]).all():
            continue
        yield (
            f"{float(one['ratio']):.4g}",
            f"{float(one['cosine'].median()):.6f}",
            f"{cosine:.6f}",
            f"{float(abs(one['cosine'] - cosine).max()):.1e}",
            f"{float(one['loss'].median()):.8f}",
            f"{loss:.8f}",
            f"{float((one['loss'] - loss).max()):.1e}",
        )
