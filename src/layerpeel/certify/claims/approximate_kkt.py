"""Lemma 3.2: once L < log 2, theta / sqrt(q_min) is an (epsilon, delta)-approximate KKT point of (5).

The multipliers are lambda = (|theta| / |grad L|) p, p the softmax probabilities of the wrong classes. Here epsilon and
delta are formed from their definitions, sample by sample, and held against the closed forms, the bounds and what is
printed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.points import each_problem, separated, size, summed
from layerpeel.certify.kkt import Kkt, kkt
from layerpeel.certify.margin import margin
from layerpeel.problem import Problem, State
from layerpeel.problem.approximate_kkt import approximate_kkt as closed_form
from layerpeel.problem.boundary import evaluate

__all__ = ["STATEMENTS"]


def _closeness() -> tuple[Evidence, ...]:
    points = list(_certified())
    direct = [(_epsilon_and_delta(p, s), found, at) for p, s, found, at in points]
    return (
        trial(
            "ε over its definition, by loops, and over sqrt(2(1 - β)/γ), less 1",
            [(_spread(found.epsilon, eps, _epsilon(found)), at) for (eps, _), found, at in direct],
            tolerance=1e-6,
        ),
        trial(
            "δ less its definition, by loops, relative to 1 + δ",
            [(abs(found.delta - delta) / (1 + delta), at) for (_, delta), found, at in direct],
            tolerance=1e-9,
        ),
        trial(
            "δ less its closed form (β/2γ) x/(x + q_min), relative to 1 + δ",
            [(abs(found.delta - _closed_delta(p, s)) / (1 + found.delta), at) for p, s, found, at in points],
            tolerance=1e-9,
        ),
        trial(
            "β less <θ, -grad L> / (|θ| |grad L|)",
            [(abs(found.beta - _beta(p, s)), at) for p, s, found, at in points],
            tolerance=1e-12,
        ),
        trial(
            "ε over sqrt(2(1 - β)/C), C = γ~, and δ over its bound with Lambert's W, less 1",
            [(max(f.epsilon / f.epsilon_bound, f.delta / f.delta_bound) - 1, at) for _, _, f, at in points],
            tolerance=1e-6,
        ),
        trial("γ~ / γ - 1", [(f.smoothed_gamma / f.gamma - 1, at) for _, _, f, at in points], tolerance=1e-12),
        trial(
            "β less the printed one",
            [
                (abs(f.beta - _printed_beta(p, s)), f"{at}: {f.beta:.4f}, printed {_printed_beta(p, s):.3g}")
                for p, s, f, at in points
            ],
            tolerance=1e-6,
            erratum="E5",
        ),
        trial("δ over the printed K / (2 γ q_min), less 1", _excesses(), tolerance=1e-6, erratum="E6"),
    )


def _certified() -> Iterator[tuple[Problem, State, Kkt, str]]:
    """Separated points with what the library says of them; it is asked for a whole batch at once."""
    for problem in each_problem():
        states = separated(problem)
        found = kkt(problem, states)
        for i in range(len(states.W)):
            one = Kkt(**{name: _member(value, i) for name, value in vars(found).items()})
            yield problem, State(states.W[i], states.H[i]), one, f"{size(problem)}, point {i}"


def _member(value: Any, i: int) -> Any:
    if isinstance(value, State):
        return State(value.W[i], value.H[i])
    return value[i] if isinstance(value, np.ndarray) else value


def _closed_delta(problem: Problem, state: State) -> float:
    return float(evaluate(closed_form, problem, state).delta)


def _epsilon_and_delta(problem: Problem, state: State) -> tuple[float, float]:
    """From the definitions: theta~ - sum lambda grad(margin) and sum lambda (margin - 1), pair by pair."""
    q = float(margin(problem, state).q_min)
    point, gradient = state * q**-0.5, problem.gradient(state)
    factor = np.sqrt(state.squared_norm / gradient.squared_norm)
    left, delta = State(point.W.copy(), point.H.copy()), 0.0
    for i, k in enumerate(problem.labels):
        z = state.W @ state.H[:, i]
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        for j in set(range(problem.K)) - {int(k)}:
            left.W[k] -= factor * p[j] * point.H[:, i]
            left.W[j] += factor * p[j] * point.H[:, i]
            left.H[:, i] -= factor * p[j] * (point.W[k] - point.W[j])
            delta += factor * p[j] * ((z[k] - z[j]) / q - 1)
    return float(np.sqrt(left.squared_norm)), float(delta)


def _epsilon(found: Kkt) -> float:
    return float(np.sqrt(2 * found.beta_gap / found.gamma))


def _spread(*values: float) -> float:
    return max(values) / min(values) - 1


def _beta(problem: Problem, state: State) -> float:
    gradient = problem.gradient(state)
    return float(-state.inner(gradient) / np.sqrt(state.squared_norm * gradient.squared_norm))


def _printed_beta(problem: Problem, state: State) -> float:
    """With the roots where they are printed, and without the minus."""
    gradient = problem.gradient(state)
    W, H, g_W, g_H = ((x**2).sum() for x in (state.W, state.H, gradient.W, gradient.H))
    return float(state.inner(gradient) / ((np.sqrt(W) + H) * np.sqrt(g_W) + g_H))


def _excesses() -> Iterator[tuple[float, str]]:
    """K=2, d=1: all samples but one lie above it by the same; the worst of a few such distances grows like log n."""
    problem = summed(2, 40000, 1)
    found = [kkt(problem, _one_behind(problem, 2000.0, above)) for above in np.linspace(2.0, 6.0, 9)]
    ratio = max(float(one.delta / one.printed_delta) for one in found)
    yield ratio - 1, f"{size(problem)}: {ratio:.3f} times the printed one"


def _one_behind(problem: Problem, q: float, above: float) -> State:
    """Two classes on a line, |W| = |H|: every margin is q + above, but for one that is q."""
    margins = np.full(problem.N, q + above)
    margins[0] = q
    signs = np.where(problem.labels == 0, 1.0, -1.0)
    w = (np.sum(margins**2) / 8) ** 0.25
    return State(np.array([[w], [-w]]), (signs * margins / (2 * w))[None])


STATEMENTS = (
    Statement(
        id="lemma-3.2",
        place="Lemma 3.2",
        text="θ/sqrt(q_min) is (ε, δ)-KKT: ε = sqrt(2(1-β)/γ) <= sqrt(2(1-β)/C) with C = γ~(t0), γ~ <= γ; "
        "δ = (β/2γ) x/(x + q_min), at most what Lambert's W gives (E6).",
        quantifier="for all (W, H) with summed L < log 2",
        errata=("E5", "E6"),
        functions=("kkt",),
        test="tests/theory/test_lemma_3_2.py",
        expected=Verdict.CORRECTED,
        check=_closeness,
    ),
)
