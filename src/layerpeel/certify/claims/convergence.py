"""Theorem 3.1, Lemma 3.3: once L < log 2 the flow tends to KKT directions of (5), beta to 1 and q_min to infinity.

Limits are looked at along flows to log t = 2e4: how near they are, and that they only come nearer.
"""

import numpy as np
import optax
from jaxtyping import Bool, Float

from layerpeel.certify.claims.claim import Evidence, Statement, Verdict, trial
from layerpeel.certify.claims.example_3_1 import PROBLEM, at
from layerpeel.certify.claims.finished import finished
from layerpeel.certify.claims.long_flow import long_flow
from layerpeel.certify.claims.points import each_point, separated
from layerpeel.certify.kkt import kkt
from layerpeel.certify.margin import margin
from layerpeel.dynamics import descend, flow
from layerpeel.frames import simplex_etf
from layerpeel.problem import State, ulpm

__all__ = ["STATEMENTS"]

LATE = 20.0
"""log t from which on monotone quantities are looked at."""


def _directions() -> tuple[Evidence, ...]:
    metrics = long_flow().metrics
    gamma, smoothed = metrics["gamma"].values, metrics["smoothed_gamma"].values
    epsilon = metrics["kkt_epsilon"].values * np.sqrt(np.maximum(gamma, 0.0))  # relative to |θ~| = gamma^{-1/2}
    delta = metrics["kkt_delta"].values * gamma
    return (
        trial(
            "ε / |θ~| and δ / |θ~|² at log t = 2e4",
            [
                (max(e, d), f"seed {i}: ε/|θ~| = {e:.2e}, δ/|θ~|² = {d:.2e}")
                for i, (e, d) in enumerate(zip(epsilon[:, -1], delta[:, -1], strict=True))
            ],
            tolerance=1e-2,
        ),
        _falls("ε / |θ~| from record to record, less 1: it only falls", epsilon),
        _falls("γ~ from record to record: its fall, relative, once L < log 2", 1 / smoothed, since=0.0),
        trial(
            "the ray of Example 3.1: margin ratio 3/4 and a KKT point in the limit, not optimal",
            [_spurious()],
            tolerance=1e-6,
        ),
        trial("-log(e^L - 1) - q_min where the summed L < log 2", _separation(), tolerance=1e-12),
        trial(
            "log 2 less the MEAN loss at points that are never separated",
            [_never_separated()],
            tolerance=1e-6,
            erratum="E11",
        ),
    )


def _falls(form: str, values: Float[np.ndarray, "seed record"], *, since: float = LATE) -> Evidence:
    """The largest relative rise of ``values`` between records after log t = ``since``, from their first number on.

    A nan before that has nothing to rise from; a nan after it is a finding.
    """
    log_time = long_flow().metrics["log_time"].values
    return trial(form, [_rise(i, row, log_time > since, log_time) for i, row in enumerate(values)], tolerance=1e-9)


def _rise(
    seed: int, row: Float[np.ndarray, "record"], late: Bool[np.ndarray, "record"], log_time: Float[np.ndarray, "record"]
) -> tuple[float, str]:
    begun = np.logical_or.accumulate(~np.isnan(row))
    judged = 1 + np.flatnonzero(late[1:] & begun[:-1])
    if not judged.size:
        return np.nan, f"seed {seed}, which has no number"
    rises = row[judged] / row[judged - 1] - 1
    worst = int(np.argmax(rises))  # that of a nan if there is one
    return float(rises[worst]), f"seed {seed}, to log t = {log_time[judged[worst]]:.4g}"


def _spurious() -> tuple[float, str]:
    end = finished(flow(PROBLEM, at(0.6), log_time=2000.0)).state
    found, ratio = kkt(PROBLEM, end), float(margin(PROBLEM, end).ratio)
    error = max(abs(ratio - 0.75), float(found.epsilon * found.gamma**0.5), float(found.delta * found.gamma))
    return error, f"log t = 2000: margin ratio {ratio:.9f}, δ/|θ~|² = {float(found.delta * found.gamma):.1e}"


def _separation() -> list[tuple[float, str]]:
    """-log(e^L - 1) <= q_min: positive once the sum over samples is below log 2."""
    points = [(float(p.objective(s)), float(margin(p, s).q_min), where) for p, s, where in each_point(separated)]
    return [(-np.log(np.expm1(loss)) - q if loss < np.log(2) else np.nan, where) for loss, q, where in points]


def _tied() -> tuple[Float[np.ndarray, "record"], Float[np.ndarray, "record"], str]:
    """q_min and the MEAN loss of a descent on which two classes share classifier and feature, as they do ever after."""
    frame = 1.5 * simplex_etf(3, 4)[:, [0, 0, 1, 2]]
    run = finished(descend(ulpm(4, 1, 4), State(frame.T, frame), optax.sgd(1.0), 5000))
    q, loss = run.metrics["margin"].values[0], run.metrics["loss"].values[0]
    words = f"mean L {loss[0]:.3f} to {loss[-1]:.3f} in 5,000 steps, q_min {np.abs(q).max():.1g}"
    return q, loss, f"K=4, n=1, two classes tied: {words}"


def _never_separated() -> tuple[float, str]:
    q, loss, words = _tied()
    return float(np.log(2) - loss.max()) if np.abs(q).max() < 1e-9 else np.nan, words


def _never_far() -> tuple[float, str]:
    q, loss, words = _tied()
    return float(1 / (1 + q[-1])) if loss.max() < np.log(2) else np.nan, words


def _limits() -> tuple[Evidence, ...]:
    metrics = long_flow().metrics
    gap, q, log_time = (metrics[name].values for name in ("beta_gap", "margin", "log_time"))
    return (
        trial("1 - β at log t = 2e4", [(value, f"seed {i}") for i, value in enumerate(gap[:, -1])], tolerance=1e-4),
        _falls("1 - β from record to record, less 1: it only falls", gap),
        _falls("1/q_min from record to record, less 1: it only falls", 1 / q),
        trial(
            "1/(1 + q_min) at log t = 2e4",
            [
                (1 / (1 + value), f"seed {i}: q_min = {value:.6g} at log t = {log_time[-1]:g}")
                for i, value in enumerate(q[:, -1])
            ],
            tolerance=1e-3,
        ),
        trial("1/(1 + q_min) after a descent with MEAN loss < log 2", [_never_far()], tolerance=1e-3, erratum="E11"),
    )


FOLLOWED = "as t -> ∞ once summed L < log 2; seen on 16 flows to log t = 2e4"

STATEMENTS = (
    Statement(
        id="theorem-3.1",
        place="Theorem 3.1",
        text="Once L < log 2, every limit point of θ/|θ| along the flow is the direction of a KKT point of (5).",
        quantifier=FOLLOWED,
        errata=("E11",),
        functions=("flow", "kkt"),
        test="tests/theory/test_theorem_3_1.py",
        expected=Verdict.CORRECTED,
        check=_directions,
        remark="Which KKT direction it is stays open: the ray of Example 3.1 ends at one that is not optimal. "
        "The paper divides by spectral norms (E13): that changes the length of the normalised path, not its direction.",
    ),
    Statement(
        id="lemma-3.3",
        place="Lemma 3.3",
        text="Once L < log 2, β -> 1 and q_min -> ∞ along the flow, and so ε, δ -> 0.",
        quantifier=FOLLOWED,
        equations=(6,),
        errata=("E11",),
        functions=("flow", "kkt"),
        test="tests/theory/test_theorem_3_1.py",
        expected=Verdict.CORRECTED,
        check=_limits,
        remark="The printed argument gives a subsequence; that the whole path converges is Ji and Telgarsky 2020.",
    ),
)
