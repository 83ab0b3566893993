"""7. Named runs: each a frozen dataclass of settings that can be run into a folder and drawn from it."""

from layerpeel.experiments.acceleration import Acceleration
from layerpeel.experiments.conduct import Conducted, conduct
from layerpeel.experiments.deep_features import DeepFeatures
from layerpeel.experiments.drawing import draw
from layerpeel.experiments.experiment import Experiment, Finding, parse_setting
from layerpeel.experiments.images import Images
from layerpeel.experiments.loss_comparison import LossComparison
from layerpeel.experiments.minority_collapse import MinorityCollapse
from layerpeel.experiments.network import Network
from layerpeel.experiments.recipe import EXPERIMENTS, read_recipe
from layerpeel.experiments.regularised_features import RegularisedFeatures
from layerpeel.experiments.sphere_codes import SphereCodes
from layerpeel.experiments.squared_loss import SquaredLoss
from layerpeel.experiments.systems import system_rows
from layerpeel.experiments.ulpm_dynamics import UlpmDynamics

__all__ = [
    "EXPERIMENTS",
    "Acceleration",
    "Conducted",
    "DeepFeatures",
    "Experiment",
    "Finding",
    "Images",
    "LossComparison",
    "MinorityCollapse",
    "Network",
    "RegularisedFeatures",
    "SphereCodes",
    "SquaredLoss",
    "UlpmDynamics",
    "conduct",
    "draw",
    "parse_setting",
    "read_recipe",
    "system_rows",
]
