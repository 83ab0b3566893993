"""A great circle of the sphere |theta| = rho through a point: how the loss moves along it, and how far to follow it.

    theta(s) = cos(s/rho) theta + rho sin(s/rho) D,    <theta, D> = 0, |D| = 1,

has the logits, with c = cos(s/rho) and r = rho sin(s/rho),

    Z(s) = c^2 Z + c r A + r^2 B,    A = dW H + W dH,    B = dW dH,

so the loss along it costs K x N operations a point. With f(Z) = log L, its gradient g and lam = -2 <g, Z>/rho^2 the
model of second order is

    log L(s) = log L + slope s + curvature s^2/2 + O(s^3),    slope = <g, A>,    curvature = f''[A, A] + 2 <g, B> + lam,

the curvature being that of the Riemannian Hessian of log L along D (at a critical point, that of L in units of L).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerpeel.certify.global_certificate import GlobalCertificate
from layerpeel.certify.logit_loss import LogitLoss
from layerpeel.certify.sphere import onto_sphere, tangent
from layerpeel.certify.step_search import lowest_step as search
from layerpeel.problem import State

__all__ = ["Curve", "downhill_curve", "lowest_step"]

HALF = np.pi
"""The longest step over rho: there comes -theta, which has the logits of theta."""


@dataclass(frozen=True, eq=False)
class Curve:
    """theta(s), with its logits and its model of second order.

    Attributes:
        origin: theta, where s = 0.
        direction: D, a unit tangent vector.
        slope: d/ds log L at 0.
        curvature: d^2/ds^2 log L at 0.
    """

    origin: State
    direction: State
    slope: float
    curvature: float
    rho2: float
    Z: Float[np.ndarray, "K N"]
    A: Float[np.ndarray, "K N"]
    B: Float[np.ndarray, "K N"]

    def state(self, step: float) -> State:
        """theta(s)."""
        angle = step / np.sqrt(self.rho2)
        return onto_sphere(
            self.origin * np.cos(angle) + self.direction * (np.sqrt(self.rho2) * np.sin(angle)), self.rho2
        )

    def logits(self, step: float) -> Float[np.ndarray, "K N"]:
        """Z(s), without forming the state."""
        rho = np.sqrt(self.rho2)
        c, r = np.cos(step / rho), rho * np.sin(step / rho)
        return c * (c * self.Z + r * self.A) + r**2 * self.B

    def predicted(self, step: float) -> float:
        """By how much log L falls up to s, to second order."""
        return -step * (self.slope + step * self.curvature / 2)

    def first_step(self, decrease: float) -> float:
        """What changes the logits by about 1 (or theta by its length), longer if that predicts less than ``decrease``.

        No longer than to the minimiser of the model, or half round.
        """
        rho = float(np.sqrt(self.rho2))
        longest = -self.slope / self.curvature if self.curvature > 0 else HALF * rho
        step = min(rho / (1 + self.rho2), longest)
        while step < longest and self.predicted(step) <= decrease:
            step = min(2 * step, longest)
        return step


def downhill_curve(loss: LogitLoss, certificate: GlobalCertificate, state: State, direction: State) -> Curve | None:
    """The curve along ``direction`` made tangent, or along its opposite, whichever goes down; None for direction 0."""
    D = tangent(state, direction)
    length = np.sqrt(D.squared_norm)
    if length == 0:
        return None
    D = D * (1 / length)
    g, Z = certificate.gradient, state.W @ state.H
    A, B = D.W @ state.H + state.W @ D.H, D.W @ D.H
    slope = float(np.vdot(g, A))
    curvature = float(np.vdot(A, loss.hessian_product(Z, A))) + 2 * float(np.vdot(g, B)) + certificate.lam
    sign = -1.0 if slope > 0 else 1.0
    return Curve(state, D * sign, sign * slope, curvature, certificate.rho2, Z, sign * A, B)


def lowest_step(loss: LogitLoss, curve: Curve, certificate: GlobalCertificate) -> float | None:
    """A step after which log L is lower by more than float64 can blur; None if there is none to be seen."""
    return search(
        lambda step: loss.value(curve.logits(step)),
        below=certificate.log_value - certificate.resolution,
        first=curve.first_step(4 * certificate.resolution),
        longest=HALF * float(np.sqrt(curve.rho2)),
        worth=lambda step: curve.predicted(step) > certificate.resolution,
    )
