"""Vectors on spheres: the simplex for d >= K - 1 and what takes its place below it; codes and their margins.

For every number of classes K and every dimension d from 2 to K:

- the least loss at ``tau`` that search finds, with W = H' (tied; Lu and Steinerberger 2020) and without (free), against
  the value of the simplex, which no d goes below and d >= K - 1 attains;
- tau -> infinity: the classifiers of largest one-vs-rest margin that search finds (softmax codes, Jiang et al. 2024),
  their margin computed exactly (:func:`layerpeel.one_vs_rest_margin`) and held against the bound for (K, d).

Logits in a ball (Wojtowytsch and E 2020) are convex: descent must find the closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from layerpeel.experiments.cases import Answer, Numbers, solve_cases
from layerpeel.experiments.distinct import distinct
from layerpeel.experiments.experiment import Experiment, Finding
from layerpeel.experiments.number_list import number_list
from layerpeel.experiments.seeds import seed_range
from layerpeel.wording import counted

if TYPE_CHECKING:
    import xarray

    from layerpeel.problem import Problem, State

__all__ = ["SphereCodes"]

STIFFER = (3.0, 30.0, 300.0, 3e3, 3e4)
"""The values of tau through which a softmax code is followed to its limit."""
SAME = 1e-6
"""A margin within this of its bound attains it: what search leaves at the last tau."""
BALL_STEPS, BALL_STEP = 3000, 1.0
"""Descent in the ball: so many steps of so much a sample."""


@dataclass(frozen=True)
class SphereCodes(Experiment):
    """Multi-start minimisation of K vectors on the sphere of R^d, and the softmax codes.

    Attributes:
        classes: numbers of classes, comma-separated.
        tau: squared length of the vectors.
        radius: of the ball of logits.
        starts: seeds for every least value.
        code_starts: seeds for every code.
        first_seed: the first of them.
    """

    name: ClassVar[str] = "sphere-codes"

    classes: str = "4,5,6,12"
    tau: float = 1.0
    radius: float = 1.0
    starts: int = 10
    code_starts: int = 5
    first_seed: int = 0

    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Search case by case (a minute)."""
        classes = number_list("classes", self.classes, int)
        if min(classes) < 3:
            raise ValueError(f"need numbers of classes >= 3, got classes={self.classes}")
        if min(self.starts, self.code_starts) < 1:
            raise ValueError(f"need starts and code_starts >= 1, got {self.starts} and {self.code_starts}")
        seeds = seed_range(self.first_seed, self.starts)
        cases = [(K, d) for K in classes for d in range(2, K + 1)]
        simplex = {K: _simplex_value(K, self.tau) for K in classes}
        solved = solve_cases(cases, self._search, checkpoint, progress=progress)
        metrics = _dataset(simplex, solved.numbers).assign_attrs(
            tau=self.tau, radius=self.radius, title=f"K unit vectors in d dimensions, tau = {self.tau:g}"
        )
        return Finding(
            metrics=metrics,
            arrays={
                f"K{K}_d{d}/{name}": found[name]
                for (K, d), found in solved.numbers.items()
                for name in ("tied_best", "code")
            },
            summary={"seeds": seeds, **solved.ending},
            text=_describe(metrics),
        )

    def _search(self, case: tuple[int, int]) -> Answer:
        """Least values and codes; the first case of every K has the ball as well."""
        K, d = case
        ball = _in_the_ball(K, self.radius) if d == 2 else {}
        return Answer(ball | self._least(K, d, tied=True) | self._least(K, d, tied=False) | self._code(K, d))

    def _least(self, K: int, d: int, *, tied: bool) -> dict[str, Any]:
        from layerpeel.dynamics.minimise import minimise

        problem = _spheres(K, self.tau, tied=tied)
        minima = [minimise(problem, _start(K, d, seed)) for seed in seed_range(self.first_seed, self.starts)]
        values = np.array([minimum.value for minimum in minima])
        name = "tied" if tied else "free"
        best = minima[int(values.argmin())].state.W[:, :d].T
        return {name: values, f"{name}_best": best / np.linalg.norm(best, axis=0)}

    def _code(self, K: int, d: int) -> dict[str, Any]:
        from layerpeel.certify import one_vs_rest_margin

        codes = [_softmax_code(K, d, seed) for seed in seed_range(self.first_seed, self.code_starts)]
        certified = [one_vs_rest_margin(code) for code in codes]
        best = int(np.argmax([found.lower for found in certified]))
        return {
            "margin": np.array([found.lower for found in certified]),
            "gap": max(found.gap for found in certified),
            "code": codes[best],
        }


def _spheres(K: int, tau: float, *, tied: bool) -> "Problem":
    """In R^K; vectors in its first d coordinates stay there, as their gradient has no others: R^d for every d."""
    from layerpeel.problem import sphere

    return sphere(K, 1, K, tau, tied=tied)


def _start(K: int, d: int, seed: int, *, room: int | None = None) -> "State":
    """Random vectors in the first d of ``room`` coordinates, of K by default."""
    from layerpeel.problem import State, sphere

    state = sphere(K, 1, d, 1.0).init(seed, scale=1.0)
    more = (0, (room or K) - d)
    return State(np.pad(state.W, ((0, 0), more)), np.pad(state.H, (more, (0, 0))))


def _softmax_code(K: int, d: int, seed: int) -> Float[np.ndarray, "d K"]:
    """The classifiers that the free minimum tends to as tau grows, from one start."""
    from layerpeel.dynamics.minimise import minimise

    state = _start(K, d, seed)
    for tau in STIFFER:
        state = minimise(_spheres(K, tau, tied=False), state, log=True).state
    code = np.asarray(state.W[:, :d].T)
    return code / np.linalg.norm(code, axis=0)


def _simplex_value(K: int, tau: float) -> float:
    return float(_spheres(K, tau, tied=True).optimum().value)


def _in_the_ball(K: int, radius: float) -> dict[str, float]:
    """The loss that projected descent reaches in the ball of logits, and the closed form."""
    import optax

    from layerpeel.dynamics import descend
    from layerpeel.problem import output_ball

    problem = output_ball(K, radius)
    run = descend(problem, problem.init(0), optax.sgd(BALL_STEP * K), BALL_STEPS, record=2)
    found = float(run.metrics["loss"].values[0, -1])
    return {"ball": found, "ball_optimum": float(problem.optimum().value)}


def _dataset(simplex: Mapping[int, float], found: Mapping[tuple[int, int], Numbers]) -> "xarray.Dataset":
    import xarray

    from layerpeel.certify import one_vs_rest_bound

    known = list(found)
    bounds = [one_vs_rest_bound(K, d) for K, d in known]
    most = max(K for K, _ in known)
    fields = {
        "tied": (("case", "start"), [found[case]["tied"] for case in known]),
        "free": (("case", "start"), [found[case]["free"] for case in known]),
        "simplex": ("case", [simplex[K] for K, _ in known]),
        "margin": (("case", "code_start"), [found[case]["margin"] for case in known]),
        "certificate_gap": ("case", [found[case]["gap"] for case in known]),
        "bound": ("case", [bound.value for bound in bounds]),
        "bound_attained": ("case", [bound.attained for bound in bounds]),
        "code": (("case", "axis", "vector"), np.stack([_padded(found[case]["code"], most) for case in known])),
        "ball": ("case", [found[K, 2]["ball"] for K, _ in known]),
        "ball_optimum": ("case", [found[K, 2]["ball_optimum"] for K, _ in known]),
    }
    return xarray.Dataset(fields, coords={"K": ("case", [K for K, _ in known]), "d": ("case", [d for _, d in known])})


def _padded(code: Float[np.ndarray, "d K"], most: int) -> Float[np.ndarray, "most most"]:
    padded = np.full((most, most), np.nan)
    padded[: code.shape[0], : code.shape[1]] = code
    return padded


def _describe(metrics: "xarray.Dataset") -> str:
    counts = f"{counted(metrics.sizes['start'], 'start')} a value, {metrics.sizes['code_start']} a code"
    lines = [
        f"{metrics.attrs['title']}; {counts}",
        f"{'':5} {'least loss found':>25} {'':>12} {'least /':>9} {'minima':>7}   {'one-vs-rest margin':>21}",
        f"{'K':>2} {'d':>2} {'tied, W = H′':>12} {'free':>12} {'simplex':>12} {'simplex-1':>9} {'(tied)':>7}"
        f"   {'found':>10} {'at most':>10}",
    ]
    lines += [_row(metrics.isel(case=i)) for i in range(metrics.sizes["case"])]
    balls = metrics.isel(case=np.unique(metrics["K"].values, return_index=True)[1])
    lines += [
        "",
        f"logits in a ball of radius {metrics.attrs['radius']:g}: mean loss that descent reaches, closed form",
    ]
    lines += [
        f"K = {K:2}: {ball:.10f} {best:.10f}"
        for K, ball, best in zip(balls["K"].values, balls["ball"].values, balls["ball_optimum"].values, strict=True)
    ]
    return "\n".join(lines)


def _row(case: "xarray.Dataset") -> str:
    tied, free, simplex = float(case["tied"].min()), float(case["free"].min()), float(case["simplex"])
    minima = len(distinct(case["tied"].values, np.zeros(case.sizes["start"])))
    margin, bound = float(case["margin"].max()), float(case["bound"])
    if not bool(case["bound_attained"]):
        verdict = "bound not known to be attained"
    else:
        verdict = "the largest there is" if margin > bound - SAME else "not reached by this search"
    return (
        f"{int(case['K']):2} {int(case['d']):2} {tied:12.8f} {free:12.8f} {simplex:12.8f} {tied / simplex - 1:9.2e}"
        f" {minima:7}   {margin:10.6f} {bound:10.6f}  {verdict}"
    )
