"""Recipes: an experiment with its settings, named on the command line or kept in a TOML file."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerpeel.experiments.acceleration import Acceleration
from layerpeel.experiments.deep_features import DeepFeatures
from layerpeel.experiments.experiment import Experiment
from layerpeel.experiments.images import Images
from layerpeel.experiments.loss_comparison import LossComparison
from layerpeel.experiments.minority_collapse import MinorityCollapse
from layerpeel.experiments.network import Network
from layerpeel.experiments.regularised_features import RegularisedFeatures
from layerpeel.experiments.sphere_codes import SphereCodes
from layerpeel.experiments.squared_loss import SquaredLoss
from layerpeel.experiments.ulpm_dynamics import UlpmDynamics

__all__ = ["EXPERIMENTS", "read_recipe"]

KINDS: tuple[type[Experiment], ...] = (
    UlpmDynamics,
    Images,
    Network,
    Acceleration,
    MinorityCollapse,
    RegularisedFeatures,
    SquaredLoss,
    SphereCodes,
    LossComparison,
    DeepFeatures,
)
EXPERIMENTS: dict[str, type[Experiment]] = {kind.name: kind for kind in KINDS}


def read_recipe(name: str, settings: Mapping[str, Any]) -> Experiment:
    """The experiment called ``name``, or kept in the file ``name`` (.toml), with ``settings`` on top.

    Raises:
        ValueError: for an unknown experiment, a file that is no recipe, or impossible settings.
        FileNotFoundError: for a file that is not there.
    """
    kept: dict[str, Any] = {}
    if name.endswith(".toml"):
        kept = _read_file(Path(name))
        name = str(kept.pop("experiment"))
    if name not in EXPERIMENTS:
        raise ValueError(f"need an experiment ({', '.join(EXPERIMENTS)}) or a recipe file (.toml), got {name!r}")
    return EXPERIMENTS[name].with_settings(kept | dict(settings))


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"need a recipe file, got {path}, which is not there")
    try:
        kept = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"need {path} to be TOML, got a file that is not: {error}") from None
    if "experiment" not in kept:
        raise ValueError(f'need a line experiment = "NAME" in {path}, got none')
    return kept
