"""How a run ended, as a sentence for its user."""

import enum
from collections.abc import Iterable

__all__ = ["Outcome"]


class Outcome(enum.Enum):
    """The end of a run, from the best to the worst; the value is a sentence."""

    COMPLETED = "The run took all the steps it was asked for."
    REACHED = "The flow reached the time it was asked for."
    RESTED = "The flow came to rest at a critical point: what is recorded after that repeats it."
    DRIFTED = (
        "The flow reached its time, but W'W - HH', which is conserved, drifted by more than 1%: ask for a smaller rtol "
        "or an earlier time."
    )
    STALLED = "The integrator could not reach the time within its tolerances; everything recorded before that is kept."
    NONFINITE = (
        "A state grew beyond the numbers that float64 can hold and measure (is the step too large?), or shrank below "
        "them; everything recorded before that is kept."
    )
    INTERRUPTED = "The run was interrupted; everything recorded so far is kept, and a checkpoint (if any) resumes it."

    def __str__(self) -> str:
        return self.value

    @classmethod
    def worst(cls, outcomes: Iterable["Outcome"]) -> "Outcome":
        """The worst of several ends."""
        return max(outcomes, key=list(cls).index)
