"""2. How a point moves: descent and flow, noise and normalisation, when it is recorded and how it ends."""

from layerpeel.dynamics.descent import descend
from layerpeel.dynamics.exact_squared_loss import aligned_modes, aligned_state, central_path
from layerpeel.dynamics.flow import flow
from layerpeel.dynamics.noise import GradientNoise
from layerpeel.dynamics.normalized import normalized, on_log_loss
from layerpeel.dynamics.trajectory import Trajectory
from layerpeel.outcome import Outcome

__all__ = [
    "GradientNoise",
    "Outcome",
    "Trajectory",
    "aligned_modes",
    "aligned_state",
    "central_path",
    "descend",
    "flow",
    "normalized",
    "on_log_loss",
]
