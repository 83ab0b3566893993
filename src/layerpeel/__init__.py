"""layerpeel: the laboratory for neural collapse.

Simulate, certify and measure: ``ulpm`` is the unconstrained layer-peeled model, ``descend`` moves a point of it and
``flow`` follows its gradient flow; ``margin``, ``kkt``, ``curvature`` and ``escape`` judge the point; ``claims`` puts
the paper to the test; ``measure`` gives the collapse metrics of any features, labels and classifier.
Importing the package loads nothing heavy: each name below loads its part when it is first used.
"""

import importlib
from typing import Any

from layerpeel.rings import explain_missing

__version__ = "0.1.0"

HOMES = {
    "problem": (
        "Constraint",
        "CrossEntropy",
        "ExponentialTailed",
        "Focal",
        "Hinge",
        "Loss",
        "NonNegative",
        "NormBalls",
        "Optimum",
        "OutputBall",
        "Problem",
        "Regulariser",
        "Ridge",
        "Spheres",
        "SquaredError",
        "State",
        "block_point",
        "deep_ufm",
        "lpm",
        "mse_ufm",
        "output_ball",
        "sphere",
        "ufm",
        "ulpm",
    ),
    "dynamics": (
        "GradientNoise",
        "Outcome",
        "Trajectory",
        "aligned_modes",
        "aligned_state",
        "central_path",
        "descend",
        "flow",
        "normalized",
        "on_log_loss",
    ),
    "certify": (
        "Claim",
        "Curvature",
        "Escape",
        "GlobalCertificate",
        "Kkt",
        "Margin",
        "Polished",
        "claims",
        "curvature",
        "escape",
        "global_certificate",
        "kkt",
        "margin",
        "polish",
    ),
    "collapse": ("ClassMoments", "CollapseReport", "Convention", "measure", "rates"),
    "records": ("Record", "read_record", "write_record"),
}
"""Subpackage -> the public names that live there."""

SUBPACKAGES = (*HOMES, "experiments", "figures", "frames", "networks", "separation")

_HOME = {name: home for home, names in HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME), *sorted(SUBPACKAGES)]


def __getattr__(name: str) -> Any:
    if name not in _HOME and name not in SUBPACKAGES:
        raise AttributeError(f"module 'layerpeel' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"layerpeel.{_HOME.get(name, name)}")
    except ModuleNotFoundError as error:
        raise explain_missing(error) from None
    return getattr(module, name) if name in _HOME else module


def __dir__() -> list[str]:
    return sorted(__all__)
