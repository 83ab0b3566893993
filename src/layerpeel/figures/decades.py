"""How a logarithmic axis is labelled: by numbers as one writes them.

0.02, 0.05, 0.1 where it spans less than two decades, even numbers where it spans less than a factor of three, and 10^-5
where it leaves [0.001, 10^4].
"""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

__all__ = ["number_decades"]


def number_decades(ax: Axes) -> None:
    """Label the y axis of ``ax``, which must be logarithmic and have its limits."""
    low, high = ax.get_ylim()
    if high < 3 * low:
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
        ax.yaxis.set_minor_locator(NullLocator())
    elif high < 100 * low:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    if low >= 1e-3 and high <= 1e4:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
