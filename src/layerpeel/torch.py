"""For PyTorch users: ``from layerpeel.torch import NeuralCollapse, FeatureTap, CollapseCallback, ETFClassifier``.

Each name loads its part, and the framework that the part speaks to, when it is first used.
"""

import importlib
from typing import Any

from layerpeel.rings import explain_missing

HOMES = {
    "CollapseCallback": "lightning_callback",
    "CollapseMonitor": "monitor",
    "CollapseTrainerCallback": "transformers_callback",
    "ETFClassifier": "etf_classifier",
    "FeatureBatches": "walk",
    "FeatureTap": "tap",
    "NeuralCollapse": "metric",
    "ProcessPool": "pool",
    "build_model": "models",
    "find_head": "head",
    "measure_model": "measuring",
    "nci": "ood",
    "neco": "ood",
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
