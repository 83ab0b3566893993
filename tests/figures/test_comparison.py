"""The comparison has a dot where a source has a positive value, and none elsewhere."""

import numpy as np
import pytest
import xarray

from layerpeel.figures import plot_comparison, save


def reports(**fields):
    return xarray.Dataset({k: ("source", v) for k, v in fields.items()}, coords={"source": ["pixels", "features"]})


def test_every_positive_value_has_its_dot(tmp_path):
    figure, axes = plot_comparison(reports(nc1=[2.0, 0.1], cdnv=[1.0, np.nan], nc3=[np.nan, 0.0], margin=[1.0, 2.0]))
    dots = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in axes.lines}
    assert dots == {"pixels": ([2.0, 1.0], [0, 1]), "features": ([0.1], [0])}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["nc1", "cdnv", "nc3"]
    assert save(figure, tmp_path / "comparison.png").stat().st_size > 1000


def test_what_it_cannot_draw_is_one_sentence():
    with pytest.raises(ValueError, match="need metrics with the coordinate source, got Dataset"):
        plot_comparison(xarray.Dataset({"nc1": 1.0}))
    many = xarray.Dataset({"nc1": ("source", np.ones(6))}, coords={"source": list("abcdef")})
    with pytest.raises(ValueError, match="need at most 5 sources in one figure, got 6"):
        plot_comparison(many)
