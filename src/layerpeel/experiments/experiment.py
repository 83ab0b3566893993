"""Experiment: a named run whose fields are its settings, its recipe file and its --set options."""

import abc
import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import numpy as np
    import xarray

__all__ = ["Experiment", "Finding", "parse_setting"]


@dataclass(frozen=True, eq=False)
class Finding:
    """What an experiment found.

    Attributes:
        metrics: the measured fields.
        arrays: the last state, or whatever arrays are worth keeping.
        summary: seeds, outcome, timings: plain values for the summary of the record.
        text: what a reader wants to see on the screen.
        files: other files to keep beside the record, name -> content.
    """

    metrics: "xarray.Dataset"
    arrays: Mapping[str, "np.ndarray"]
    summary: Mapping[str, Any]
    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)


class Experiment(abc.ABC):
    """A frozen dataclass of settings, each with a default of its type, that can be run."""

    name: ClassVar[str]
    parallel: ClassVar[bool] = False
    """Whether several processes can run it together, under torchrun."""

    @abc.abstractmethod
    def run(self, checkpoint: Path, *, progress: bool) -> Finding:
        """Run, or go on from ``checkpoint`` if it exists; the finding."""

    @classmethod
    def with_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The experiment with these settings and the defaults for the others.

        Raises:
            ValueError: for a setting that does not exist or has the wrong type.
        """
        defaults = {f.name: f.default for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        for name in settings:
            if name not in defaults:
                raise ValueError(f"need a setting of {cls.name} ({', '.join(defaults)}), got {name!r}")
        return cls(**{name: _like(name, value, defaults[name]) for name, value in settings.items()})

    def settings(self) -> dict[str, Any]:
        """Every setting, in types that TOML has."""
        fields = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def parse_setting(text: str) -> tuple[str, Any]:
    """``"K=8"`` -> ("K", 8): the value as TOML reads it, or as a string.

    Raises:
        ValueError: without an equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"need a setting as NAME=VALUE, got {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _like(name: str, value: Any, default: Any) -> Any:
    """``value`` in the type of ``default``: whole numbers are welcome as floats, numbers as text, lists for n."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, str) and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if name == "n" and isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    if type(value) is not type(default):
        raise ValueError(f"need {name} to be of type {type(default).__name__} like {default!r}, got {value!r}")
    return value
