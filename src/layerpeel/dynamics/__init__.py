"""2. How a point moves: descent, its noise and normalisation, when it is recorded and how it ends."""

from layerpeel.dynamics.descent import descend
from layerpeel.dynamics.noise import GradientNoise
from layerpeel.dynamics.normalized import normalized
from layerpeel.dynamics.outcome import Outcome
from layerpeel.dynamics.trajectory import Trajectory

__all__ = ["GradientNoise", "Outcome", "Trajectory", "descend", "normalized"]
