"""Strong collapse from small starts: how the end of descent differs from the limit, as powers of the size eps."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from layerpeel.figures.style import BLUE, GREEN, GREY, OCHRE, RED, WIDTH, style
from layerpeel.wording import counted

__all__ = ["plot_strong_collapse"]

CURVES = (
    ("gram_error_all", r"$\Vert WW^\top-\sqrt{Kn}\,P\Vert$", OCHRE, "v"),
    ("feature_error", r"$\Vert H-W^\top Y/\sqrt{n}\Vert$", BLUE, "o"),
    ("bias_error", r"$\Vert b-1/K\Vert$", GREEN, "^"),
    ("gram_error", r"$\Vert WW^\top-\sqrt{n}\,P\Vert$", RED, "s"),
)
"""Field, name, colour and marker, from the top down."""
GUIDES = {"feature_error": 1, "gram_error": 2}
"""Field -> the power of eps beside it."""


def plot_strong_collapse(metrics: Any, *, axes: Any = None) -> tuple[Figure, list[Axes]]:
    """(a) errors at the end over eps: dots, every seed; lines, medians. (b) the error of WW' over the steps, by eps.

    Args:
        metrics: a dataset with dims (eps, seed, record) and the coordinate ``step``.
        axes: two axes to draw on, in place of a new figure.

    Raises:
        ValueError: no such dataset, or not two axes.
    """
    if not {"eps", "step"} <= set(getattr(metrics, "coords", ())):
        raise ValueError(f"need metrics with the coordinates eps and step, got {type(metrics).__name__}")
    with style():
        own = axes is None
        axes = list(np.ravel(_page(metrics) if own else axes))
        if len(axes) != 2:
            raise ValueError(f"need 2 axes to draw on, got {len(axes)}")
        _powers(axes[0], metrics)
        _approach(axes[1], metrics)
        axes[0].set_title("(a) errors at the end", loc="left")
        axes[1].set_title(r"(b) $\Vert WW^\top-\sqrt{n}\,P\Vert$ on the way", loc="left")
    return axes[0].figure, axes


def _page(metrics: Any) -> Any:
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    figure.suptitle(f"{metrics.attrs['title']}; {counted(metrics.sizes['seed'], 'seed')}", fontsize="medium")
    return figure.subplots(1, 2)


def _powers(ax: Axes, metrics: Any) -> None:
    last, eps = metrics.isel(record=-1), metrics["eps"].values
    ax.set_xscale("log")
    ax.set_yscale("log")
    for field, name, colour, marker in CURVES:
        values = last[field].transpose("eps", "seed").values
        ax.plot(eps, np.median(values, axis=1), color=colour, label=name, marker=marker, zorder=3)
        ax.plot(eps, values, marker, color=colour, markersize=2, alpha=0.5, markeredgewidth=0)
        if field in GUIDES:
            _guide(ax, eps, np.median(values, axis=1), GUIDES[field])
    ax.set_xlabel(r"size $\epsilon$ of the start")
    ax.legend(loc="lower right")


def _guide(ax: Axes, eps: Float[np.ndarray, "eps"], values: Float[np.ndarray, "eps"], power: int) -> None:
    """A dashed line of that power above the curve, which it is parallel to."""
    ends = np.array([eps.min(), eps.max()])
    line = 3 * values[np.argmin(eps)] * (ends / ends[0]) ** power
    ax.plot(ends, line, color="0.35", linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
    middle = np.sqrt(ends.prod()), np.sqrt(line.prod())
    name = r"$\epsilon$" if power == 1 else rf"$\epsilon^{power}$"
    ax.annotate(name, middle, xytext=(-4, 3), textcoords="offset points", ha="right", color="0.35")


def _approach(ax: Axes, metrics: Any) -> None:
    steps = metrics["step"].values
    ax.set_yscale("log")
    for i in range(metrics.sizes["eps"]):
        shade = 0.3 + 0.7 * i / max(1, metrics.sizes["eps"] - 1)
        values = metrics["gram_error"].isel(eps=i).transpose("seed", "record").values
        ax.plot(steps, np.median(values, axis=0), color=RED, alpha=shade, linewidth=1.0)
    largest, smallest = float(metrics["eps"].max()), float(metrics["eps"].min())
    ax.set_xlabel("steps")
    ax.set_xlim(0, _settled(metrics))
    for size, where in ((largest, 0), (smallest, -1)):
        end = float(metrics["gram_error"].isel(eps=where, record=-1).median())
        ax.annotate(
            rf"$\epsilon={_power_of_ten(size)}$", (1, end), xycoords=("axes fraction", "data"),
            xytext=(-3, 3), textcoords="offset points", ha="right", fontsize="small", color=GREY,
        )  # fmt: skip


def _settled(metrics: Any) -> float:
    """The step at which the last median error has come within 10% of where it ends, and a third more."""
    values = metrics["gram_error"].median("seed").transpose("eps", "record").values
    near = (np.abs(values / values[:, -1:] - 1) > 0.1).nonzero()[1]
    steps = metrics["step"].values
    return float(min(steps[-1], 4 / 3 * steps[min(near.max() + 1, len(steps) - 1)]))


def _power_of_ten(value: float) -> str:
    mantissa, power = f"{value:.0e}".split("e")
    return rf"10^{{{int(power)}}}" if mantissa == "1" else rf"{mantissa}\cdot 10^{{{int(power)}}}"
