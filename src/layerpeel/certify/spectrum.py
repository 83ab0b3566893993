"""Extreme eigenpairs of a symmetric operator A on a subspace: dense for small sizes, by Lanczos for large ones.

Dense: the matrix of A, the complement of the subspace lifted above all its eigenvalues. Lanczos: scipy's ARPACK, from
products alone. The complement is lifted to the Rayleigh quotient of a vector of the subspace, which lies between its
ends, so that neither end can be taken for it; A is divided by about its norm and shifted by 1, so that ARPACK's
tolerance is relative to the norm also where the eigenvalue is zero. Every residual is measured with A itself.

What converged is an eigenvalue to within its residual; that none lies beyond it is as sure as that the random start
is not orthogonal to its eigenvector. Lanczos does not count multiplicities; the dense way does.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from layerpeel.problem.options import need_integer, number

__all__ = ["Lanczos", "Operator", "Pair", "dense_eigenpairs", "start_vector"]

BASIS = 40
"""Lanczos vectors kept: with 20 the restarts cost a quarter more products, with 60 more time than they save."""
FIRST_TOLERANCE = 1e-3
"""Of a first run, so that there is an eigenvector to show when the products are used up."""


@runtime_checkable
class Operator(Protocol):
    """A symmetric operator on a subspace of flat vectors; see :class:`layerpeel.certify.hessian.Compression`."""

    @property
    def size(self) -> int:
        """Length of the vectors."""

    @property
    def removed(self) -> int:
        """Codimension of the subspace."""

    def product(
        self, x: Float[np.ndarray, "m"], *, lift: float = 0.0, scale: float = 1.0, shift: float = 0.0
    ) -> Float[np.ndarray, "m"]:
        """scale A x - shift x, with the eigenvalue ``lift`` of A on the complement of the subspace."""

    def project(self, x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """The part of x in the subspace."""


@dataclass(frozen=True, eq=False)
class Pair:
    """mu = <v, A v> of a unit v in the subspace, and |A v - mu v|: an eigenvalue of A lies that near to mu."""

    value: float
    vector: Float[np.ndarray, "m"]
    residual: float


def pair_of(operator: Operator, vector: Float[np.ndarray, "m"]) -> Pair:
    """The Rayleigh quotient of ``vector``, brought into the subspace and to length 1, and its residual."""
    v = _unit(operator.project(vector))
    image = operator.product(v)
    value = float(v @ image)
    return Pair(value, v, float(np.linalg.norm(image - value * v)))


def dense_eigenpairs(operator: Operator) -> tuple[Float[np.ndarray, "k"], Pair, Pair]:
    """All eigenvalues on the subspace, ascending, and the lowest and the highest pair."""
    eye = np.eye(operator.size)
    matrix = np.stack([operator.product(e) for e in eye])
    complement = eye - np.stack([operator.project(e) for e in eye])
    above = 2 * np.abs(matrix).sum(axis=0).max() or 1.0  # twice a bound of the norm
    lifted = matrix + above * complement
    values, vectors = eigh((lifted + lifted.T) / 2, driver="evd")
    kept = operator.size - operator.removed
    return values[:kept], pair_of(operator, vectors[:, 0]), pair_of(operator, vectors[:, kept - 1])


@dataclass(frozen=True, eq=False)
class Lanczos:
    """Extreme eigenpairs by products.

    Attributes:
        tolerance: wanted residual over the norm of the operator.
        products: most products a pair.

    Raises:
        ValueError: for a tolerance that is not from 1e-14 to 1, products < 1.
    """

    tolerance: Any
    products: Any

    def __post_init__(self) -> None:
        if not 1e-14 <= number(self.tolerance) < 1:
            raise ValueError(f"need 1e-14 <= tolerance < 1, got tolerance={self.tolerance!r}")
        need_integer("products", self.products, least=1)

    def lowest(self, operator: Operator, start: Float[np.ndarray, "m"], *, norm: float) -> Pair:
        """The lowest pair, from ``start``, for an operator of about this ``norm``: the last one that converged."""
        pair = pair_of(operator, start)
        counted = _Counted(operator, lift=pair.value, scale=1 / (2 * norm or 1.0), shift=1.0)
        for tolerance in (FIRST_TOLERANCE, self.tolerance / 4):
            if pair.residual > tolerance * norm:
                found = _lowest_vector(counted, pair.vector, tolerance, self.products - counted.taken)
                if found is None:
                    return pair
                pair = pair_of(operator, found)
        return pair

    def highest(self, operator: Operator, start: Float[np.ndarray, "m"]) -> Pair:
        """The highest pair to ``FIRST_TOLERANCE``, which needs no norm; its value is good to the square of that."""
        pair = pair_of(operator, start)
        spread = float(np.hypot(pair.value, pair.residual))  # |A v| of a random unit v
        counted = _Counted(operator, lift=pair.value, scale=-1 / (spread or 1.0), shift=1.0)
        found = _lowest_vector(counted, pair.vector, FIRST_TOLERANCE / 4, self.products)
        return pair if found is None else pair_of(operator, found)


class _Counted:
    """scale A - I as ARPACK takes it, counting its products."""

    def __init__(self, operator: Operator, **options: float) -> None:
        self.operator = operator
        self.options = options
        self.taken = 0

    def __call__(self, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "m"]:
        self.taken += 1
        return self.operator.product(np.ravel(x), **self.options)


def start_vector(size: int) -> Float[np.ndarray, "m"]:
    """The fixed random start, of a stream of its own: the point may be what ``default_rng(0)`` itself draws."""
    return np.random.default_rng(0).spawn(1)[0].standard_normal(size)


def _lowest_vector(
    shifted: _Counted, start: Float[np.ndarray, "m"], tolerance: float, products: int
) -> Float[np.ndarray, "m"] | None:
    """The eigenvector of the lowest eigenvalue, or None if ``products`` do not suffice."""
    basis = min(BASIS, start.size)
    if products <= basis:
        return None
    operator = LinearOperator((start.size, start.size), matvec=shifted, dtype=np.float64)
    restarts = 1 + (products - basis) // max(1, basis // 2)
    try:
        return eigsh(operator, k=1, which="SA", v0=start, tol=tolerance, ncv=basis, maxiter=restarts)[1][:, 0]
    except ArpackNoConvergence:
        return None


def _unit(x: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    return x / np.linalg.norm(x)
