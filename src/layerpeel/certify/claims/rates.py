"""Section 4: the metrics of Figure 2 fall as powers of log t, with exponent -1, and -1/2 within classes.

W'W - HH' is conserved, so what collapse removes within classes is of the order of its square: hence the -1/2.
"""

import numpy as np

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.long_flow import long_flow
from layerpeel.collapse import rates

__all__ = ["STATEMENTS"]

WINDOW = (2e3, 2e4)
"""log t."""
EXPONENTS = {
    "mean_norm_variation": -1.0,
    "classifier_norm_variation": -1.0,
    "within_class_variation": -0.5,
    "mean_angle_gap": -1.0,
    "classifier_angle_gap": -1.0,
    "duality_gap": -1.0,
    "margin_gap": -1.0,
    "beta_gap": -1.0,
}
PANELS = tuple(EXPONENTS)[:6]
"""What Figure 2 draws."""


def _exponents() -> tuple[Evidence, ...]:
    found = rates(long_flow(), window=WINDOW)
    values = {field: found[field] for field in EXPONENTS}
    within, seeds = values["within_class_variation"], long_flow().metrics.sizes["seed"]
    return (
        trial(
            "exponent of log t, mean over the seeds, less -1 (within-class: -1/2)",
            [(abs(e.value - EXPONENTS[f]), f"{f}: {e.value:.4f} ± {e.stderr:.0e}") for f, e in values.items()],
            tolerance=0.01,
        ),
        trial("seeds without a slope", [(float(seeds - e.seeds), f) for f, e in values.items()], tolerance=0.5),
        trial(
            "|log of a metric| x log t, bounded as printed: its growth over the window, less 1",
            [_growth(field) for field in PANELS],
            tolerance=0.1,
            erratum="E18",
        ),
        trial(
            "a metric O(1/log t), the other reading: exponent of the within-class variation less -1",
            [(within.value + 1, f"within-class: {within.value:.4f} ± {within.stderr:.0e}")],
            tolerance=0.01,
            erratum="E18",
        ),
    )


def _growth(field: str) -> tuple[float, str]:
    metrics = long_flow().metrics
    log_time = metrics["log_time"].values
    first = int(np.searchsorted(log_time, WINDOW[0]))
    ends = [abs(float(np.log(metrics[field].values[:, i]).mean())) * log_time[i] for i in (first, -1)]
    return ends[1] / ends[
        0
    ] - 1, f"{field}: {ends[0]:.3g} at log t = {log_time[first]:.4g}, {ends[1]:.3g} at {log_time[-1]:g}"


STATEMENTS = (
    Statement(
        id="rates",
        place="Section 4",
        text="Norm variations, angle gaps, self-duality, 1 - γ/γ* and 1 - β fall like (log t)^-1, the within-class "
        "variation like (log t)^-1/2.",
        quantifier="as t -> ∞; fitted to 16 flows, 2e3 <= log t <= 2e4, K=5, n=10, d=20",
        errata=("E18",),
        functions=("flow", "rates"),
        test="tests/collapse/test_rates.py",
        expected=Verdict.CORRECTED,
        check=_exponents,
        remark="A fit over a decade of log t is no proof; at the paper's 10^5 steps (log t = 11.5) the slopes are not "
        "there yet.",
    ),
)
