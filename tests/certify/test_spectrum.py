"""Ends of a known spectrum, dense and by Lanczos: the complement of the subspace is never taken for one of them."""

from dataclasses import dataclass

import numpy as np
import pytest

from layerpeel.certify.spectrum import Lanczos, dense_eigenpairs, start_vector

SOLVER = Lanczos(tolerance=1e-10, products=3000)


@dataclass(frozen=True, eq=False)
class Known:
    """V diag(values) V' on the span of V's first columns."""

    values: np.ndarray
    removed: int = 1

    @property
    def size(self):
        return len(self.values) + self.removed

    @property
    def basis(self):
        square = np.random.default_rng(1).standard_normal((self.size, self.size))
        return np.linalg.qr(square)[0][:, : len(self.values)]

    def project(self, x):
        return self.basis @ (self.basis.T @ x)

    def product(self, x, *, lift=0.0, scale=1.0, shift=0.0):
        inside = self.project(x)
        image = self.basis @ (self.values * (self.basis.T @ x)) + lift * (x - inside)
        return scale * image - shift * x


SPECTRA = {
    "both signs": np.linspace(-1, 2, 60),
    "all positive": np.linspace(3, 5, 60),
    "all negative": np.linspace(-5, -3, 60),
    "lowest is a multiple zero": np.concatenate([np.zeros(20), np.linspace(1, 2, 40)]),
    "one value alone": np.full(60, 0.7),
    "zero": np.zeros(60),
    "of a size 1e-100": 1e-100 * np.linspace(-1, 2, 60),
}


@pytest.mark.parametrize("removed", [1, 7])
@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_both_ways_find_both_ends(values, removed):
    operator = Known(values, removed)
    norm = np.abs(values).max() or 1.0
    found, *dense = dense_eigenpairs(operator)
    np.testing.assert_allclose(found, values, atol=1e-13 * norm)
    start = start_vector(operator.size)
    lanczos = SOLVER.lowest(operator, start, norm=norm), SOLVER.highest(operator, start)
    for (low, high), rough in ((dense, 1e-13), (lanczos, 1e-6)):
        assert low.value == pytest.approx(values.min(), abs=1e-12 * norm)
        assert high.value == pytest.approx(values.max(), abs=rough * norm)
        assert low.residual <= 1e-10 * norm
        for pair in (low, high):
            assert np.linalg.norm(pair.vector) == pytest.approx(1, rel=1e-12)
            np.testing.assert_allclose(operator.project(pair.vector), pair.vector, atol=1e-12)
            image = operator.product(pair.vector)
            assert pair.residual == pytest.approx(np.linalg.norm(image - pair.value * pair.vector), abs=1e-15 * norm)


def test_without_enough_products_the_residual_says_so():
    operator = Known(np.linspace(-1, 1, 400) ** 3)
    few = Lanczos(tolerance=1e-10, products=10).lowest(operator, start_vector(operator.size), norm=1.0)
    more = Lanczos(tolerance=1e-10, products=70).lowest(operator, start_vector(operator.size), norm=1.0)
    assert few.residual > 0.1
    assert 1e-10 < more.residual < few.residual
    assert -1 <= more.value < few.value


def test_the_same_call_gives_the_same_pair():
    operator = Known(SPECTRA["lowest is a multiple zero"])
    first, second = (SOLVER.lowest(operator, start_vector(operator.size), norm=2.0) for _ in range(2))
    np.testing.assert_array_equal(first.vector, second.vector)


def test_the_start_is_not_what_a_seed_of_a_problem_draws():
    start = start_vector(1000)
    for seed in range(50):
        drawn = np.random.default_rng(seed).standard_normal(1000)
        assert abs(start @ drawn) < 0.2 * np.linalg.norm(start) * np.linalg.norm(drawn)
