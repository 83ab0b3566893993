"""How a known optimum of a problem is put to the test: golden value, points above it, a bound below it, descent to it.

By convexity in Z = W H, with G = dL/dZ at the claimed optimum, no state is lower than

    ridge:  L - <G, Z> - max(0, sigma_1(G) - lam) F/lam,      balls:  L - <G, Z> - sqrt(W2 H2) sigma_1(G),

lam = sqrt(lam_W lam_H): the nuclear norm and the operator norm are dual. Written out here in numpy, apart from
:mod:`layerpeel.certify.duality`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import optax

from layerpeel.certify.claims.claim import Evidence, trial
from layerpeel.certify.claims.finished import finished
from layerpeel.dynamics import descend
from layerpeel.problem import Problem, State
from layerpeel.problem import objective as pure
from layerpeel.problem.boundary import evaluate

__all__ = ["above", "bounded_below", "descended", "golden", "named", "top_singular_value"]


def golden(cases: Sequence[tuple[Problem, float]], *, tolerance: float) -> Evidence:
    """The optimal value less the golden one, and what its state attains less that value."""
    found = [(problem, problem.optimum(), value) for problem, value in cases]
    off = [
        (max(abs(best.value - value), abs(problem.objective(best.state) - best.value)), f"{best.value:.12f}, {name}")
        for problem, best, value in found
        for name in [named(problem)]
    ]
    return trial("the optimum less its golden value, and its state's objective less it", off, tolerance=tolerance)


def above(problems: Sequence[Problem], *, points: int = 60) -> Evidence:
    """No point is below the optimum: random ones of every scale, and the optimum moved by every distance."""
    return trial(
        "optimum less the objective, at random points and around the optimum",
        (finding for problem in problems for finding in _below(problem, points)),
        tolerance=1e-13,
    )


def _below(problem: Problem, points: int) -> Iterator[tuple[float, str]]:
    best = problem.optimum()
    for seed in range(points):
        noise = problem.init(seed, scale=(0.1, 1.0, 3.0)[seed % 3])
        size = 10.0 ** (-6 * (seed // 3) / (points // 3))
        moved = _inside(problem, best.state + noise * (size * _ratio(best.state, noise)))
        for kind, state in (("random", noise), ("around the optimum", moved)):
            yield best.value - problem.objective(state), f"{named(problem)}, {kind}, point {seed}"


def _ratio(state: State, noise: State) -> float:
    return float(np.sqrt(max(state.squared_norm, 1.0) / noise.squared_norm))


def _inside(problem: Problem, state: State) -> State:
    """The nearest point of the problem's set."""
    return state if problem.constraint is None else evaluate(_project, problem, state)


def _project(problem: Problem, state: State) -> State:
    assert problem.constraint is not None
    return problem.constraint.project(state)


def bounded_below(problems: Sequence[Problem]) -> Evidence:
    """The bound by duality at the claimed optimum is its value."""
    gaps = [(_gap(problem), named(problem)) for problem in problems]
    return trial("optimum less what no state goes below, by duality there", gaps, tolerance=1e-12)


def _gap(problem: Problem) -> float:
    from layerpeel.problem import NormBalls, OutputBall, Ridge

    best = problem.optimum()
    state, samples = best.state, problem.N if problem.reduction == "sum" else 1
    Z = np.asarray(state.W @ state.H)
    G = samples * evaluate(_logit_gradient, problem, state)
    slack = float(np.vdot(G, Z))
    top = samples * top_singular_value(problem, state)
    if isinstance(problem.regulariser, Ridge):
        ridge = problem.regulariser
        lam = float(np.sqrt(ridge.lam_W * ridge.lam_H))
        held = lam * float(np.linalg.svd(Z, compute_uv=False).sum())
        return held + slack + max(0.0, top - lam) * best.value / lam
    if isinstance(problem.constraint, NormBalls) and problem.constraint.weights is None:
        return slack + float(np.sqrt(problem.constraint.W2 * problem.constraint.H2)) * top
    if isinstance(problem.constraint, OutputBall):
        return slack + float(problem.constraint.radius * np.linalg.norm(G, axis=0).sum())
    assert problem.constraint is not None
    radius2 = float(problem.constraint.radius) ** 2  # type: ignore[attr-defined]
    return slack + radius2 * float(np.sqrt(problem.K * problem.N)) * top


def top_singular_value(problem: Problem, state: State) -> float:
    """sigma_1(G), G = dL/dZ of the mean loss."""
    return float(np.linalg.svd(evaluate(_logit_gradient, problem, state), compute_uv=False)[0])


def _logit_gradient(problem: Problem, state: State) -> object:
    """G = dL/dZ of the mean loss."""
    import jax

    def mean_loss(Z: object) -> object:
        return problem.loss.value(Z, problem.onehot).mean()

    return jax.grad(mean_loss)(pure.logits(state))


def descended(cases: Sequence[tuple[Problem, float]], *, seeds: int = 5, steps: int = 4_000) -> Evidence:
    """(Projected) gradient descent from random starts ends at the optimum; (problem, step size) each."""
    found = []
    for problem, rate in cases:
        best = problem.optimum().value
        run = finished(descend(problem, problem.init(range(seeds), scale=0.5), optax.sgd(rate), steps, record=2))
        losses = run.metrics["loss"].values[:, -1]
        found += [(abs(loss - best) / max(best, 1e-12), f"{named(problem)}, seed {i}") for i, loss in enumerate(losses)]
    return trial(f"descent, {steps:,} steps: objective over optimum, less 1", found, tolerance=1e-8)


def named(problem: Problem) -> str:
    """Sizes, loss and bounds in words."""
    sizes = problem.n[0] if problem.balanced else list(problem.n)
    parts = [f"K={problem.K}, n={sizes}, d={problem.d}"]
    parts += [f"{part}" for part in (problem.regulariser, problem.constraint) if part is not None]
    return ", ".join(parts)
