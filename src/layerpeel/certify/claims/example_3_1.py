"""Example 3.1: W = H = C M, M two blocks [[1, -1], [-1, 1]], K=4, n=1: a KKT direction of (5) that is not optimal.

L(C) = 8 log(1 + e^{-2C^2}) and both gradients are -(2C / (1 + e^{2C^2})) M, so the flow stays on the ray. With
u = (1, 1, -1, -1)/2 the points W' = H' prop. to C M + x u u' of the same norm are lower for every small x != 0.
"""

from collections.abc import Iterator

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.points import summed
from layerpeel.certify.margin import margin
from layerpeel.certify.sphere import onto_sphere
from layerpeel.problem import State

__all__ = ["PROBLEM", "STATEMENTS", "at"]

PROBLEM = summed(4, 1, 4)
M = np.kron(np.eye(2), np.array([[1.0, -1.0], [-1.0, 1.0]]))
SCALES = np.geomspace(0.1, 2.5, 50)
"""C."""
GOLDEN = {"loss": 1.0154240883437797, "gradient": -0.23840584404423515, "optimum": 0.7573553574585687}
"""At C=1: L, the coefficient of the gradient on M, L at the ETF of the same norm."""
GOLDEN_FALL, GOLDEN_CURVATURE = -1.810502e-03, -0.3631369951395819
"""At C=1: the change of L at x=0.1, and the curvature on the sphere along (u u', u u')."""


def at(C: float) -> State:
    """The point of equation (7)."""
    return State(C * M, C * M)


def _point() -> tuple[Evidence, ...]:
    values = [(at(C), f"C={C:.3g}") for C in SCALES]
    golden = {
        "loss": abs(PROBLEM.objective(at(1.0)) - GOLDEN["loss"]),
        "optimum": abs(PROBLEM.optimum(rho2=16.0).value - GOLDEN["optimum"]),
    }
    return (
        trial(
            "q_min / ρ² - 1/8 (at collapse it is 1/6)",
            [(abs(_gamma(s) - 1 / 8), c) for s, c in values],
            tolerance=1e-14,
        ),
        trial("KKT at C = 1/sqrt 2 with multipliers 1/2 across the blocks", [_kkt_error()], tolerance=1e-14),
        trial(
            "sine of the angle between θ and the gradient: it stays on the ray",
            [(_sine(s), c) for s, c in values],
            tolerance=1e-7,
        ),
        trial(
            "L at C=1 and at the ETF of its norm, less the golden values",
            [(v, k) for k, v in golden.items()],
            tolerance=1e-14,
        ),
    )


def _gamma(state: State) -> float:
    return float(margin(PROBLEM, state).q_min) / float(state.squared_norm)


def _kkt_error() -> tuple[float, str]:
    """Stationarity W = A H', H = W'A; margins >= 1, and 1 where the multiplier is not 0; the objective 4."""
    point, across = at(0.5**0.5), np.kron(1 - np.eye(2), np.ones((2, 2)))
    A = np.eye(4) - across / 2
    margins = np.diag(point.W @ point.H) - point.W @ point.H
    errors = (
        np.abs(point.W - A @ point.H.T).max(),
        np.abs(point.H - point.W.T @ A).max(),
        np.abs((margins - 1) * across).max(),
        max(0.0, 1 - margins[~np.eye(4, dtype=bool)].min()),
        abs(point.squared_norm / 2 - 4),
    )
    return float(
        max(errors)
    ), f"objective {point.squared_norm / 2:.6g}, the optimum is {PROBLEM.optimum('separation').value:.6g}"


def _sine(state: State) -> float:
    gradient = PROBLEM.gradient(state)
    cosine = state.inner(gradient) / np.sqrt(state.squared_norm * gradient.squared_norm)
    across = gradient - state * (state.inner(gradient) / state.squared_norm)
    return float(np.sqrt(across.squared_norm / gradient.squared_norm)) if cosine < 0 else np.inf


def _gradient() -> tuple[Evidence, ...]:
    slopes = [(_coefficient(C), C) for C in SCALES]
    return (
        trial(
            "dL/dC by finite differences along the ray over that of the corrected gradient, less 1",
            [(abs(_slope(C) / (16 * _corrected(C)) - 1), f"C={C:.3g}") for C in SCALES],
            tolerance=1e-8,
        ),
        trial(
            "the gradient over -(2C / (1 + e^{2C²})) M, less 1",
            [(abs(found / _corrected(C) - 1), f"C={C:.3g}") for found, C in slopes],
            tolerance=1e-12,
        ),
        trial(
            "the coefficient at C=1 less the golden one",
            [(abs(_coefficient(1.0) - GOLDEN["gradient"]), "C=1")],
            tolerance=1e-15,
        ),
        trial(
            "the gradient over the printed one, less 1",
            [
                (abs(found / _printed(C) - 1), f"C={C:.3g}: {found:.4g} M, printed {_printed(C):.4g} M")
                for found, C in slopes
            ],
            tolerance=1e-12,
            erratum="E2",
        ),
    )


def _coefficient(C: float) -> float:
    """c, the gradient being c M; inf if it is not a multiple of M, the same for W and H."""
    gradient = PROBLEM.gradient(at(C))
    c = float(gradient.W[0, 0])
    return c if (gradient - State(c * M, c * M)).squared_norm < 1e-26 * c**2 else np.inf


def _slope(C: float, step: float = 1e-5) -> float:
    return (PROBLEM.objective(at(C + step)) - PROBLEM.objective(at(C - step))) / (2 * step)


def _corrected(C: float) -> float:
    return -2 * C / (1 + np.exp(2 * C**2))


def _printed(C: float) -> float:
    small, large = np.exp(-2 * C**2), np.exp(2 * C**2)
    return -C * (2 + 2 * small) / (2 + 2 * small + 2 * large)


def _escape() -> tuple[Evidence, ...]:
    return (
        trial(
            "1/2 less the fall of log L on the same sphere over x² (s-1)/((1+s)² 4 log(1+1/s)), its second order",
            _falls(),
            tolerance=1e-12,
        ),
        trial(
            "the change of L at C=1, x=0.1 less the golden one",
            [(abs(_change(_lower(1.0, 0.1), 1.0) - GOLDEN_FALL), "C=1, x=0.1")],
            tolerance=1e-9,
        ),
        trial(
            "curvature on the sphere over -4(s-1)/(1+s)^2, s = e^{2C²}, less 1, by finite differences",
            [_curvature_error(C) for C in (0.5, 1.0, 1.5)],
            tolerance=1e-5,
        ),
        trial(
            "least rise of log L over the squared distance in the printed family",
            [_printed_rise(C) for C in (0.5, 0.75, 1.0)],
            tolerance=1e-12,
            erratum="E8",
        ),
    )


def _lower(C: float, x: float) -> State:
    """W' = H' prop. to C M + x u u', on the sphere of C M."""
    u = np.array([1.0, 1.0, -1.0, -1.0]) / 2
    W = C * M + x * np.outer(u, u)
    return onto_sphere(State(W, W), 16 * C**2)


def _falls() -> Iterator[tuple[float, str]]:
    """Strictly: at least half of what the curvature on the sphere foretells."""
    for C in SCALES:
        s = np.exp(2 * C**2)
        for x in C * np.geomspace(1e-3, 0.1, 8):
            fall = PROBLEM.log_objective(at(C)) - PROBLEM.log_objective(_lower(C, x))
            yield 0.5 - fall / (x**2 * (s - 1) / (1 + s) ** 2 / (4 * np.log1p(1 / s))), f"C={C:.3g}, x={x:.2g}"


def _change(point: State, C: float) -> float:
    return PROBLEM.objective(point) - PROBLEM.objective(at(C))


def _curvature_error(C: float, x: float = 1e-3) -> tuple[float, str]:
    s = np.exp(2 * C**2)
    formula = -4 * (s - 1) / (1 + s) ** 2
    found = (_change(_lower(C, x), C) + _change(_lower(C, -x), C)) / x**2
    golden = abs(formula - GOLDEN_CURVATURE) if C == 1.0 else 0.0
    return max(abs(found / formula - 1), golden), f"C={C}: {formula:.6f}"


def _family(C: float, beta: float) -> State:
    """Equation (10): diagonal C, C alpha within the blocks, C beta across, alpha^2 + 2 beta^2 = 1."""
    alpha = -np.sqrt(1 - 2 * beta**2)
    W = C * np.where(np.eye(4) > 0, 1.0, np.where(M != 0, alpha, beta))
    return State(W, W)


def _printed_rise(C: float) -> tuple[float, str]:
    """The least rise in the printed family, up to where it first gets lower: there should be no such gap."""
    points = [_family(C, -beta) for beta in np.geomspace(1e-3, 0.7, 400)]
    distances = np.array([(point - at(C)).squared_norm for point in points])
    rises = np.array([PROBLEM.log_objective(point) - PROBLEM.log_objective(at(C)) for point in points])
    lower = np.flatnonzero(rises < 0)
    gap = slice(None, lower[0] if lower.size else None)
    reach = f"within squared distance {distances[lower[0]]:.3f}" if lower.size else "at all"
    return float((rises[gap] / distances[gap]).min()), f"C={C}: no point of it {reach} is lower"


STATEMENTS = (
    Statement(
        id="example-3.1",
        place="Example 3.1",
        text="W = H = C M (two blocks of two) separates and is along a KKT point of (5) with multipliers 1/2, "
        "but is not optimal: 4 > 3.",
        quantifier="for all C > 0; K=4, n=1",
        equations=(7, 8),
        functions=("kkt", "margin"),
        test="tests/theory/test_example_3_1.py",
        expected=Verdict.HOLDS,
        check=_point,
    ),
    Statement(
        id="equation-9",
        place="Example 3.1, (9)",
        text="Both gradients there are -(2C / (1 + e^{2C²})) M, along the point itself: descent stays on the ray.",
        quantifier="for all C > 0",
        equations=(9,),
        errata=("E2",),
        functions=("Problem.gradient",),
        test="tests/theory/test_example_3_1.py",
        expected=Verdict.CORRECTED,
        check=_gradient,
    ),
    Statement(
        id="equation-11",
        place="Example 3.1, (10), (11)",
        text="As close to it as wanted there are lower points of the same norm: W' = H' ∝ CM + x uu', "
        "u = (1,1,-1,-1)/2.",
        quantifier="for all C > 0, ε > 0",
        equations=(10, 11),
        errata=("E8",),
        functions=("escape", "curvature"),
        test="tests/theory/test_example_3_1.py",
        expected=Verdict.CORRECTED,
        check=_escape,
    ),
)
