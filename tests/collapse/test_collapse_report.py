"""The report: a frozen record of plain numbers, and a table that a practitioner can read."""

import dataclasses
import pickle

import numpy as np
import pytest

from layerpeel.collapse import METRICS, CollapseReport, measure

NAMES = [
    "within_class_variation",
    "nc1",
    "nc1_quotient",
    "cdnv",
    "mean_norm_variation",
    "classifier_norm_variation",
    "mean_angle_gap",
    "classifier_angle_gap",
    "nc2_means",
    "nc2_classifier",
    "gnc2_log",
    "gnc2_log_variance",
    "duality_gap",
    "nc3",
    "nc3_dual",
    "nc4_mismatch",
    "bias_collapse",
    "margin",
    "margin_ratio",
]


def report(**options):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 5)
    mu = rng.normal(size=(4, 6))
    return measure(mu[y] + 0.2 * rng.normal(size=(20, 6)), y, **options)


def test_asdict_has_every_metric_as_a_float():
    values = report(classifier=np.random.default_rng(1).normal(size=(4, 6))).asdict()
    assert list(values) == NAMES
    assert all(type(value) is float and np.isfinite(value) for value in values.values())


def test_every_field_of_the_record_is_a_fact_or_in_the_table():
    facts = {
        "preset",
        "num_classes",
        "num_samples",
        "dim",
        "rank",
        "missing_classes",
        "single_sample_classes",
        "dropped",
        "passes",
        "floors",
    }
    fields = {field.name for field in dataclasses.fields(CollapseReport)}
    assert fields == facts | {"notes"} | {line.field for line in METRICS}


def test_the_record_is_frozen_and_travels():
    found = report(classifier=np.eye(4, 6))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.nc1 = 0.0
    assert pickle.loads(pickle.dumps(found)) == found


def test_without_a_classifier_its_lines_are_not_printed():
    found = report()
    text = str(found)
    for line in METRICS:
        assert (f" {line.field} " in text) == (not np.isnan(getattr(found, line.field))), line.field
    assert "NC3" not in text
    assert "NC4" not in text


def test_the_table_says_what_was_measured_and_what_collapse_would_be(monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    found = report(classifier=np.random.default_rng(1).normal(size=(4, 6)), num_classes=4)
    text = str(found)
    assert "preset ji2022 · N = 20 samples · K = 4 classes · d = 6 · rank 3" in text
    for group in ("NC1", "NC2", "NC3", "NC4"):
        assert group in text
    line = next(line for line in text.splitlines() if " nc1 " in line)
    assert f"{found.nc1:.4g}" in line
    assert " 0 " in line
    assert " 1 " in next(line for line in text.splitlines() if " margin_ratio " in line)
    assert max(map(len, text.splitlines())) <= 110


def test_the_table_fits_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, str(report(classifier=np.eye(4, 6))).splitlines())) <= 80


def test_many_missing_classes_are_listed_in_part():
    found = report(num_classes=40)
    assert len(found.missing_classes) == 36
    assert "4, 5, 6, 7, 8, 9, 10, 11 and 28 more" in str(found)
