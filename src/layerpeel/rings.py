"""The optional rings around the light core, and the one sentence that a missing one gives.

``theory`` carries the surrogate models (jax), ``convex`` the programs of their optima (cvxpy), ``torch`` the tensors of
real networks, ``data`` the embedded digits and parquet files. Nothing here imports a heavy package until it is asked
for.
"""

import importlib
from types import ModuleType

__all__ = ["RINGS", "MissingRing", "explain_missing", "require"]

RINGS = {
    "jax": "theory",
    "optax": "theory",
    "sksundae": "theory",
    "joblib": "theory",
    "cvxpy": "convex",
    "torch": "torch",
    "sklearn": "data",
    "pyarrow": "data",
}
"""Import name of an optional package -> the extra that brings it."""

FRAMEWORKS = frozenset({"lightning", "transformers"})
"""Whose callbacks there are; whoever uses one has its framework, so that no extra brings it."""


class MissingRing(ImportError):
    """An optional package is not installed; the message is the command that installs it."""


def explain_missing(error: ModuleNotFoundError) -> ImportError:
    """The error to raise instead of ``error``: a :class:`MissingRing` when an optional package is missing."""
    module = (error.name or "").partition(".")[0]
    if module not in RINGS and module not in FRAMEWORKS:
        return error
    wanted = module if module in FRAMEWORKS else f"'layerpeel[{RINGS[module]}]'"
    return MissingRing(f"this needs the package {module}, which is not installed: pip install {wanted}", name=module)


def require(module: str) -> ModuleType:
    """Import the optional package ``module`` (or one of its submodules).

    Raises:
        MissingRing: when it is not installed, with the pip command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise explain_missing(error) from None
