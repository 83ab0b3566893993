"""What has no place on a logarithmic axis: in words, for a panel that would be empty without them."""

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

__all__ = ["absence", "unnumbered"]


def absence(values: Real[np.ndarray, "*shape"]) -> str:
    """What ``values`` are of which none is positive; empty where one is."""
    known = values[np.isfinite(values)]
    if (known > 0).any():
        return ""
    if known.size == 0:
        return "undefined"
    return "0 throughout" if (known == 0).all() else "nowhere positive"


def unnumbered(ax: Axes) -> None:
    """Leave the y axis of ``ax`` without numbers, as nothing is drawn against it."""
    ax.yaxis.set_major_locator(NullLocator())
    ax.yaxis.set_minor_locator(NullLocator())
