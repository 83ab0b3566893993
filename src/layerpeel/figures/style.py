"""How layerpeel's figures look, and how they are saved.

Means are blue and classifiers red, as in Ji et al. 2022, Figure 2; sizes are those of a printed page, fonts come
with matplotlib, so that a figure is the same on every machine. matplotlib's global settings are left as they are.
"""

import io
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from layerpeel.files import write_atomic

__all__ = ["BLUE", "GREEN", "GREY", "OCHRE", "RED", "WIDTH", "save", "style", "typeset"]

BLUE, RED, GREY, GREEN, OCHRE = "#1f5fa8", "#c23b22", "#404040", "#2a7f62", "#b8770f"
"""Means; classifiers; both together and the loss; the margin; the alignment of state and gradient."""
WIDTH = 6.0
"""The width of a page of text, in inches."""
DPI = 200

SETTINGS: dict[Any, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.grid": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.frameon": True,
    "legend.fancybox": False,
    "legend.framealpha": 0.75,
    "legend.edgecolor": "none",
    "legend.handlelength": 1.4,
    "legend.borderaxespad": 0.3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
# What makes two files of the same figure the same bytes: no date, no random identifiers.
UNDATED = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
REPRODUCIBLE: dict[Any, Any] = {"svg.hashsalt": "layerpeel", "pdf.fonttype": 42}


def style() -> AbstractContextManager[None]:
    """The settings under which figures are made: ``with style(): ...``."""
    return matplotlib.rc_context(SETTINGS)


def typeset(title: str) -> str:
    """The title of a record, its symbols with an index (E_W, λ_H) set as such."""
    return re.sub(r"(?<!\w)(\w)_(\w)(?!\w)", r"$\1_\2$", title)


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG (200 dots an inch), PDF or SVG, as the ending of ``path`` says; same figure, same bytes.

    Raises:
        ValueError: another ending.
        OSError: as the operating system says it; an older file at ``path`` is then as it was.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in UNDATED:
        raise ValueError(f"need a path that ends in .png, .pdf or .svg, got {path}")
    buffer = io.BytesIO()
    with matplotlib.rc_context(SETTINGS | REPRODUCIBLE):
        figure.savefig(buffer, format=ending, dpi=DPI, metadata=UNDATED[ending])
    return write_atomic(path, buffer.getvalue())
