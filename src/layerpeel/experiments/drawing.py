"""Drawing: the figures of a kept run, from its record alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from layerpeel.records.store import Record

__all__ = ["draw"]

Figures = dict[str, Any]
"""Name of a file -> its figure."""


def draw(record: Record, folder: Path) -> list[Path]:
    """Draw every figure of ``record`` into ``folder`` as PNG and PDF; the PNG paths.

    Raises:
        ValueError: for a record that no figure fits.
    """
    from layerpeel.figures import save

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, figure in _figures(record).items():
        drawn.append(save(figure, folder / f"{name}.png"))
        save(figure, folder / f"{name}.pdf")
    return drawn


def _figures(record: Record) -> Figures:
    metrics = record.metrics
    own = OF_EXPERIMENT.get(str(record.config.get("experiment", "")))
    if own is not None:
        return own(metrics)
    if "dynamics" in metrics.dims:
        return _descent_and_flow(metrics)
    if "record" in metrics.dims:
        return _in_time(metrics) | _by_preset(record)
    if "source" in metrics.dims:
        return _by_source(metrics)
    raise ValueError(f"need records in time or by source to draw, got dimensions {', '.join(map(str, metrics.dims))}")


def _acceleration(metrics: Any) -> Figures:
    from layerpeel.figures import plot_acceleration

    return {"acceleration": plot_acceleration(metrics)[0]}


def _minority_collapse(metrics: Any) -> Figures:
    from layerpeel.figures import plot_minority_collapse

    return {"minority-collapse": plot_minority_collapse(metrics)[0]}


def _regularised_features(metrics: Any) -> Figures:
    from layerpeel.figures import plot_regularised_features

    return {"regularised-features": plot_regularised_features(metrics)[0]}


def _squared_loss(metrics: Any) -> Figures:
    from layerpeel.figures import plot_strong_collapse

    return {"squared-loss": plot_strong_collapse(metrics)[0]}


def _sphere_codes(metrics: Any) -> Figures:
    from layerpeel.figures import plot_sphere_codes

    return {"sphere-codes": plot_sphere_codes(metrics)[0]}


def _loss_comparison(metrics: Any) -> Figures:
    from layerpeel.figures import plot_loss_comparison

    return {"loss-comparison": plot_loss_comparison(metrics)[0]}


def _deep_features(metrics: Any) -> Figures:
    from layerpeel.figures import plot_deep_features

    return {"deep-features": plot_deep_features(metrics)[0]}


OF_EXPERIMENT: dict[str, Callable[[Any], Figures]] = {
    "acceleration": _acceleration,
    "minority-collapse": _minority_collapse,
    "regularised-features": _regularised_features,
    "squared-loss": _squared_loss,
    "sphere-codes": _sphere_codes,
    "loss-comparison": _loss_comparison,
    "deep-features": _deep_features,
}
"""Experiments whose records have figures of their own."""


def _in_time(metrics: Any) -> Figures:
    from layerpeel.figures import plot_collapse, plot_margin, plot_training

    fit = _fit(metrics)
    figures = {"collapse": plot_collapse(metrics, **fit)[0]}
    if {"log_loss", "margin_ratio", "beta"} & set(metrics):
        figures["margin"] = plot_margin(metrics, **fit)[0]
    if "train_accuracy" in metrics:
        figures["training"] = plot_training(metrics)[0]
    return figures


def _by_preset(record: Record) -> Figures:
    """The figures that the paper of the record's convention draws of a network, where they are its own."""
    from layerpeel.figures import plot_papyan2020

    if record.config.get("preset") != "papyan2020" or "train_accuracy" not in record.metrics:
        return {}
    return {"papyan2020": plot_papyan2020(record.metrics)[0]}


def _by_source(metrics: Any) -> Figures:
    from layerpeel.figures import plot_comparison

    return {"comparison": plot_comparison(metrics)[0]}


def _descent_and_flow(metrics: Any) -> Figures:
    """The flow, with the descent from the same starts beside it; a run without its flow is drawn alone."""
    from layerpeel.figures import plot_collapse, plot_margin

    parts = [metrics.sel(dynamics=name) for name in metrics["dynamics"].values]
    descent, *flow = [part.isel(record=part["log_time"].notnull().values) for part in parts]
    main = flow[0] if flow else descent
    drawn = {"beside": descent if flow else None, **_fit(main)}
    return {"collapse": plot_collapse(main, **drawn)[0], "margin": plot_margin(main, **drawn)[0]}


def _fit(metrics: Any) -> dict[str, Any]:
    """Fitted exponents and their window, or nothing for a run too short to have any.

    Of a network, the window is its terminal phase: before it there is no power of log t to expect.
    """
    from layerpeel.collapse.rates import rates
    from layerpeel.figures import terminal_phase

    window = None
    if "train_accuracy" in metrics:
        begins = terminal_phase(metrics)
        if begins is None:
            return {}
        window = (begins, float(metrics["log_time"].values[-1]))
    try:
        fitted = rates(metrics, window=window)
    except ValueError:
        return {}
    return {"rates": fitted.pairs(), "window": fitted.window}
