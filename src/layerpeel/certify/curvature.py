"""Curvature: the lowest eigenpair of the Hessian on the sphere |theta| = rho (section 3.2 of Ji et al. 2022).

The operators, projected and Riemannian, are those of :mod:`layerpeel.certify.hessian`; mu and v are the lowest
eigenvalue and a unit eigenvector of P (Hess L + lam I) P on the tangent space. At a critical point of the sphere, where
grad L + lam theta = 0,

 - mu < 0 makes theta a saddle: L falls from it along the great circle of v. For cross-entropy and d >= K - 1 every
   critical point that is not optimal is one (Theorem 3.4); mu = lam - sigma_1(G) if W a = 0 and H'a = 0 for an a != 0.
 - The rotation orbit lies in the kernel, so mu <= 0 wherever that orbit has a dimension. The orbit is the kernel, and
   theta is a strict local minimum but for rotations, if the lowest transversal eigenvalue is positive.

Elsewhere mu is no more than a second derivative, and the orbit need not be in the kernel. L is the objective of the
problem, sum or mean, with its regulariser if it has one. The radial direction is never looked at: on a critical
point of a regularised objective (lam = 0) only the directions along its sphere are judged.
"""

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal

import jax
import numpy as np
from threadpoolctl import threadpool_limits

from layerpeel.certify.hessian import Compression, SphereHessian, sphere_hessian
from layerpeel.certify.spectrum import FIRST_TOLERANCE, Lanczos, Pair, dense_eigenpairs, pair_of, start_vector
from layerpeel.certify.sphere import admit_point
from layerpeel.problem import Problem, State
from layerpeel.problem.problem import need_problem

__all__ = ["Curvature", "Eigenpair", "curvature"]

METHODS = ("auto", "dense", "lanczos")
DENSE = 1500
"""Unknowns up to which "auto" forms the matrix: about two seconds there, and the kernel is counted."""
KERNEL = 1e-8
"""Eigenvalues below this share of the norm count as zero."""
UNDERFLOW = -650.0
"""log L below which eigenvalues are printed in units of L: there float64 holds some of them to a few digits or not."""
SMALL = 10**5
"""Unknowns up to which one thread is faster."""


@dataclass(frozen=True, eq=False)
class Eigenpair:
    """An eigenvalue of a Hessian on the sphere with its direction.

    Attributes:
        relative: the eigenvalue in units of L (``Curvature.log_unit``): exact where L underflows.
        eigenvalue: the eigenvalue of the objective itself.
        direction: unit tangent vector; of the two, one along which L does not rise to first order.
        residual: |A v - mu v| in the units of ``relative``: some eigenvalue of A lies that near.
        converged: whether the residual is within the tolerance asked for.
    """

    relative: float
    eigenvalue: float
    direction: State
    residual: float
    converged: bool


@dataclass(frozen=True, eq=False)
class Curvature:
    """The ends of the spectrum of the Riemannian Hessian at a point of the sphere.

    Attributes:
        lowest: its lowest eigenpair.
        highest: its highest; to a thousandth of itself in the residual where the method is "lanczos".
        transversal: the lowest eigenpair orthogonal to the rotation orbit; None if it was not asked for.
        multiplier: lam = -<theta, grad L>/rho^2.
        relative_multiplier: lam in the unit.
        log_unit: log L where ``relative`` numbers are in units of L (exponential tail, no regulariser), else 0.
        stationarity: |grad L + lam theta| / |grad L|, 0 at the critical points of the sphere, at most 1.
        orbit_dimension: r(2d - r - 1)/2, r = rank [W; H'].
        kernel_dimension: eigenvalues that are zero to 1e-8 of the largest magnitude, counted; None where the method is
            "lanczos", which does not count. At a critical point a positive ``transversal`` shows it to be
            orbit_dimension.
        method: "dense" or "lanczos".
    """

    lowest: Eigenpair
    highest: Eigenpair
    transversal: Eigenpair | None
    multiplier: float
    relative_multiplier: float
    log_unit: float
    stationarity: float
    orbit_dimension: int
    kernel_dimension: int | None
    method: Literal["dense", "lanczos"]

    @property
    def eigenvalue(self) -> float:
        """The lowest eigenvalue of the Riemannian Hessian, P (Hess L + lam I) P (equation 14)."""
        return self.lowest.eigenvalue

    @property
    def relative(self) -> float:
        """The same in units of L."""
        return self.lowest.relative

    @property
    def direction(self) -> State:
        """Its unit tangent direction; the lowest of the projected Hessian too."""
        return self.lowest.direction

    @property
    def residual(self) -> float:
        """|A v - mu v| in units of L."""
        return self.lowest.residual

    @property
    def converged(self) -> bool:
        """Whether the lowest eigenpair is within the tolerance."""
        return self.lowest.converged

    @property
    def projected(self) -> Eigenpair:
        """The lowest eigenpair of the projected Hessian, P Hess L P (equation 13): lam lower, in the same direction."""
        low = self.lowest
        return replace(
            low, relative=low.relative - self.relative_multiplier, eigenvalue=low.eigenvalue - self.multiplier
        )

    def __str__(self) -> str:
        relative = self.log_unit < UNDERFLOW
        shown = attrgetter("relative" if relative else "eigenvalue")
        unit = f", in units of L (log L = {self.log_unit:.6g})" if relative else ""
        ends = f"between {shown(self.lowest):.6g} and {shown(self.highest):.6g}"
        across = "" if self.transversal is None else f", across rotations from {shown(self.transversal):.6g}"
        kernel = "not counted" if self.kernel_dimension is None else f"{self.kernel_dimension}"
        lam = self.relative_multiplier if relative else self.multiplier
        return (
            f"Riemannian Hessian on the sphere{unit}: eigenvalues {ends}{across}; "
            f"projected from {shown(self.projected):.6g} (lam = {lam:.6g}); "
            f"kernel of dimension {kernel}, rotations {self.orbit_dimension}; "
            f"|grad L + lam theta| / |grad L| = {self.stationarity:.3g}; {self.method}, "
            f"{'converged' if self.converged else 'NOT converged'}."
        )


def curvature(
    problem: Problem,
    state: State,
    *,
    method: Literal["auto", "dense", "lanczos"] = "auto",
    transversal: bool = True,
    tolerance: float = 1e-8,
    products: int = 5000,
) -> Curvature:
    """The lowest eigenpair of the Riemannian Hessian on the sphere through ``state``, and what it is to be seen with.

    Args:
        problem: any problem without a constraint whose objective is twice differentiable; the sphere is that of all
            coordinates, the bias among them.
        state: one point, not 0; it need not be critical.
        method: "dense" forms the matrix, "lanczos" never does, "auto" chooses by size.
        transversal: whether to look for the lowest eigenpair orthogonal to the rotation orbit too.
        tolerance: wanted residual over the norm of the Hessian ("lanczos"), at least 1e-14.
        products: most Hessian products an eigenpair ("lanczos"); then the last that was found, ``converged`` False.

    Raises:
        ValueError: for a state that does not fit the problem, a seed axis, theta = 0, a constraint, a gradient that is
            not finite, or options out of range.
    """
    if method not in METHODS:
        raise ValueError(f"need method to be one of {', '.join(METHODS)}, got {method!r}")
    solver = Lanczos(tolerance, products)
    need_problem(problem)
    if problem.constraint is not None:
        raise ValueError(
            f"need a problem without a constraint for the sphere of its states, got {problem.constraint!r}"
        )
    if problem.depth > 2:
        raise ValueError(f"need a problem of two factors, W and H, got depth={problem.depth}")
    state = admit_point(problem, state)
    with jax.enable_x64(True), threadpool_limits(limits=_threads(state), user_api="blas"):
        hessian = sphere_hessian(problem, state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(_in_numpy(hessian.gradient))):
            raise ValueError("need an objective with a finite gradient at the state, got one that is not")
        if method == "dense" or (method == "auto" and Compression(hessian).size <= DENSE):
            return _dense(hessian, transversal, solver.tolerance)
        return _lanczos(hessian, transversal, solver)


def _dense(hessian: SphereHessian, transversal: bool, tolerance: float) -> Curvature:
    values, lowest, highest = dense_eigenpairs(Compression(hessian))
    norm = float(np.abs(values).max())
    across = dense_eigenpairs(Compression(hessian, transversal=True))[1] if transversal else None
    kernel = int(np.count_nonzero(np.abs(values) <= KERNEL * norm))
    return _result(hessian, lowest, highest, across, limits=(tolerance * norm,) * 2, kernel=kernel, method="dense")


def _lanczos(hessian: SphereHessian, transversal: bool, solver: Lanczos) -> Curvature:
    whole = Compression(hessian)
    start = start_vector(whole.size)
    highest = solver.highest(whole, start)
    norm = abs(highest.value) + highest.residual
    lowest = solver.lowest(whole, start, norm=norm)
    norm = max(norm, abs(lowest.value))
    within = solver.tolerance * norm
    across = _across(hessian, lowest, start, solver, norm) if transversal else None
    limits = (within, FIRST_TOLERANCE * norm)
    return _result(hessian, lowest, highest, across, limits=limits, kernel=None, method="lanczos")


def _across(hessian: SphereHessian, lowest: Pair, start: Any, solver: Lanczos, norm: float) -> Pair:
    """The lowest transversal pair: ``lowest`` itself where that is transversal already, since none can be lower."""
    operator = Compression(hessian, transversal=True)
    part = operator.project(lowest.vector)
    if np.linalg.norm(part) > 0.5:
        pair = pair_of(operator, part)
        within = solver.tolerance * norm
        if pair.residual <= within and pair.value - lowest.value <= within:
            return pair
        start = part + 0.1 * start / np.linalg.norm(start)
    return solver.lowest(operator, start, norm=norm)


def _result(
    hessian: SphereHessian,
    lowest: Pair,
    highest: Pair,
    across: Pair | None,
    *,
    limits: tuple[float, float],
    kernel: int | None,
    method: Literal["dense", "lanczos"],
) -> Curvature:
    lam, log_unit = float(hessian.multiplier), float(hessian.log_unit)
    return Curvature(
        lowest=_eigenpair(hessian, lowest, limits[0]),
        highest=_eigenpair(hessian, highest, limits[1]),
        transversal=None if across is None else _eigenpair(hessian, across, limits[0]),
        multiplier=lam * float(np.exp(log_unit)),
        relative_multiplier=lam,
        log_unit=log_unit,
        stationarity=_stationarity(hessian),
        orbit_dimension=hessian.orbit.dimension,
        kernel_dimension=kernel,
        method=method,
    )


def _eigenpair(hessian: SphereHessian, pair: Pair, limit: float) -> Eigenpair:
    direction = Compression(hessian).as_state(pair.vector)
    if _in_numpy(hessian.gradient).inner(direction) > 0:
        direction = -direction
    eigenvalue = pair.value * float(np.exp(hessian.log_unit))
    return Eigenpair(pair.value, eigenvalue, direction, pair.residual, pair.residual <= limit)


def _stationarity(hessian: SphereHessian) -> float:
    state, gradient = _in_numpy(hessian.state), _in_numpy(hessian.gradient)
    residual = gradient + float(hessian.multiplier) * state
    length = float(np.sqrt(gradient.squared_norm))
    return float(np.sqrt(residual.squared_norm)) / length if length > 0 else 0.0


def _in_numpy(state: State) -> State:
    """For a few numbers: jax would compile each operation for the shapes of the problem."""
    return State(*(None if leaf is None else np.asarray(leaf) for leaf in (state.W, state.H, state.b)))


def _threads(state: State) -> int | None:
    return 1 if sum(leaf.size for leaf in jax.tree.leaves(state)) <= SMALL else None
