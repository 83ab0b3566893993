"""Every preset against the loops of the oracle, and the fixture of Papyan, Han, Donoho."""

import numpy as np
import pytest
from oracle import PAPERS, collapse

from layerpeel.collapse import PRESETS, Convention, convention_rows, measure, preset


def long_tailed(seed=0, K=5, d=7):
    """Classes of unequal size, features off the origin, a head that knows something."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), [17, 9, 5, 3, 2])
    mu = rng.normal(size=(K, d)) * 2
    H = mu[y] + rng.normal(size=(len(y), d)) + 3
    return H, y, mu + rng.normal(size=(K, d)), rng.normal(size=K)


@pytest.mark.parametrize("name", PRESETS)
def test_every_field_of_every_preset_is_that_of_the_loops(name):
    H, y, W, b = long_tailed()
    report = measure(H, y, classifier=W, bias=b, preset=name).asdict()
    for field, value in collapse(H, y, W, b, paper=name).items():
        assert report[field] == pytest.approx(value, rel=1e-11, abs=1e-13), field


def test_the_oracle_knows_the_same_papers():
    assert set(PAPERS) == set(PRESETS)


def fixture():
    """K = 4 unit ETF, samples m_k +- 0.1 u, u = (1, -1, 0, 0)/sqrt 2; the first row of W doubled."""
    M = (np.eye(4) - 1 / 4) * np.sqrt(4 / 3)
    u = np.array([1, -1, 0, 0]) / np.sqrt(2)
    W = M.copy()
    W[0] *= 2
    return np.concatenate([M + 0.1 * u, M - 0.1 * u]), np.tile(np.arange(4), 2), W


@pytest.mark.parametrize(
    ("name", "field", "golden"),
    [
        ("ji2022", "nc1", 0.0075),
        ("papyan2020", "nc1", 0.03),
        ("ji2022", "nc1_quotient", 0.01),
        ("galanti2022", "cdnv", 0.00375),
        ("papyan2020", "nc3_dual", 0.1101776350),
        ("zhu2021", "nc2_classifier", 0.5922098456),
        ("zhu2021", "classifier_norm_variation", 0.3464101615),
        ("papyan2020", "classifier_norm_variation", 0.4),
    ],
)
def test_fixture_of_papyan_han_donoho(name, field, golden):
    H, y, W = fixture()
    assert getattr(measure(H, y, classifier=W, preset=name), field) == pytest.approx(golden, abs=6e-11)


def test_presets_disagree_on_long_tailed_features():
    H, y, W, b = long_tailed()
    reports = {name: measure(H, y, classifier=W, bias=b, preset=name) for name in PRESETS}
    assert len({round(report.nc1, 12) for report in reports.values()}) == 3
    assert len({round(report.nc3, 12) for report in reports.values()}) == 4
    assert len({round(report.nc3_dual, 12) for report in reports.values()}) == 5


def test_balanced_classes_make_the_two_centres_one():
    rng = np.random.default_rng(1)
    H, y = rng.normal(size=(30, 6)), np.tile(np.arange(5), 6)
    by_classes = measure(H, y, preset=Convention(name="c")).asdict()
    by_samples = measure(H, y, preset=Convention(name="s", centre="samples")).asdict()
    assert by_classes == pytest.approx(by_samples, rel=1e-10, nan_ok=True)


def test_default_is_the_seed_paper():
    H, y, W, b = long_tailed()
    assert measure(H, y, classifier=W, bias=b) == measure(H, y, classifier=W, bias=b, preset="ji2022")
    assert next(iter(PRESETS)) == "ji2022"


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"ji2022, papyan2020, zhu2021, zhou2022, galanti2022, wu2024.*'nope'"):
        preset("nope")
    with pytest.raises(ValueError, match="papyan2020"):
        measure(np.eye(4), np.arange(4), preset="nope")


def test_the_table_has_one_row_a_preset_and_says_what_differs():
    rows = {row["name"]: row for row in convention_rows()}
    assert list(rows) == list(PRESETS)
    assert rows["papyan2020"]["over_K"] == "no"
    assert rows["zhu2021"]["centre"] == "samples"
    assert rows["wu2024"]["exponent"] == "4"
    assert all(row["source"] for row in rows.values())


@pytest.mark.parametrize("wrong", [{"centre": "median"}, {"ddof": 2}, {"exponent": 3}])
def test_a_convention_that_nobody_can_compute_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^need "):
        Convention(name="mine", **wrong)
