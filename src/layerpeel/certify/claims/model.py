"""Section 2.2, Definitions 3.1 and 3.2: the model (4), its gradient flow, the margin, the tangent space (12)."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.finished import finished
from layerpeel.certify.claims.points import (
    around_collapse,
    collapsed,
    each_point,
    random_points,
    separated,
    size,
    summed,
)
from layerpeel.certify.margin import margin
from layerpeel.certify.sphere import tangent
from layerpeel.dynamics import flow
from layerpeel.problem import Problem, State
from layerpeel.problem.block_points import block_point

__all__ = ["STATEMENTS"]

STEP = 1e-5
"""Of finite differences: their error is O(STEP^2)."""
RAYS = (
    ((4, 1, 4), (4,), 0.5, {1.0: 1.8715910693, 10.0: 5.7912753023, 1000.0: 11.3058762103}),
    ((4, 1, 4), (2, 2), 0.72, {1.0: 1.7887582687, 20.0: 5.8915981962}),
    ((5, 10, 20), (5,), 1.0, {1.0: 4.4791588346}),
)
"""(K, n, d), blocks, q_min at 0, and t -> q_min: of the ETF rays Ei(q) + (K-1) ln q = 2 sqrt(n) K t + const, and of
the ray of Example 3.1, q = 2 C^2, Ei(q) + ln q = 4t + const."""


def _model() -> tuple[Evidence, ...]:
    points = [*each_point(random_points), *each_point(around_collapse)]
    return (
        trial(
            "the objective against the printed double sum, relative",
            [(abs(p.objective(s) / _double_sum(p, s) - 1), at) for p, s, at in points],
            tolerance=1e-12,
        ),
        trial("not convex: mean L of an ETF and its mirror image less L in their middle", [_dip()], tolerance=1e-12),
    )


def _double_sum(problem: Problem, state: State) -> float:
    """Equation (4), sample by sample."""
    scores = ((state.W @ h, k) for h, k in zip(state.H.T, problem.labels, strict=True))
    return float(sum(logsumexp(z) - z[k] for z, k in scores))


def _dip() -> tuple[float, str]:
    problem = summed(4, 1, 4)
    point = collapsed(problem, 1, logit=5.0)
    ends, middle = problem.objective(point)[0], problem.objective(0.0 * point)[0]
    return ends - middle, f"K=4, n=1: {ends:.3f} at both ends, 4 log 4 = {middle:.3f} between them"


def _flow() -> tuple[Evidence, ...]:
    slopes = [(*_slope(p, s), at) for p, s, at in each_point(random_points)]
    return (
        trial(
            "dL/dt + |grad L|² along -grad L, by finite differences, relative",
            [(abs(slope / squared + 1), at) for slope, squared, at in slopes],
            tolerance=1e-6,
        ),
        trial("exact solutions: ETF rays and the ray of Example 3.1, by the flow", _ray_errors(), tolerance=1e-10),
        trial(
            "dL/dt + |grad L|² along the printed +grad L, relative: L rises",
            [(abs(-slope / squared + 1), at) for slope, squared, at in slopes],
            tolerance=1e-6,
            erratum="E1",
        ),
    )


def _ray_errors() -> Iterator[tuple[float, str]]:
    """The margin along exactly known rays of the flow, where one block is the ETF and two are Example 3.1."""
    for shape, blocks, start, golden in RAYS:
        problem = summed(*shape)
        unit = block_point(problem, blocks, rho2=1.0)
        state = unit * np.sqrt(start / float(margin(problem, unit).q_min))
        run = finished(
            flow(problem, state, time=max(golden), record=np.log(list(golden)).tolist(), rtol=3e-14, atol=1e-17)
        )
        for (time, exact), q in zip(golden.items(), run.metrics["margin"].values[0], strict=True):
            yield abs(q - exact), f"{size(problem)}, blocks {blocks}: {q:.10f} at t={time:g}"


def _slope(problem: Problem, state: State) -> tuple[float, float]:
    """The derivative of L along its negative gradient, by central differences, and the squared gradient."""
    gradient = problem.gradient(state)
    squared = float(gradient.squared_norm)
    step = STEP / (1.0 + np.sqrt(squared))
    rise = problem.objective(state - step * gradient) - problem.objective(state + step * gradient)
    return rise / (2 * step), squared


def _margin() -> tuple[Evidence, ...]:
    return (
        trial(
            "q of every sample against w_k.h - max_{j != k} w_j.h by loops, relative to 1 + ρ²",
            [
                (np.abs(margin(p, s).q - _margins(p, s)).max() / (1 + s.squared_norm), at)
                for p, s, at in each_point(random_points)
            ],
            tolerance=1e-13,
        ),
        trial(
            "q_min(3θ) / (9 q_min(θ)) - 1",
            [(abs(margin(p, 3.0 * s).q_min / margin(p, s).q_min / 9 - 1), at) for p, s, at in each_point(separated)],
            tolerance=1e-12,
        ),
    )


def _margins(problem: Problem, state: State) -> Float[np.ndarray, "N"]:
    scores = [state.W @ h for h in state.H.T]
    return np.array([z[k] - np.delete(z, k).max() for z, k in zip(scores, problem.labels, strict=True)])


def _tangent_space() -> tuple[Evidence, ...]:
    pairs = [(s, tangent(s, p.init(1000 + i, scale=1.0)), at) for i, (p, s, at) in enumerate(each_point(random_points))]
    return (
        trial(
            "|cos| of θ and a projected vector",
            [(abs(s.inner(phi)) / np.sqrt(s.squared_norm * phi.squared_norm), at) for s, phi, at in pairs],
            tolerance=1e-14,
        ),
        trial(
            "what a second projection changes, relative",
            [(np.sqrt((tangent(s, phi) - phi).squared_norm / phi.squared_norm), at) for s, phi, at in pairs],
            tolerance=1e-14,
        ),
        trial(
            "|θ + sφ|² - |θ|² - s²|φ|², relative, s = 1/2",
            [
                (abs((s + 0.5 * phi).squared_norm / (s.squared_norm + 0.25 * phi.squared_norm) - 1), at)
                for s, phi, at in pairs
            ],
            tolerance=1e-12,
        ),
    )


STATEMENTS = (
    Statement(
        id="model",
        place="Section 2.2, (4)",
        text="The unconstrained layer-peeled model is L(W, H) = sum over k, i of -log softmax(W h_ki)_k. Not convex.",
        quantifier="for all (W, H)",
        equations=(4,),
        functions=("ulpm", "Problem.objective"),
        test="tests/problem/test_problem.py",
        expected=Verdict.HOLDS,
        check=_model,
    ),
    Statement(
        id="flow",
        place="Section 2.2",
        text="Gradient flow is dθ/dt = -grad L(θ); along it dL/dt = -|grad L|².",
        quantifier="for all (W, H)",
        errata=("E1",),
        functions=("Problem.gradient", "flow", "descend"),
        test="tests/theory/test_exact_rays.py",
        expected=Verdict.CORRECTED,
        check=_flow,
    ),
    Statement(
        id="definition-3.1",
        place="Definition 3.1",
        text="The margin of a sample is w_k.h - max_{j != k} w_j.h; q_min is the least, homogeneous of degree 2.",
        quantifier="for all (W, H)",
        functions=("margin",),
        test="tests/certify/test_margin.py",
        expected=Verdict.HOLDS,
        check=_margin,
    ),
    Statement(
        id="definition-3.2",
        place="Definition 3.2",
        text="The tangent space at θ is {φ : <W, φ_W> + <H, φ_H> = 0}; along φ the norm changes at second order only.",
        quantifier="for all θ != 0",
        equations=(12,),
        functions=("certify.sphere.tangent",),
        test="tests/certify/claims/test_statements.py",
        expected=Verdict.HOLDS,
        check=_tangent_space,
    ),
)
