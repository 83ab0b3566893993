"""Processes that measure together, each with its share of the samples.

Every process calls the same functions of a pool in the same order. What crosses between them is what a part returns:
moments and sums (K x d), never a sample.

Invariant: a ValueError in one process is raised in all of them, with its rank; nobody is left waiting.
"""

import abc
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["ALONE", "Alone", "Pool"]

Part = TypeVar("Part")


class Pool(abc.ABC):
    """A group of processes."""

    @property
    @abc.abstractmethod
    def rank(self) -> int:
        """The number of this process, 0 .. size - 1."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many processes there are."""

    @abc.abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their ranks, in every one of them."""

    def __call__(self, part: Callable[[], Part]) -> list[Part]:
        """What ``part()`` returns in each process.

        Raises:
            ValueError: where it raised one, in every process.
        """
        if self.size == 1:
            return [part()]
        value, sentence = _attempt(part)
        parts = self.gather((value, sentence))
        _check([sentence for _, sentence in parts])
        return [value for value, _ in parts]

    def checked(self, part: Callable[[], Part]) -> Part:
        """What ``part()`` returns in this process, once it has raised nothing in any; its value stays here.

        Raises:
            ValueError: where it raised one, in every process.
        """
        if self.size == 1:
            return part()
        value, sentence = _attempt(part)
        _check(self.gather(sentence))
        return value


class Alone(Pool):
    """A single process."""

    @property
    def rank(self) -> int:
        """Zero."""
        return 0

    @property
    def size(self) -> int:
        """One."""
        return 1

    def gather(self, value: Any) -> list[Any]:
        """The value itself."""
        return [value]


ALONE = Alone()


def _attempt(part: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return part(), None
    except ValueError as error:
        return None, str(error)


def _check(sentences: list[str | None]) -> None:
    for rank, sentence in enumerate(sentences):
        if sentence is not None:
            raise ValueError(f"rank {rank}: {sentence}")
