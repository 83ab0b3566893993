"""Section 2.1: the simplex ETF (Definition 2.1) and the criteria NC1 to NC4.

A definition cannot be false, but the formula it is printed with can, and the library's function for it can be another
one. So each is evaluated by its formula, entry by entry, and at points that were built to satisfy it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.points import collapsed, each_point, random_points
from layerpeel.collapse import CollapseReport, measure
from layerpeel.frames import random_orthonormal, simplex_etf
from layerpeel.problem import Problem, State

__all__ = ["STATEMENTS"]

TOLERANCE = 1e-12


def _frame() -> tuple[Evidence, ...]:
    cases = [(K, d, seed) for K in range(2, 12) for d in (K - 1, K, K + 5) for seed in range(5)]
    tilts = [(_asymmetry(5, seed), f"K=5, rotation {seed}") for seed in range(100)]
    least = min(tilts)
    return (
        trial(
            "largest entry of M'M - K/(K-1) (I - J/K)",
            [(_gram_error(*case), "K={}, d={}, rotation {}".format(*case)) for case in cases],
            tolerance=TOLERANCE,
        ),
        trial(
            "least |M - M'| of sqrt(K/(K-1)) Q (I - J/K) over random orthogonal Q; a symmetric M would have 0",
            [(least[0], f"{least[1]}: the most symmetric of {len(tilts)} is {least[0]:.2f} from its transpose")],
            tolerance=TOLERANCE,
            erratum="E7",
        ),
    )


def _gram_error(K: int, d: int, seed: int) -> float:
    M = simplex_etf(K, d, seed=seed)
    return float(np.abs(M.T @ M - K / (K - 1) * (np.eye(K) - 1 / K)).max())


def _asymmetry(K: int, seed: int) -> float:
    M = np.sqrt(K / (K - 1)) * random_orthonormal(K, K, seed=seed) @ (np.eye(K) - 1 / K)
    return float(np.linalg.norm(M - M.T))


def _variability() -> tuple[Evidence, ...]:
    return (
        trial(
            "within_class_variation - mean |h_i - its class mean| / mean |h_i - centre| by loops",
            [
                (abs(_measure(p, s).within_class_variation - _within(p, s)), at)
                for p, s, at in each_point(random_points)
            ],
            tolerance=TOLERANCE,
        ),
        trial(
            "within_class_variation where every feature is its class mean",
            [(_measure(p, s).within_class_variation, at) for p, s, at in each_point(collapsed)],
            tolerance=TOLERANCE,
        ),
    )


def _within(problem: Problem, state: State) -> float:
    means = [state.H[:, problem.labels == k].mean(axis=1) for k in range(problem.K)]
    centre = np.mean(means, axis=0)
    own = [np.linalg.norm(h - means[k]) for h, k in zip(state.H.T, problem.labels, strict=True)]
    return float(np.mean(own) / np.mean([np.linalg.norm(h - centre) for h in state.H.T]))


def _angles() -> tuple[Evidence, ...]:
    shifted = list(_shifted_frames(4, 6))
    reports = [(measure(means.T, np.arange(4)), at) for means, at in shifted]
    return (
        trial(
            "mean_angle_gap and mean_norm_variation of simplex ETFs about any centre",
            [(max(report.mean_angle_gap, report.mean_norm_variation), at) for report, at in reports],
            tolerance=TOLERANCE,
        ),
        trial(
            "|cos + 1/(K-1)| of simplex ETFs about any centre, not centred",
            [(np.abs(_cosines(means) + 1 / 3).max(), at) for means, at in shifted],
            tolerance=TOLERANCE,
            erratum="E19",
        ),
    )


def _shifted_frames(K: int, d: int) -> Iterator[tuple[Float[np.ndarray, "d K"], str]]:
    for seed, shift in enumerate(np.geomspace(0.1, 10.0, 100)):
        centre = shift * random_orthonormal(d, 1, seed=seed)
        yield simplex_etf(K, d, seed=seed) + centre, f"K={K}, d={d}, shifted by {shift:.2g} of its length"


def _cosines(columns: Float[np.ndarray, "d K"]) -> Float[np.ndarray, "pairs"]:
    unit = columns / np.linalg.norm(columns, axis=0)
    return (unit.T @ unit)[np.triu_indices(columns.shape[1], 1)]


def _duality() -> tuple[Evidence, ...]:
    return (
        trial(
            "duality_gap where every w_k is 3 times the mean of class k",
            [(_measure(p, State(3.0 * s.W, s.H)).duality_gap, at) for p, s, at in each_point(collapsed)],
            tolerance=TOLERANCE,
        ),
        trial(
            "1 - duality_gap / 2 where every w_k is -3 times that mean, as far as it can be",
            [(abs(1 - _measure(p, State(-3.0 * s.W, s.H)).duality_gap / 2), at) for p, s, at in each_point(collapsed)],
            tolerance=TOLERANCE,
        ),
        trial(
            "share of random features where the argmax of w_k = -3 h_k, with C < 0, is not the nearest class mean",
            [(_mismatch(p, State(-3.0 * s.W, s.H), np.argmax), at) for p, s, at in each_point(collapsed)],
            tolerance=TOLERANCE,
            erratum="E10",
        ),
    )


def _decisions() -> tuple[Evidence, ...]:
    return (
        trial(
            "share of random features where argmax_k <w_k, h> is not the nearest class mean, at collapse",
            [(_mismatch(p, s, np.argmax), at) for p, s, at in each_point(collapsed)],
            tolerance=TOLERANCE,
        ),
        trial(
            "share of random features where argmin_k <w_k, h> is not the nearest class mean",
            [(_mismatch(p, s, np.argmin), f"{at}, 50 features") for p, s, at in each_point(collapsed)],
            tolerance=TOLERANCE,
            erratum="E4",
        ),
    )


def _mismatch(problem: Problem, state: State, choose: Callable[..., Any]) -> float:
    """Share of 50 random features that ``choose`` over the scores puts into another class than the nearest mean."""
    h = np.random.default_rng(problem.K).normal(size=(problem.d, 50))
    means = state.H[:, :: problem.n[0]]
    nearest = np.linalg.norm(h[:, None, :] - means[:, :, None], axis=0).argmin(axis=0)
    return float(np.mean(choose(state.W @ h, axis=0) != nearest))


def _measure(problem: Problem, state: State) -> CollapseReport:
    return measure(state.H.T, problem.labels, classifier=state.W)


STATEMENTS = (
    Statement(
        id="definition-2.1",
        place="Definition 2.1",
        text="A simplex ETF is M = sqrt(K/(K-1)) Q (I - J/K), Q'Q = I: unit columns with cosines -1/(K-1), "
        "M'M = K/(K-1) (I - J/K).",
        quantifier="for all K and all d >= K-1, any rotation",
        equations=(3,),
        errata=("E7",),
        functions=("frames.simplex_etf", "frames.nearest_etf"),
        test="tests/test_frames.py",
        expected=Verdict.CORRECTED,
        check=_frame,
    ),
    Statement(
        id="nc1",
        place="NC1",
        text="Within-class variability is gone: every feature is the mean of its class.",
        quantifier="a criterion: its measure is 0 exactly there",
        functions=("measure", "CollapseReport"),
        test="tests/collapse/test_invariances.py",
        expected=Verdict.HOLDS,
        check=_variability,
    ),
    Statement(
        id="nc2",
        place="NC2",
        text="The class means less their mean have equal lengths and all cosines -1/(K-1).",
        quantifier="a criterion, whatever the centre of the means",
        errata=("E19",),
        functions=("measure", "frames.etf_distance"),
        test="tests/collapse/test_geometry_and_floors.py",
        expected=Verdict.CORRECTED,
        check=_angles,
    ),
    Statement(
        id="nc3",
        place="NC3",
        text="Classifiers are the (centred) class means up to one factor: w_k = C h_k, C > 0.",
        quantifier="a criterion, for one C for all k",
        errata=("E10",),
        functions=("measure",),
        test="tests/collapse/test_invariances.py",
        expected=Verdict.CORRECTED,
        check=_duality,
        remark="The paper leaves the sign of C open; with C < 0 the nearest mean is the least likely class.",
    ),
    Statement(
        id="nc4",
        place="NC4",
        text="The classifier picks the nearest class mean: argmax_k <w_k, h> = argmin_k |h - h_k|.",
        quantifier="for all h, at collapse",
        errata=("E4",),
        functions=("measure",),
        test="tests/collapse/test_decision.py",
        expected=Verdict.CORRECTED,
        check=_decisions,
    ),
)
