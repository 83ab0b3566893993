"""The systems that can be had by name: Table 1 of Ji et al. 2022 and what came after it, one row each.

A row holds an example, the paper and the command that reproduces it. Loss, bounds, dynamics and optimum are read off
the example, so that the table cannot say anything else than the code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerpeel.problem import Problem

__all__ = ["System", "system_rows", "systems"]


@dataclass(frozen=True)
class System:
    """One model of the literature.

    Attributes:
        name: the constructor, a name of the package.
        settings: the arguments of the example.
        paper: who studied it; with its number in Table 1 of Ji et al. 2022 where it has one.
        command: what reproduces it.
    """

    name: str
    settings: Mapping[str, Any]
    paper: str
    command: str

    @property
    def call(self) -> str:
        """The example, as it is typed."""
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.settings.items())})"

    @property
    def problem(self) -> "Problem":
        """The example."""
        import layerpeel.problem as models

        made: Problem = getattr(models, self.name)(**self.settings)
        return made

    def row(self) -> dict[str, str]:
        """Column -> words."""
        problem = self.problem
        return {
            "model": self.call,
            "paper": self.paper,
            "loss": _spaced(type(problem.loss).__name__),
            "bounded by": _bounds(problem),
            "dynamics": _dynamics(problem),
            "optimum": _optimum(problem),
            "reproduced by": self.command,
        }


def systems() -> tuple[System, ...]:
    """All of them, the paper's own model first, then Table 1, then later ones."""
    from layerpeel.problem import CrossEntropy, Focal, Hinge

    weights = {"lam_W": 5e-3, "lam_H": 5e-3}
    small, large = {"K": 4, "n": 5, "d": 6} | weights, {"K": 4, "n": 5, "d": 10}
    balls = {"d": 10, "E_W": 1, "E_H": 5}
    losses = "layerpeel run loss-comparison"
    fang = "layerpeel run minority-collapse"
    codes = "layerpeel run sphere-codes"
    return (
        System("ulpm", {"K": 5, "n": 10, "d": 20}, "Ji et al. 2022", "layerpeel run runs/figure-2.toml"),
        System("lpm", {"K": 10, "n": 2} | balls, "Fang et al. 2021 [9]", fang),
        System("lpm", {"K": 10, "n": (20,) * 5 + (2,) * 5} | balls, "Fang et al. 2021 [9]", fang),
        System("output_ball", {"K": 4, "R": 1}, "Wojtowytsch and E 2020 [39]", codes),
        System("sphere", {"K": 4, "n": 1, "d": 4, "tau": 1, "tied": True}, "Lu and Steinerberger 2020 [24]", codes),
        System(
            "mse_ufm",
            large | {"lam_W": 0, "lam_H": 0, "bias": "free"},
            "Mixon, Parshall and Pi 2020 [26]",
            "layerpeel run squared-loss",
        ),
        System("ufm", large | weights, "Zhu et al. 2021 [43]", "layerpeel run regularised-features"),
        System("ufm", small | {"lam_b": 0.1}, "Zhu et al. 2021 [43]", _claim("regularised-cross-entropy")),
        System(
            "ufm",
            {"K": 3, "n": (6, 2, 2), "d": 3, "lam_W": 0.1, "lam_H": 0.1},
            "Hong and Ling 2023",
            _claim("minority-weight"),
        ),
        System("mse_ufm", small, "Tirer and Bruna 2022", _claim("squared-error")),
        System(
            "mse_ufm",
            {"K": 4, "n": (20, 10, 5, 1), "d": 6, "lam_W": 0.01, "lam_H": 0.005},
            "Dang et al. 2023",
            _claim("squared-error"),
        ),
        *(
            System("ufm", small | {"lam_b": 0.0, "loss": loss}, paper, losses)
            for loss, paper in (
                (CrossEntropy(label_smoothing=0.1), "Zhou et al. 2022"),
                (Focal(gamma=2.0), "Zhou et al. 2022"),
                (Hinge(), "by symmetry"),
            )
        ),
        System(
            "ufm", {"K": 4, "n": 2, "d": 5} | weights | {"nonneg": True}, "Dang et al. 2024", _claim("relu-features")
        ),
        System(
            "deep_ufm",
            {"K": 4, "n": 1, "d": 4, "depth": 4, "lam": 1e-4},
            "Sukenik et al. 2024",
            "layerpeel run deep-features",
        ),
    )


def _claim(statement: str) -> str:
    """The command that puts one statement to the test."""
    return f"layerpeel claims --only {statement}"


def system_rows() -> list[dict[str, str]]:
    """The table of systems."""
    return [system.row() for system in systems()]


def _bounds(problem: "Problem") -> str:
    parts = [part for part in (problem.regulariser, problem.constraint) if part is not None]
    return " and ".join(_spaced(type(part).__name__) for part in parts) or "nothing"


def _dynamics(problem: "Problem") -> str:
    from layerpeel.problem import Spheres

    if problem.constraint is None:
        descent, flow = "descent", "flow"
    else:
        descent = "projected descent"
        flow = "Riemannian flow" if isinstance(problem.constraint, Spheres) else "projected flow"
    return f"{descent}, {flow}" if problem.loss.smooth else descent


def _optimum(problem: "Problem") -> str:
    if problem.vanishes:
        return f"none; separation {problem.optimum('separation').value:.10g}, closed form"
    found = problem.optimum()
    if found.lower_bound is not None:
        known = "computed, certified"
    elif problem.depth > 2:
        known = "lowest known"
    else:
        known = "closed form"
    return f"{found.value:.10g}, {known}"


def _spaced(name: str) -> str:
    """NormBalls -> norm balls."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
