"""3. What is true at a point: its margin, KKT certificate, curvature, escape or proof of optimality; and the claims."""

import importlib
from typing import Any

from layerpeel.certify.curvature import Curvature, curvature
from layerpeel.certify.duality import DualityGap, duality_gap
from layerpeel.certify.escape import Escape
from layerpeel.certify.escape_and_polish import escape, polish
from layerpeel.certify.global_certificate import GlobalCertificate, global_certificate
from layerpeel.certify.kkt import Kkt, kkt
from layerpeel.certify.lowest_curvature import lowest_curvature
from layerpeel.certify.margin import Margin, margin
from layerpeel.certify.one_vs_rest import OneVsRest, one_vs_rest_bound, one_vs_rest_margin, softmax_code
from layerpeel.certify.polish import Polished
from layerpeel.certify.ridge_escape import RidgeEscape
from layerpeel.certify.ridge_polish import RidgePolished

__all__ = [
    "Claim",
    "Curvature",
    "DualityGap",
    "Escape",
    "GlobalCertificate",
    "Kkt",
    "Margin",
    "OneVsRest",
    "Polished",
    "RidgeEscape",
    "RidgePolished",
    "claims",
    "curvature",
    "duality_gap",
    "escape",
    "global_certificate",
    "kkt",
    "lowest_curvature",
    "margin",
    "one_vs_rest_bound",
    "one_vs_rest_margin",
    "polish",
    "softmax_code",
]


def __getattr__(name: str) -> Any:
    """``claims`` and its ``Claim`` load when they are first used: they draw on all the rest, flows included."""
    if name not in ("Claim", "claims"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    claims = importlib.import_module(f"{__name__}.claims")
    return claims if name == "claims" else claims.Claim
