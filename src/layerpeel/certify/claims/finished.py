"""Runs that a statement may be judged by: those that came to their end."""

from layerpeel.dynamics import Trajectory
from layerpeel.outcome import Outcome

__all__ = ["finished"]

ENDS = {Outcome.COMPLETED, Outcome.REACHED, Outcome.RESTED}


def finished(run: Trajectory) -> Trajectory:
    """``run`` itself.

    Raises:
        KeyboardInterrupt: if it was interrupted, which it took as its end.
        RuntimeError: if it ended otherwise before what was asked of it.
    """
    if run.outcome is Outcome.INTERRUPTED:
        raise KeyboardInterrupt
    if run.outcome not in ENDS:
        raise RuntimeError(f"need a run that came to its end, got: {run.outcome}")
    return run
