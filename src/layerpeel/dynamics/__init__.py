"""2. How a point moves: descent, its noise and normalisation, when it is recorded and how it ends."""

from layerpeel.dynamics.descent import descend
from layerpeel.dynamics.noise import GradientNoise
from layerpeel.dynamics.normalized import normalized
from layerpeel.dynamics.trajectory import Trajectory
from layerpeel.outcome import Outcome

__all__ = ["GradientNoise", "Outcome", "Trajectory", "descend", "normalized"]
