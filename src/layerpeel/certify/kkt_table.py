"""A KKT certificate as a table for people: what each number is, and what it proves."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from layerpeel.certify.kkt import Kkt

__all__ = ["kkt_table", "kkt_text"]

NO_SMOOTHED_MARGIN = "undefined: needs the summed cross-entropy L < log 2, the premise of Theorem 3.1"


def kkt_text(certificate: "Kkt") -> str:
    """The table as plain text, or the sentence that there is no certificate."""
    console = Console(file=io.StringIO(), width=110, color_system=None)
    with console.capture() as capture:
        console.print(kkt_table(certificate), highlight=False, soft_wrap=not certificate.feasible.any())
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def kkt_table(certificate: "Kkt") -> Table | str:
    """One line a number, medians and ranges if there are seeds; just the reason if no state has a certificate."""
    certified = np.asarray(certificate.feasible)
    if not certified.any():
        return certificate.reason
    table = Table(
        title=f"approximate KKT point of problem (5), {certificate.chosen} multipliers",
        caption=certificate.reason or None,
    )
    table.add_column("quantity", no_wrap=True)
    table.add_column("value" if certified.ndim == 0 else f"median of {certified.sum()} [range]", justify="right")
    table.add_column("what it is")
    for name, value, meaning in _lines(certificate):
        table.add_row(name, _shown(np.asarray(value)[certified]), meaning)
    return table


def _lines(c: "Kkt") -> Iterator[tuple[str, Any, str]]:
    yield "q_min", c.q_min, "the least margin: theta~ = theta/sqrt(q_min) is feasible"
    yield "gamma", c.gamma, "q_min/rho^2; problem (5) has the value 1/(2 gamma) at theta~"
    smoothed = "-log(e^L - 1)/rho^2, never decreases along the flow"
    yield "smoothed_gamma", c.smoothed_gamma, smoothed if np.isfinite(c.smoothed_gamma).any() else NO_SMOOTHED_MARGIN
    yield "1 - beta", c.beta_gap, "beta = cosine of theta and -grad L"
    yield "epsilon", c.epsilon, "|theta~ - sum lambda grad margin|: stationarity"
    of_softmax = c.chosen == "softmax"
    if of_softmax and np.isfinite(c.epsilon_bound).any():
        yield "  at most", c.epsilon_bound, "sqrt(2 (1 - beta)/smoothed_gamma)"
    yield "delta", c.delta, "sum lambda (margin - 1): complementary slackness"
    if of_softmax:
        yield "  at most", c.delta_bound, "by Lambert's function, from q_min, K and N"
        yield "  as printed", c.printed_delta, _verdict(c)
    yield "gap", c.gap, "epsilon^2/2 + delta: the most that 1/(2 gamma) falls with (5) linearised"


def _verdict(c: "Kkt") -> str:
    exceeded = int((c.delta > c.printed_delta).sum())
    if exceeded == 0:
        return "K/(2 gamma q_min), no bound in general"
    return "K/(2 gamma q_min), which fails here" + ("" if c.delta.ndim == 0 else f" for {exceeded} seeds")


def _shown(values: Any) -> str:
    """One number; the median and the range of several."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return "-"
    if values.size == 1:
        return f"{known[0]:.6g}"
    return f"{np.median(known):.4g} [{known.min():.4g}, {known.max():.4g}]"
