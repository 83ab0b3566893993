"""3. What is true at a point: its margin against the most that its norm allows."""

from layerpeel.certify.margin import Margin, margin

__all__ = ["Margin", "margin"]
