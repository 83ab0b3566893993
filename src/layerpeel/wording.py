"""Numbers of things in words for the screen."""

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """``1 round``, ``2 rounds``."""
    return f"{number} {noun}{'s' * (number != 1)}"
