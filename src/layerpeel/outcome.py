"""How a run ended, as a sentence for its user."""

import enum

__all__ = ["Outcome"]


class Outcome(enum.Enum):
    """The end of a run; the value is a sentence."""

    COMPLETED = "The run took all the steps it was asked for."
    NONFINITE = "A state left the finite numbers (the step is too large?); everything recorded before that is kept."
    INTERRUPTED = "The run was interrupted; everything recorded so far is kept, and a checkpoint (if any) resumes it."

    def __str__(self) -> str:
        return self.value
