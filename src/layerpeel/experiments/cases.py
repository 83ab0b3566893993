"""Cases: the independent parts of an experiment, solved one after another, of which an interrupt loses no finished one.

An answer is named arrays and how its run ended. After every case the checkpoint holds all answers so far; a run that
was interrupted or killed goes on behind them, and a case that was under way begins again. What an experiment reports is
a function of the answers alone, so that it is bit for bit the same however often the run was resumed.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from layerpeel.outcome import Outcome
from layerpeel.progress import progress_bar

__all__ = ["Answer", "Numbers", "Solved", "solve_cases"]

Case = TypeVar("Case", bound=Hashable)
Numbers = Mapping[str, np.ndarray]
"""Name -> array."""


class Answer(NamedTuple):
    """What was found of one case, in anything that numpy takes for arrays of numbers, and how its run ended."""

    numbers: Mapping[str, Any]
    outcome: Outcome = Outcome.COMPLETED


@dataclass(frozen=True, eq=False)
class Solved(Generic[Case]):
    """The finished cases.

    Attributes:
        numbers: case -> what was found of it, in the order of the cases.
        outcome: the worst of their ends; INTERRUPTED where a case is missing.
        seconds: wall time that they took, over all resumptions.
    """

    numbers: dict[Case, Numbers]
    outcome: Outcome
    seconds: float

    @property
    def ending(self) -> dict[str, Any]:
        """Outcome and time, as the summary of a record has them."""
        return {
            "outcome": {"name": self.outcome.name, "sentence": self.outcome.value},
            "wall_seconds": round(self.seconds, 3),
        }


def solve_cases(
    cases: Sequence[Case], solve: Callable[[Case], Answer], checkpoint: Path, *, unit: str = "cases", progress: bool
) -> Solved[Case]:
    """Solve ``cases``, or those that ``checkpoint`` does not hold; an interrupt ends it with what is finished.

    Raises:
        ValueError: for a checkpoint that is damaged or of other cases.
        KeyboardInterrupt: before anything is finished.
    """
    held = _Held.at(checkpoint, cases)
    try:
        with progress_bar(len(cases), unit, shown=progress) as show:
            show(len(held.answers))
            for case in cases[len(held.answers) :]:
                began = time.perf_counter()
                answer = solve(case)
                if answer.outcome is Outcome.INTERRUPTED:
                    raise KeyboardInterrupt
                held = held.with_answer(answer, time.perf_counter() - began)
                held.write(checkpoint, cases)
                show(len(held.answers))
    except KeyboardInterrupt:
        if not held.answers:
            raise
    whole = len(held.answers) == len(cases)
    return Solved(
        {case: answer.numbers for case, answer in zip(cases, held.answers, strict=False)},
        Outcome.worst(answer.outcome for answer in held.answers) if whole else Outcome.INTERRUPTED,
        held.seconds,
    )


@dataclass(frozen=True, eq=False)
class _Held:
    """The answers to the first cases, and the time that they took."""

    answers: tuple[Answer, ...] = ()
    seconds: float = 0.0

    @classmethod
    def at(cls, path: Path, cases: Sequence[Any]) -> "_Held":
        from layerpeel.dynamics.checkpoint import read_checkpoint

        if not path.exists():
            return cls()
        held = read_checkpoint(path)
        if not np.array_equal(held.signature, _text(repr(list(cases)))):
            raise ValueError(f"need {path} to be a checkpoint of this very run, got one of other cases")
        ends = [Outcome[end.tobytes().decode()] for end in held.leaves]
        return cls(tuple(Answer(_part(held.records, i), end) for i, end in enumerate(ends)), held.seconds)

    def with_answer(self, answer: Answer, seconds: float) -> "_Held":
        numbers = {name: np.asarray(values) for name, values in answer.numbers.items()}
        return _Held((*self.answers, Answer(numbers, answer.outcome)), self.seconds + seconds)

    def write(self, path: Path, cases: Sequence[Any]) -> None:
        from layerpeel.dynamics.checkpoint import Checkpoint, write_checkpoint

        records = {f"{i}/{name}": x for i, answer in enumerate(self.answers) for name, x in answer.numbers.items()}
        ends = [_text(answer.outcome.name) for answer in self.answers]
        write_checkpoint(path, Checkpoint(len(ends), self.seconds, ends, records, _text(repr(list(cases)))))


def _part(records: Mapping[str, np.ndarray], i: int) -> Numbers:
    return {name.removeprefix(f"{i}/"): x for name, x in records.items() if name.startswith(f"{i}/")}


def _text(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)
