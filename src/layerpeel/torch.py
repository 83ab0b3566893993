"""For PyTorch users: ``from layerpeel.torch import NeuralCollapse, FeatureTap, CollapseCallback, ETFClassifier``.

Each name loads its part, and the framework that the part speaks to, when it is first used.
"""

import importlib
from typing import Any

from layerpeel.rings import explain_missing

HOMES = {
    "CollapseCallback": "callbacks.lightning_callback",
    "CollapseMonitor": "callbacks.monitor",
    "CollapseTrainerCallback": "callbacks.transformers_callback",
    "ETFClassifier": "models.etf_classifier",
    "FeatureBatches": "measuring.feature_batches",
    "FeatureTap": "measuring.tap",
    "NeuralCollapse": "measuring.neural_collapse",
    "ProcessPool": "measuring.process_pool",
    "build_model": "models.build",
    "find_head": "measuring.head",
    "measure_model": "measuring.measure_model",
    "nci": "measuring.ood",
    "neco": "measuring.ood",
}
"""Public name -> its module in ``layerpeel.networks``."""

__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'layerpeel.torch' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"layerpeel.networks.{HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise explain_missing(error) from None


def __dir__() -> list[str]:
    return __all__
