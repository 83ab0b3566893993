"""Figures, drawn from records alone: any of them is redrawn without recomputing its run."""

from layerpeel.figures.acceleration import plot_acceleration
from layerpeel.figures.comparison import plot_comparison
from layerpeel.figures.deep_features import plot_deep_features
from layerpeel.figures.loglog_scale import register
from layerpeel.figures.loss_comparison import plot_loss_comparison
from layerpeel.figures.minority import plot_minority_collapse
from layerpeel.figures.panels import plot_collapse, plot_margin, plot_training, terminal_phase
from layerpeel.figures.papyan2020 import plot_papyan2020
from layerpeel.figures.saddles import plot_regularised_features
from layerpeel.figures.sphere_codes import plot_sphere_codes
from layerpeel.figures.strong_collapse import plot_strong_collapse
from layerpeel.figures.style import save, style

__all__ = [
    "plot_acceleration",
    "plot_collapse",
    "plot_comparison",
    "plot_deep_features",
    "plot_loss_comparison",
    "plot_margin",
    "plot_minority_collapse",
    "plot_papyan2020",
    "plot_regularised_features",
    "plot_sphere_codes",
    "plot_strong_collapse",
    "plot_training",
    "register",
    "save",
    "style",
    "terminal_phase",
]
