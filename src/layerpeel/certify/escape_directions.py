"""The directions of Theorem 3.4: wherever the certificate of global optimality fails, one of them goes down.

With g = G/L, its top singular triple (sigma_1, u, v), lam the multiplier of the sphere and f(Z) = log L, at theta:

 1. grad log L + lam theta != 0: minus that residual.
 Else theta is critical, g H' = -lam W and W' g = -lam H, so that W'W = HH' if lam != 0. Globally optimal iff
 lam >= 0 and sigma_1 <= lam (case 2, :mod:`layerpeel.certify.global_certificate`); otherwise:
 3. W a = 0, H' a = 0, |a| = 1 (exists if d >= K): D = (u a', -a v'). At theta + s D the logits are exactly
    Z - s^2 u v', and log L on the sphere changes by -(sigma_1 - lam) s^2: a unit direction has curvature
    -(sigma_1 - lam). Its great circle is Z + t (-(rho^2/2) u v' - Z), t = sin^2(s/rho): a Frank-Wolfe step in the ball
    |Z|_* <= rho^2/2, along which L is convex in t.
 4. lam < 0, with or without such an a: W = U S V', H = V S R', D = (U_1 V_1', -V_1 R_1'): the logits
    are exactly Z - s^2 U_1 R_1', the change 2 lam s^2.
 5. lam = 0, no common null vector: H' a = 0 and D = (m u a', -a v'/m), or P W b = 0 and D = (u b'/m, -m b v'), which
    exists for d >= K - 1. With kappa the curvature of f along the one part of A that is left at m = 1,

        curvature of a unit direction = lam + (kappa - 2 sigma_1 m^2)/(m^4 + 1),

    least at m^2 = x + sqrt(x^2 + 1), x = kappa/(2 sigma_1), where it is lam - sigma_1/m^2; case 3 is kappa = 0.

P = I - J/K: what W b = c 1 adds to the logits does not move a loss that ignores their shifts (1' g = 0, cross-entropy);
for one that feels them P is left out and d >= K is needed. Near a critical point these directions still work, made
tangent and given the sign that goes down; none is believed before the loss along it has been seen to fall.

Theorem 3.4 of Ji et al. 2022, corrected (it needs d >= K - 1) and made constructive.
"""

import enum
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from layerpeel.certify.global_certificate import GlobalCertificate
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import tangent
from layerpeel.problem import State

__all__ = ["Case", "directions", "ignores_shifts"]

NEGLIGIBLE, NEARLY = 1e-8, 1e-3
"""With |(W a, H'a)|/rho below the first case 5 is left out, above the second case 3; between them both are tried."""


class Case(enum.Enum):
    """Which case of Theorem 3.4 gave a direction; the value is its number and a sentence."""

    GRADIENT = "case 1, down the projected gradient"
    NULL_VECTOR = "case 3, the top singular pair of G through a common null vector of W and H'"
    NEGATIVE_MULTIPLIER = "case 4, norm moved between H and W along their top singular pair"
    ZERO_MULTIPLIER = "case 5, the top singular pair of G through the least singular vector of H' or P W alone"
    CURVATURE = "no case of the theorem, the lowest curvature of the Riemannian Hessian"

    def __str__(self) -> str:
        return self.value


def directions(loss: LogitLoss, certificate: GlobalCertificate, state: State) -> Iterator[tuple[Case, State]]:
    """Every case's direction at ``state``, neither tangent nor unit yet, its sign open."""
    yield Case.GRADIENT, tangent(state, loss.state_gradient(state, certificate.gradient))
    u, v = certificate.u, certificate.v
    a, length = _least_singular(np.vstack([state.W, state.H.T]))
    if length <= NEARLY * np.sqrt(certificate.rho2):
        yield Case.NULL_VECTOR, State(np.outer(u, a), -np.outer(a, v))
    if certificate.lam < 0:
        yield Case.NEGATIVE_MULTIPLIER, _shift_of_norm(state)
    if length > NEGLIGIBLE * np.sqrt(certificate.rho2):
        yield Case.ZERO_MULTIPLIER, _through_features(loss, certificate, state)
        yield Case.ZERO_MULTIPLIER, _through_classifier(loss, certificate, state)


def ignores_shifts(gradient: Float[np.ndarray, "K N"]) -> bool:
    """Whether 1'G = 0: adding a constant to the logits of a sample does not change its loss."""
    return bool(np.abs(gradient.sum(axis=0)).max() <= NEGLIGIBLE * np.abs(gradient).max())


def _shift_of_norm(state: State) -> State:
    """(U_1 V_1', -V_1 R_1') of the balanced factors W = U S V', H = V S R'."""
    U, _, Vt = np.linalg.svd(state.W, full_matrices=False)
    row = Vt[0] @ state.H
    length = np.linalg.norm(row)
    R = row / length if length > 0 else row
    return State(np.outer(U[:, 0], Vt[0]), -np.outer(Vt[0], R))


def _through_features(loss: LogitLoss, certificate: GlobalCertificate, state: State) -> State:
    """(m u a', -a v'/m) with H' a = 0 (or as small as can be)."""
    a, _ = _least_singular(state.H.T)
    m = _best_ratio(loss, certificate, state, np.outer(state.W @ a, certificate.v))
    return State(m * np.outer(certificate.u, a), -np.outer(a, certificate.v) / m)


def _through_classifier(loss: LogitLoss, certificate: GlobalCertificate, state: State) -> State:
    """(u b'/m, -m b v') with P W b = 0 (or as small as can be)."""
    centred = state.W - state.W.mean(axis=0) if ignores_shifts(certificate.gradient) else state.W
    b, _ = _least_singular(centred)
    m = _best_ratio(loss, certificate, state, np.outer(certificate.u, state.H.T @ b))
    return State(np.outer(certificate.u, b) / m, -m * np.outer(b, certificate.v))


def _best_ratio(loss: LogitLoss, certificate: GlobalCertificate, state: State, A: Float[np.ndarray, "K N"]) -> float:
    """m, with m^2 = x + sqrt(x^2 + 1), x = kappa/(2 sigma_1), kappa = f''[A, A]."""
    kappa = float(np.vdot(A, loss.hessian_product(state.W @ state.H, A)))
    x = max(0.0, kappa) / (2 * certificate.sigma)
    return float(np.sqrt(x + np.hypot(x, 1.0)))


def _least_singular(A: Float[np.ndarray, "m d"]) -> tuple[Float[np.ndarray, "d"], float]:
    """A unit a with |A a| least, and that length; through the QR factor of a tall A, whose null vectors it keeps."""
    R = np.linalg.qr(A, mode="r") if A.shape[0] > A.shape[1] else A
    _, values, Vt = np.linalg.svd(R, full_matrices=True)
    return Vt[-1], float(values[-1]) if len(values) == len(Vt) else 0.0
