"""Charts: worked out on the server as SVG, and the same as a figure for Plotly, which draws it when asked to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import chain, repeat
from math import floor, log10
from typing import Any, Final, Literal

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from dashboards import words

WIDTH, HEIGHT = 600.0, 120.0
_NOUGHT: Final = "0\N{NO-BREAK SPACE}%"
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)

Kind = Literal["line", "step", "bar"]
Unit = Literal["share", "count"]


@dataclass(frozen=True)
class Series:
    """Values over time, the oldest first; null: not known at that moment."""

    name: str
    points: tuple[tuple[datetime, float | None], ...]
    kind: Kind = "line"

    @cached_property
    def moments(self) -> tuple[datetime, ...]:
        """Of the points."""
        return tuple(at for at, _ in self.points)

    @cached_property
    def values(self) -> tuple[float | None, ...]:
        """Of the points."""
        return tuple(value for _, value in self.points)

    @cached_property
    def known(self) -> tuple[float, ...]:
        """The values that are known."""
        return tuple(value for value in self.values if value is not None)

    @property
    def last(self) -> float | None:
        """The newest value that is known."""
        return self.known[-1] if self.known else None


@dataclass(frozen=True)
class Chart:
    """A picture of series over one span of time, and what it shows in a sentence."""

    title: str
    said: str
    series: tuple[Series, ...]
    since: datetime
    until: datetime
    unit: Unit = "count"
    """`share`: 0 to 1, shown in per cent."""


@dataclass(frozen=True)
class Drawn:
    """One series as SVG: the `d` of a path, in a box of `WIDTH` by `HEIGHT`."""

    name: str
    filled: bool
    path: str


@dataclass(frozen=True)
class Picture:
    """A chart ready for its template."""

    chart: Chart
    drawn: tuple[Drawn, ...]
    top: str
    bottom: str
    rows: Markup
    """Of the table of its values, one for each moment, the newest first."""
    figure: Markup
    """Data and layout for Plotly, as JSON that may stand in a page."""


@lru_cache(maxsize=4_096)
def number(value: float | None, unit: Unit = "count") -> str:
    """A value of a chart as people read it."""
    if value is None:
        return "not known"
    if unit == "share":
        sign = "\N{MINUS SIGN}" if value < 0 else ""
        return f"{sign}{words.percent(abs(value))}" if value else _NOUGHT
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.3g}"


@lru_cache(maxsize=256)
def picture(chart: Chart) -> Picture:
    """The chart with its paths, its axis and its table; counters that never rose look the same for many parts."""
    low, high = _bounds(chart)
    drawn = tuple(Drawn(one.name, one.kind == "bar", _path(one, chart, low, high)) for one in chart.series)
    return Picture(chart, drawn, number(high, chart.unit), number(low, chart.unit), _rows(chart), _figure(chart))


def _bounds(chart: Chart) -> tuple[float, float]:
    """The axis: from nought, or below where gauges are, to a round number above all values."""
    known = [value for one in chart.series for value in one.known]
    known += [0.0] if any(one.kind == "bar" for one in chart.series) else []
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    base = low - (high - low or abs(low) or 1.0) * 0.1 if low > 0 and high < 1.5 * low else min(0.0, low)
    base = floor(base) if chart.unit == "count" else base
    return base, base + _round_up(max(high - base, 1e-3 if chart.unit == "share" else 1.0))


def _round_up(size: float) -> float:
    power: float = 10.0 ** floor(log10(size))
    return next(step * power for step in _STEPS if step * power >= size * 0.999999)


def _path(one: Series, chart: Chart, low: float, high: float) -> str:
    heights = {value: round(HEIGHT * (1.0 - (value - low) / (high - low)), 1) for value in {0.0, *one.known}}
    if one.kind == "bar":
        return _bars(one.values, heights)
    parts: list[str] = []
    before: float | None = None
    for x, value in zip(_across(one.moments, chart.since, chart.until), one.values, strict=True):
        if value is None:
            before = None
            continue
        y = heights[value]
        if before is None:
            parts.append(f"M{x} {y}h0.1")
        elif one.kind == "step" and y != before:
            parts.append(f"L{x} {before}L{x} {y}")
        else:
            parts.append(f"L{x} {y}")
        before = y
    return "".join(parts)


@lru_cache(maxsize=256)
def _across(moments: tuple[datetime, ...], since: datetime, until: datetime) -> tuple[float, ...]:
    """How far right each moment is; charts of many parts have the same moments."""
    span = max((until - since).total_seconds(), 1.0)
    return tuple(round(WIDTH * (at - since).total_seconds() / span, 1) for at in moments)


def _bars(values: Sequence[float | None], heights: Mapping[float, float]) -> str:
    each = WIDTH / max(len(values), 1)
    width, floor_y = round(each * 0.7, 1), heights[0.0]
    return "".join(
        f"M{round(index * each + each * 0.15, 1)} {floor_y}V{heights[value]}h{width}V{floor_y}Z"
        for index, value in enumerate(values)
        if value
    )


def _rows(chart: Chart) -> Markup:
    moments = _newest_first(tuple(one.moments for one in chart.series))
    held = (map(dict(one.points).get, moments) for one in chart.series)
    columns = ([_cell(value, chart.unit) for value in values] for values in held)
    rows = zip(_headings(moments), *columns, repeat("</tr>"), strict=False)
    return Markup("\n".join(map("".join, rows)))  # noqa: S704 - numbers and days, worded by us


@lru_cache(maxsize=256)
def _newest_first(told: tuple[tuple[datetime, ...], ...]) -> tuple[datetime, ...]:
    return tuple(sorted(set(chain.from_iterable(told)), reverse=True))


@lru_cache(maxsize=256)
def _headings(moments: tuple[datetime, ...]) -> tuple[str, ...]:
    return tuple(f'<tr><th scope="row">{_day(at)}</th>' for at in moments)


@lru_cache(maxsize=4_096)
def _cell(value: float | None, unit: Unit) -> str:
    return f'<td class="n">{number(value, unit)}</td>'


def _day(at: datetime) -> str:
    return f"{at:%-d %b %Y %H:%M}" if at.hour or at.minute else f"{at:%-d %b %Y}"


@lru_cache(maxsize=256)
def _stamps(moments: tuple[datetime, ...]) -> tuple[str, ...]:
    return tuple(at.isoformat() for at in moments)


def _figure(chart: Chart) -> Markup:
    share = chart.unit == "share"
    data = [_trace(one, share=share) for one in chart.series]
    axis = {"rangemode": "tozero", "tickformat": ",.3~p" if share else ",.4~g", "fixedrange": True}
    span = [chart.since.isoformat(), chart.until.isoformat()]
    told = {"data": data, "layout": {"yaxis": axis, "xaxis": {"type": "date", "range": span}}}
    return htmlsafe_json_dumps(told, sort_keys=True)


def _trace(one: Series, *, share: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": one.name, "x": _stamps(one.moments), "y": one.values}
    told["hovertemplate"] = "%{x|%-d %b %H:%M}: %{y:,.3~p}" if share else "%{x|%-d %b %H:%M}: %{y:,.6~g}"
    if one.kind == "bar":
        return {**told, "type": "bar"}
    shape = "hv" if one.kind == "step" else "linear"
    return {**told, "type": "scatter", "mode": "lines+markers", "line": {"shape": shape}}
