"""Who measures how: the choices in which the definitions of collapse in the literature differ.

A convention fixes, for every metric of the report at once:

- ``centre``: a_k = mu_k - m, m the mean of the class means (m_C) or of the samples (m_S); equal when
  balanced.
- ``ddof``: of the standard deviation over classes in the norm variations (0, or 1 as torch.std does).
- ``over_K``: whether tr(Sigma_W Sigma_B^+) is divided by the number of classes.
- ``centre_classifier``: whether the geometry is that of wbar_k = w_k - mean_j w_j, or of w_k itself.
- ``squared``: whether the self-dual distance ||fro(W) - fro(A')||_F is squared.
- ``exponent``: of ||mu_j - mu_k|| in CDNV.

A preset holds what its paper (or its code, where the two differ) does; for what the paper does not
measure it keeps the default, ``ji2022``. Decisions (NC4, margin, bias collapse) depend on none of this.
"""

from dataclasses import dataclass, fields

__all__ = ["PRESETS", "Convention", "convention_rows", "preset"]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to measure; the defaults are those of the seed paper."""

    name: str
    source: str = "your own"
    centre: str = "classes"
    ddof: int = 0
    over_K: bool = True
    centre_classifier: bool = True
    squared: bool = False
    exponent: int = 2

    def __post_init__(self) -> None:
        if self.centre not in ("classes", "samples"):
            raise ValueError(f"need centre 'classes' or 'samples', got {self.centre!r}")
        if self.ddof not in (0, 1) or self.exponent not in (2, 4):
            raise ValueError(f"need ddof 0 or 1 and exponent 2 or 4, got {self.ddof} and {self.exponent}")


_CONVENTIONS = (
    Convention(name="ji2022", source="Ji, Lu, Zhang, Deng, Su: the four panels of Fig. 2"),
    Convention(
        name="papyan2020",
        source="Papyan, Han, Donoho, as their notebook computes it (their text divides NC1 by K)",
        ddof=1,
        over_K=False,
        centre_classifier=False,
        squared=True,
    ),
    Convention(
        name="zhu2021",
        source="Zhu, Ding, Zhou, Li, You, Sulam, Qu",
        centre="samples",
        centre_classifier=False,
    ),
    Convention(
        name="zhou2022",
        source="Zhou, You, Li, Liu, Liu, Qu, Zhu: as zhu2021, with W row-centred",
        centre="samples",
    ),
    Convention(name="galanti2022", source="Galanti, György, Hutter: CDNV (the rest as ji2022)"),
    Convention(
        name="wu2024",
        source="Wu, Papyan: CDNV with the fourth power, W as it is",
        centre_classifier=False,
        exponent=4,
    ),
)

PRESETS: dict[str, Convention] = {convention.name: convention for convention in _CONVENTIONS}
"""Name -> convention, the default first."""


def preset(name: "str | Convention") -> Convention:
    """The convention of that name; one of the user's own is handed back.

    Raises:
        ValueError: for an unknown name; the sentence lists the known ones.
    """
    if isinstance(name, Convention):
        return name
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"need a preset out of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def convention_rows() -> list[dict[str, str]]:
    """The presets as rows of a table: column name -> cell, in the order of the fields."""
    return [
        {field.name: _cell(getattr(convention, field.name)) for field in fields(Convention)}
        for convention in PRESETS.values()
    ]


def _cell(value: str | bool | int) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
