"""The sharpest multipliers: those with the least gap epsilon^2/2 + delta at a feasible point of problem (5).

Around a point theta with all margins m >= 1 let the constraints of (5) be replaced by their linear parts,

    min |x|^2 / 2  subject to  m + <grad m, x - theta> >= 1,  which is  <grad m, x> >= m + 1,

as <theta, grad m> = 2 m. It is a convex program whose dual value at multipliers lambda >= 0 is

    |theta|^2/2 - (epsilon^2/2 + delta),  epsilon = |theta - sum lambda grad m|,  delta = sum lambda (m - 1).

So epsilon^2/2 + delta is the duality gap at x = theta: the least of it tells how far |x|^2 / 2 can fall to first order
in the constraints, and it is 0 iff theta is a KKT point of (5). This is why it, and neither epsilon nor delta alone,
is minimised here: for n = 1 any centred W = H' has epsilon = 0 with all multipliers 1/K, whatever its margins, and
delta is 0 at lambda = 0.

The program is one of least distance, which non-negative least squares solve (Lawson and Hanson 1974, chapter 23):
to rounding, by scipy, if there are few multipliers. If there are many, the dual is a quadratic program for clarabel,
to its tolerance. In coordinates where W is s x K and H is r x N, s = min(d, K) and r = min(d, N), which change no inner
product, its Hessian is

    <grad m_ji, grad m_lk> = [i = k] (w_y - w_j).(w_y - w_l) + <e_y - e_j, e_y' - e_l> h_i.h_k,

N blocks of K-1 from W and a part of rank K r from H, which is kept as a product, y = B H' with
B = sum_ji lambda_ji (e_y - e_j) e_i'. So neither the Hessian, N(K-1) squared, nor the matrix of all grad m,
N(K-1) x (K r + N s), is formed.
"""

from contextlib import suppress
from dataclasses import dataclass

import clarabel
import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int
from scipy.optimize import nnls

from layerpeel.problem import Problem, State

__all__ = ["margin_gradients", "sharpest_multipliers"]

FEW = 300
"""Multipliers up to which the exact solver is the faster one (K=10, n=20, d=32 has 1800: 15 s against 1.4 s)."""

TOLERANCE = 1e-12
"""Of clarabel; what it reaches short of it is as valid a certificate."""


def margin_gradients(problem: Problem, state: State, multipliers: Float[np.ndarray, "*seed K N"]) -> State:
    """sum lambda grad m = (B H', W' B), with B minus the multipliers, and their column sums at the labels."""
    B = np.where(problem.onehot > 0, multipliers.sum(axis=-2, keepdims=True), -multipliers)
    return State(B @ np.swapaxes(state.H, -1, -2), np.swapaxes(state.W, -1, -2) @ B)


def sharpest_multipliers(problem: Problem, state: State) -> Float[np.ndarray, "K N"]:
    """lambda >= 0 with the least epsilon^2/2 + delta at one ``state`` whose margins are all >= 1; 0 at the labels."""
    sample, rival = np.nonzero(problem.onehot.T == 0)
    label = problem.labels[sample]
    Z = state.W @ state.H
    program = _Linearised(
        sample=sample,
        rival=rival,
        label=label,
        margin=Z[label, sample] - Z[rival, sample],
        W=np.asarray(np.linalg.qr(state.W.T, mode="r")),
        H=np.asarray(np.linalg.qr(state.H, mode="r")),
    )
    multipliers = np.zeros((problem.K, problem.N))
    multipliers[rival, sample] = program.solve()
    return multipliers


@dataclass(frozen=True, eq=False)
class _Linearised:
    """The program above: one constraint a pair of a sample i and a rival j of its label y, sample by sample."""

    sample: Int[np.ndarray, "pair"]
    rival: Int[np.ndarray, "pair"]
    label: Int[np.ndarray, "pair"]
    margin: Float[np.ndarray, "pair"]
    W: Float[np.ndarray, "s K"]
    H: Float[np.ndarray, "r N"]

    def solve(self) -> Float[np.ndarray, "pair"]:
        """lambda by the solver for its size."""
        if len(self.sample) <= FEW:
            with suppress(RuntimeError):  # too many changes of the active set: seen only where rounding makes it cycle
                return self.by_least_squares()
        return self.by_interior_point()

    def by_least_squares(self) -> Float[np.ndarray, "pair"]:
        """lambda = c u / (1 - b'u), u >= 0 solving A u = 0, b'u = 1 by least squares; A the grad m, b = (m+1)/c.

        The unit c = |theta| is of the size of the solution x = A lambda, so that 1 - b'u >= 1/2 does not cancel.
        """
        unit = np.sqrt((self.W**2).sum() + (self.H**2).sum())
        bound = (self.margin + 1) / unit
        system = np.vstack([self._gradients(), bound])
        u, _ = nnls(system, np.eye(len(system))[-1])
        return unit * u / (1 - bound @ u)

    def by_interior_point(self) -> Float[np.ndarray, "pair"]:
        """min over lambda >= 0 and y = B H' of |y|^2/2 + |W' B|^2/2 - (m+1)'lambda."""
        pairs, through = len(self.sample), self._through_features()
        free = through.shape[0]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
        solution = clarabel.DefaultSolver(
            sparse.block_diag([*self._classifier_blocks(), sparse.eye(free)], format="csc"),
            np.concatenate([-self.margin - 1, np.zeros(free)]),
            sparse.block_array([[through, -sparse.eye(free)], [-sparse.eye(pairs), None]], format="csc"),
            np.zeros(free + pairs),
            [clarabel.ZeroConeT(free), clarabel.NonnegativeConeT(pairs)],
            settings,
        ).solve()
        return np.maximum(np.nan_to_num(np.asarray(solution.x)[:pairs]), 0.0)

    def _differences(self) -> Float[np.ndarray, "K pair"]:
        """e_y - e_j."""
        one = np.eye(self.W.shape[1])
        return one[:, self.label] - one[:, self.rival]

    def _gradients(self) -> Float[np.ndarray, "coordinate pair"]:
        """grad m, a column a pair: (e_y - e_j) h_i' and, in column i of the features, w_y - w_j."""
        difference, pairs = self._differences(), len(self.sample)
        of_W = difference[:, None] * self.H[:, self.sample]
        of_H = np.zeros((self.W.shape[0], self.H.shape[1], pairs))
        of_H[:, self.sample, np.arange(pairs)] = self.W @ difference
        return np.vstack([of_W.reshape(-1, pairs), of_H.reshape(-1, pairs)])

    def _through_features(self) -> sparse.csc_matrix:
        """The map lambda -> B H'; a column has h_i in row y and -h_i in row j."""
        r, pairs = len(self.H), len(self.sample)
        features = self.H.T[self.sample]
        row = np.concatenate([self.label, self.rival])[:, None] * r + np.arange(r)
        column = np.tile(np.repeat(np.arange(pairs), r), 2)
        entries = np.concatenate([features.ravel(), -features.ravel()])
        return sparse.csc_matrix((entries, (row.ravel(), column)), shape=(self.W.shape[1] * r, pairs))

    def _classifier_blocks(self) -> list[Float[np.ndarray, "rival rival"]]:
        """Upper triangles of the inner products of w_y - w_j, sample by sample."""
        K = self.W.shape[1]
        gaps = [self.W[:, [y]] - np.delete(self.W, y, axis=1) for y in range(K)]
        of_class = [np.triu(gap.T @ gap) for gap in gaps]
        return [of_class[y] for y in self.label[:: K - 1]]
