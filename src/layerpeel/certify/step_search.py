"""How far to follow a curve along which a function falls: to a decrease that was measured, then as low as it goes."""

from collections.abc import Callable

from scipy.optimize import minimize_scalar

__all__ = ["lowest_step"]

HALVINGS = 60


def lowest_step(
    value: Callable[[float], float],
    *,
    below: float,
    first: float,
    longest: float,
    worth: Callable[[float], bool],
) -> float | None:
    """A step after which ``value`` is less than ``below``; None if there is none to be seen.

    ``first`` is halved until the value has fallen, as long as a step is ``worth`` trying, or else doubled while it
    falls further, up to ``longest``, and refined by Brent's method within that factor of two.
    """
    step = _fallen(value, below, first, worth)
    if step is None:
        return None
    while 2 * step <= longest and value(2 * step) < value(step):
        step *= 2
    bounds = (step / 2, min(2 * step, longest))
    refined = minimize_scalar(value, bounds=bounds, method="bounded", options={"maxiter": 20}).x
    return float(refined) if value(refined) < value(step) else step


def _fallen(value: Callable[[float], float], below: float, step: float, worth: Callable[[float], bool]) -> float | None:
    """The first of the halved steps at which the value has fallen."""
    for _ in range(HALVINGS):
        if not worth(step):
            return None
        if value(step) < below:
            return step
        step /= 2
    return None
