"""Features are said in words that a person understands at 3 a.m."""

import tomllib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.build import feature_names
from features.wording import reason


@pytest.mark.parametrize(
    ("feature", "value", "said"),
    [
        ("smart_197_rise_7d", 8.0, "8 more pending sectors than a week ago"),
        ("smart_197_rise_1d", 1.0, "1 more pending sector than the day before"),
        ("smart_197_rise_30d", -3.0, "3 fewer pending sectors than 30 days ago"),
        ("smart_5_rise_14d", 0.0, "as many reallocated sectors as two weeks ago"),
        ("smart_187", 0.0, "no uncorrectable errors reported"),
        ("smart_187_changes_30d", 4.0, "changes in uncorrectable errors reported on 4 of the last 30 days"),
        ("smart_197_days_since_change", 1.0, "a change in pending sectors 1 day ago"),
        ("smart_198_days_since_nonzero", None, "offline-uncorrectable sectors never seen above zero"),
        ("smart_194", -3.0, "a temperature of -3 °C"),
        ("smart_190", None, "an unknown airflow temperature"),
        ("smart_188", 4_295_032_833.0, "4,295,032,833 command timeouts"),
        ("rule_nonzero", 2.0, "2 of the 5 warning counters above zero"),
        ("power_on_days", 1533.4, "1,533 days of power-on time"),
        ("capacity_tb", 4.000787, "a capacity of 4 TB"),
        ("fault_mode", 2.0, "a fault in one memory row"),
        ("row_columns_30d", 12.0, "errors in 12 columns of one memory row"),
        ("storm_15min_1d", 240.0, "a storm of 240 corrected errors within 15 minutes in the last day"),
        ("days_since_last_error", 1.0, "the last corrected memory error 1 day ago"),
    ],
)
def test_a_value_becomes_a_phrase(feature: str, value: float | None, said: str) -> None:
    """Counts have nouns, windows have words, and a missing value says so."""
    assert reason(feature, value) == said


@pytest.mark.parametrize("component", ["disk", "memory"])
@pytest.mark.parametrize("value", [None, float("nan"), -2.0, 0.0, 1.0, 1.5, 1e12])
def test_every_feature_has_words(component: str, value: float | None) -> None:
    """No column name of the feature statement reaches a person as it is, and none goes by its bare name."""
    words = tomllib.loads(files("features").joinpath("wording.toml").read_text(encoding="utf-8"))
    for feature in feature_names(component):
        assert feature.startswith("smart") or feature in words["forms"]
        said = reason(feature, value)
        assert "smart" not in said, feature
        assert "_" not in said, feature


@given(st.text(), st.none() | st.floats())
def test_an_unknown_feature_is_said_by_its_name(feature: str, value: float | None) -> None:
    """A feature without words is never an error, whatever its name holds."""
    assert reason(feature, value)


def test_a_new_attribute_goes_by_what_is_known_of_it() -> None:
    """An attribute that nobody has named yet keeps its number."""
    assert reason("smart_999_rise_7d", 2.0) == "2 more attribute 999 than a week ago"
