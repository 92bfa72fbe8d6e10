"""Charts: what the SVG, the axis and the table of values say of the numbers they are drawn from."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.charts import HEIGHT, WIDTH, Chart, Series, number, picture

START = datetime(2026, 3, 1, tzinfo=UTC)
VALUES = st.lists(st.none() | st.floats(-1e6, 1e9, allow_nan=False), min_size=1, max_size=40)


def chart(values: list[float | None], kind: str = "line", unit: str = "count") -> Chart:
    """A chart with a value a day."""
    points = tuple((START + timedelta(days=n), value) for n, value in enumerate(values))
    series = Series("one", points, kind)  # type: ignore[arg-type]
    return Chart("One", "said", (series,), START, START + timedelta(days=max(len(values) - 1, 1)), unit)  # type: ignore[arg-type]


@settings(deadline=None)
@given(VALUES, st.sampled_from(["line", "step", "bar"]))
def test_everything_drawn_lies_within_the_box(values: list[float | None], kind: str) -> None:
    """Whatever the numbers, no point of a path leaves the drawing; bars stand side by side within it."""
    drawn = picture(chart(values, kind)).drawn[0].path
    for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", drawn):
        assert 0 <= float(x) <= WIDTH
        assert -0.11 <= float(y) <= HEIGHT + 0.11


@settings(deadline=None)
@given(VALUES)
def test_the_table_has_every_value_the_newest_first(values: list[float | None]) -> None:
    """Nothing that is drawn is missing from the table, and what is not known is said so."""
    drawn = chart(values)
    rows = re.findall(r'<th scope="row">(.*?)</th><td class="n">(.*?)</td>', picture(drawn).rows)
    assert [value for _, value in rows] == [number(value) for value in reversed(values)]
    assert [at for at, _ in rows] == [f"{at:%-d %b %Y}" for at, _ in reversed(drawn.series[0].points)]


def test_a_gap_is_not_bridged() -> None:
    """A day without a value breaks the line in two."""
    assert picture(chart([1.0, 2.0, None, 3.0])).drawn[0].path.count("M") == 2


def test_a_counter_steps() -> None:
    """A counter holds its value until the day of the next one."""
    path = picture(chart([0.0, 0.0, 8.0], "step")).drawn[0].path
    assert path == "M0.0 120.0h0.1L300.0 120.0L600.0 120.0L600.0 24.0"


def test_shares_are_said_in_per_cent() -> None:
    """A risk of a third is 33 %, and one below a thousandth is not nought."""
    assert [number(value, "share") for value in (1 / 3, 0.0004, 0.0, -0.348, None)] == [
        "33\N{NO-BREAK SPACE}%",
        "under 0.1\N{NO-BREAK SPACE}%",
        "0\N{NO-BREAK SPACE}%",
        "\N{MINUS SIGN}35\N{NO-BREAK SPACE}%",
        "not known",
    ]
