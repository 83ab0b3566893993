"""Settings that list numbers, as text with commas between them."""

from typing import Any

__all__ = ["number_list"]


def number_list(name: str, text: str, kind: type) -> list[Any]:
    """The numbers of the setting ``name``: ``"4,10"`` -> [4, 10].

    Raises:
        ValueError: for something that is no ``kind``, for nothing, or for a number that is there twice.
    """
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"need {name} to be numbers with commas between them, got {text!r}") from None
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"need {name} to be different numbers, got {text!r}")
    return numbers
