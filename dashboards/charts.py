"""Charts: worked out on the server as SVG, and the same as a figure for Plotly, which draws it when asked to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import floor, log10
from typing import Any, Final, Literal

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

    @property
    def last(self) -> float | None:
        """The newest value that is known."""
        return next((value for _, value in reversed(self.points) if value is not None), None)


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
    figure: dict[str, Any]
    """Data and layout for Plotly, JSON-ready."""


@lru_cache(maxsize=4_096)
def number(value: float | None, unit: Unit = "count") -> str:
    """A value of a chart as people read it."""
    if value is None:
        return "not known"
    if unit == "share":
        sign = "\N{MINUS SIGN}" if value < 0 else ""
        return f"{sign}{words.percent(abs(value))}" if value else _NOUGHT
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.3g}"


def picture(chart: Chart) -> Picture:
    """The chart with its paths, its axis and its table."""
    low, high = _bounds(chart)
    place = _placer(chart, low, high)
    drawn = tuple(Drawn(one.name, one.kind == "bar", _path(one, place, chart)) for one in chart.series)
    return Picture(chart, drawn, number(high, chart.unit), number(low, chart.unit), _rows(chart), _figure(chart))


def _bounds(chart: Chart) -> tuple[float, float]:
    """The axis: from nought, or below where gauges are, to a round number above all values."""
    known = [value for one in chart.series for _, value in one.points if value is not None]
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


def _placer(chart: Chart, low: float, high: float) -> Callable[[datetime, float], tuple[float, float]]:
    span = max((chart.until - chart.since).total_seconds(), 1.0)

    def place(at: datetime, value: float) -> tuple[float, float]:
        x = WIDTH * (at - chart.since).total_seconds() / span
        return round(x, 1), round(HEIGHT * (1.0 - (value - low) / (high - low)), 1)

    return place


def _path(one: Series, place: Callable[[datetime, float], tuple[float, float]], chart: Chart) -> str:
    if one.kind == "bar":
        return _bars(one, place, chart)
    parts: list[str] = []
    drawing, y0 = False, 0.0
    for at, value in one.points:
        if value is None:
            drawing = False
            continue
        x, y = place(at, value)
        if not drawing:
            parts.append(f"M{x} {y}h0.1")
        elif one.kind == "step" and y != y0:
            parts.append(f"L{x} {y0}L{x} {y}")
        else:
            parts.append(f"L{x} {y}")
        drawing, y0 = True, y
    return "".join(parts)


def _bars(one: Series, place: Callable[[datetime, float], tuple[float, float]], chart: Chart) -> str:
    each = WIDTH / max(len(one.points), 1)
    width = round(each * 0.7, 1)
    floor_y = place(chart.since, 0.0)[1]
    parts = []
    for index, (at, value) in enumerate(one.points):
        if value:
            y = place(at, value)[1]
            parts.append(f"M{round(index * each + each * 0.15, 1)} {floor_y}V{y}h{width}V{floor_y}Z")
    return "".join(parts)


def _rows(chart: Chart) -> Markup:
    held = [dict(one.points) for one in chart.series]
    moments = sorted({at for points in held for at in points}, reverse=True)
    cells = ((at, (f'<td class="n">{number(points.get(at), chart.unit)}</td>' for points in held)) for at in moments)
    rows = (f'<tr><th scope="row">{_day(at)}</th>{"".join(each)}</tr>' for at, each in cells)
    return Markup("\n".join(rows))  # noqa: S704 - numbers and days, worded by us


@lru_cache(maxsize=4_096)
def _day(at: datetime) -> str:
    return f"{at:%-d %b %Y %H:%M}" if at.hour or at.minute else f"{at:%-d %b %Y}"


@lru_cache(maxsize=4_096)
def _iso(at: datetime) -> str:
    return at.isoformat()


def _figure(chart: Chart) -> dict[str, Any]:
    share = chart.unit == "share"
    data = [_trace(one, share=share) for one in chart.series]
    axis = {"rangemode": "tozero", "tickformat": ",.3~p" if share else ",.4~g", "fixedrange": True}
    span = [chart.since.isoformat(), chart.until.isoformat()]
    return {"data": data, "layout": {"yaxis": axis, "xaxis": {"type": "date", "range": span}}}


def _trace(one: Series, *, share: bool) -> dict[str, Any]:
    x = [_iso(at) for at, _ in one.points]
    told = {"name": one.name, "x": x, "y": [value for _, value in one.points]}
    told["hovertemplate"] = "%{x|%-d %b %H:%M}: %{y:,.3~p}" if share else "%{x|%-d %b %H:%M}: %{y:,.6~g}"
    if one.kind == "bar":
        return {**told, "type": "bar"}
    shape = "hv" if one.kind == "step" else "linear"
    return {**told, "type": "scatter", "mode": "lines+markers", "line": {"shape": shape}}
