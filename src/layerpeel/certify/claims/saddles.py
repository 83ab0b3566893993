"""Remark 3.3: what is critical on a sphere and not optimal is a strict saddle there; whether noise leaves it soon.

Tried at the critical points known exactly: block points, where the multiplier lam of the sphere is positive; mirror
images (-W, H) of collapse, lam < 0; and points without a gradient, lam = 0, with W = 0, H = 0 or both of rank one.
At all of them the lowest eigenvalue is lam - sigma_1(G) or 2 lam.

Two Hessians on the tangent space: the projected one, of equation (13), and the Riemannian one, lam higher, of (14). The
second decides: at the optimum the first still has negative eigenvalues.
"""

from collections.abc import Iterator

import numpy as np
import optax

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.example_3_1 import PROBLEM, at
from layerpeel.certify.claims.finished import finished
from layerpeel.certify.claims.landscape import block
from layerpeel.certify.claims.low_dimension import trapped_curvature
from layerpeel.certify.claims.points import size, stack, summed
from layerpeel.certify.curvature import Curvature, curvature
from layerpeel.certify.global_certificate import global_certificate
from layerpeel.certify.sphere import onto_sphere
from layerpeel.dynamics import GradientNoise, descend
from layerpeel.problem import Problem, State
from layerpeel.problem.block_points import block_point

__all__ = ["STATEMENTS"]

SADDLES = tuple((blocks, rho2) for blocks in ((2, 2), (3, 1), (2, 1, 1)) for rho2 in (4.0, 16.0, 64.0))
"""Blocks and rho^2 at K=4, n=1, d=4."""
SHAPES = ((4, 1, 4), (4, 3, 3))
"""(K, n, d), d = K-1 among them, of the points with lam <= 0, at rho^2 = 10."""
STRICT = 1e-2
"""A saddle is strict with an eigenvalue, over L, below minus this; a rotation orbit alone gives 0."""
OPTIMA = ((3, 2, 3), (4, 1, 4))
"""(K, n, d), at rho^2 = 8."""
SPECTRUM = {(3, 2, 3): (0.694007, 2.042331)}
"""The least positive eigenvalue at the optimum and the largest."""
PROJECTED, RIEMANNIAN = -0.420, -0.1816
"""The lowest eigenvalues at Example 3.1, C=1."""
STEPS = 5000
NOISES = (0.5, 2.0)
"""Size of the noise relative to the gradient."""
SEEDS = 6
RATE, START = 0.05, 0.6
"""The learning rate, and C at the start."""


def _strict() -> tuple[Evidence, ...]:
    saddles = list(_saddles())
    optima = [(_optimum(shape), f"{shape}, ρ²=8") for shape in OPTIMA]
    return (
        trial(
            "points that are not optimal: ρ |gradient on the sphere| / L",
            [(global_certificate(p, s).residual, at_) for p, s, at_ in saddles],
            tolerance=1e-10,
        ),
        trial(
            "there: lowest Riemannian eigenvalue over L, plus 0.01",
            [(curvature(p, s, transversal=False).relative + STRICT, at_) for p, s, at_ in saddles],
            tolerance=1e-9,
        ),
        trial("Example 3.1, C=1: projected -0.420, Riemannian -0.1816", [_two_hessians()], tolerance=5e-4),
        trial(
            "optima: minus the lowest Riemannian eigenvalue over L",
            [(-found.relative, at_) for found, at_ in optima],
            tolerance=1e-9,
        ),
        trial(
            "there: lowest eigenvalue of the projected Hessian over L, negative at optima too, plus 0.01",
            [(found.projected.relative + STRICT, at_) for found, at_ in optima],
            tolerance=1e-9,
        ),
        trial(
            "there: kernel less the dimension of the rotations",
            [_kernel(shape, found) for shape, (found, _) in zip(OPTIMA, optima, strict=True)],
            tolerance=0.5,
        ),
        trial(
            "there: ends of the positive spectrum less the known ones",
            [_ends(shape, found) for shape, (found, _) in zip(OPTIMA, optima, strict=True) if shape in SPECTRUM],
            tolerance=5e-7,
        ),
        trial(
            "d = 1 < K-1, a critical point with a lower one on its sphere: lowest Riemannian eigenvalue over L",
            [trapped_curvature()],
            tolerance=1e-6,
            erratum="E12",
        ),
    )


def _saddles() -> Iterator[tuple[Problem, State, str]]:
    for blocks, rho2 in SADDLES:
        yield PROBLEM, block_point(PROBLEM, blocks, rho2=rho2), f"{size(PROBLEM)}, blocks {blocks}, ρ²={rho2:g}"
    problem, state = block((4, 3, 3), (2, 2))
    yield problem, state, f"{size(problem)}, blocks (2, 2)"
    for problem in (summed(*shape) for shape in SHAPES):
        for where, state in _without_blocks(problem):
            yield problem, onto_sphere(state, 10.0), f"{size(problem)}, ρ²=10, {where}"


def _without_blocks(problem: Problem) -> Iterator[tuple[str, State]]:
    best, direction = problem.optimum(rho2=10.0).state, np.random.default_rng(0).normal(size=problem.d)
    W, H = np.outer(np.ones(problem.K), direction), np.outer(direction, np.ones(problem.N))
    yield "mirror image of collapse", State(-best.W, best.H)
    yield "W = 0", State(0 * W, H)
    yield "H = 0", State(W, 0 * H)
    yield "all w_k alike, all h alike", State(W, -0.5 * H)


def _optimum(shape: tuple[int, int, int]) -> Curvature:
    problem = summed(*shape)
    return curvature(problem, problem.optimum(rho2=8.0).state)


def _two_hessians() -> tuple[float, str]:
    found = curvature(PROBLEM, at(1.0), transversal=False)
    low, projected = found.eigenvalue, found.projected.eigenvalue
    return max(abs(low - RIEMANNIAN), abs(projected - PROJECTED)), f"projected {projected:.4f}, Riemannian {low:.4f}"


def _kernel(shape: tuple[int, int, int], found: Curvature) -> tuple[float, str]:
    K, _, d = shape
    rotations = (K - 1) * d - (K - 1) * K // 2
    kernel = -1 if found.kernel_dimension is None else found.kernel_dimension
    return float(abs(kernel - rotations)), f"{shape}: {kernel}, rotations {rotations}"


def _ends(shape: tuple[int, int, int], found: Curvature) -> tuple[float, str]:
    low = float("nan") if found.transversal is None else found.transversal.eigenvalue
    high = found.highest.eigenvalue
    return max(abs(low - SPECTRUM[shape][0]), abs(high - SPECTRUM[shape][1])), f"{shape}: {low:.6f}, {high:.6f}"


def _noise() -> tuple[Evidence, ...]:
    """The printed form, as it can be put to the test: after 5,000 noisy steps half of the way should be gone."""
    form = "share of the way from the ray to collapse that the best seed has left after 5,000 noisy steps"
    return (trial(form, map(_left, NOISES), tolerance=0.5),)


def _left(noise: float) -> tuple[float, str]:
    starts = stack([at(START)] * SEEDS)
    run = finished(descend(PROBLEM, starts, optax.sgd(RATE), STEPS, record=2, noise=GradientNoise(noise)))
    best = float(run.metrics["margin_ratio"].values[:, -1].max())
    where = f"noise {noise:g} times the gradient, {SEEDS} seeds: margin ratio {best:.4f} at best, 0.75 on the ray"
    return (1 - best) / (1 - 0.75), where


STATEMENTS = (
    Statement(
        id="remark-3.3",
        place="Remark 3.3",
        text="Points that are critical on the sphere and not optimal are strict saddles there; the optimum is none.",
        quantifier="for d >= K-1; at critical points with λ > 0, λ = 0 and λ < 0, and at optima",
        errata=("E12",),
        functions=("curvature", "escape"),
        test="tests/certify/test_curvature.py",
        expected=Verdict.CORRECTED,
        check=_strict,
        remark="It is the Riemannian Hessian that tells them apart; the projected one of (13) is lower by λ, at optima "
        "negative too.",
    ),
    Statement(
        id="remark-3.3-noise",
        place="Remark 3.3, last sentence",
        text="Gradient noise drives descent away from a spurious KKT direction within few steps.",
        quantifier="from Example 3.1 at C = 0.6, rate 0.05 on the summed loss, noise of 0.5 and 2 times the gradient, "
        "6 seeds each, 5,000 steps",
        functions=("descend", "GradientNoise", "escape"),
        test="tests/theory/test_example_3_1.py",
        expected=Verdict.FAILS,
        check=_noise,
        remark="The verdict is for this rate, start and noise alone. Noise in proportion to the gradient, as of "
        "sampling, dies with it; another kind was not tried. "
        "Loss-normalised descent with the same noise leaves sooner, the direction of Theorem 3.4 at once.",
    ),
)
