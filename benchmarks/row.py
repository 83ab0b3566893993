"""One line of the table: a number, what it is compared with, and the target it has to reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Row", "Target"]


@dataclass(frozen=True)
class Target:
    """A bound on a number, with its unit ("x" for ratios)."""

    bound: float
    unit: str
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Whether ``value`` is on the wanted side of the bound (never for nan)."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {quantity(self.bound, self.unit)}"


@dataclass(frozen=True)
class Row:
    """What was measured: ``value`` in ``unit``, beside how ``ours`` and the ``peer`` did, and the ``target``.

    ``failure`` is empty unless a check of correctness failed; such a row never meets its target.
    """

    group: str
    what: str
    ours: str
    peer: str
    value: float
    unit: str
    target: Target | None = None
    note: str = ""
    failure: str = ""
    raw: Mapping[str, object] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.failure:
            return False
        return None if self.target is None else self.target.met_by(self.value)

    @property
    def measured(self) -> str:
        """The value with its unit, to three digits."""
        return quantity(self.value, self.unit)


def quantity(value: float, unit: str) -> str:
    """``value`` to three digits with ``unit``: "1.3x", "10 ms", "2.4e-08"."""
    return f"{value:.3g}{'' if unit in ('x', '') else ' '}{unit}"
