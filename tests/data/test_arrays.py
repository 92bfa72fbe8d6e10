"""Columns taken apart and put together by hand are what Arrow itself says."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.arrays import doubles, taken

EPOCH = date(1970, 1, 1)
KINDS = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**53), 2**53),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.date32(): st.integers(-9000, 90000).map(lambda days: EPOCH + timedelta(days=days)),
    pa.string(): st.text(max_size=3),
    pa.bool_(): st.booleans(),
}


@st.composite
def columns(draw: st.DrawFn, kinds: tuple[pa.DataType, ...] = tuple(KINDS)) -> pa.ChunkedArray:
    """A column in pieces, each of which may begin amid an array; nulls anywhere."""
    kind = draw(st.sampled_from(kinds))
    pieces = draw(st.lists(st.lists(st.none() | KINDS[kind], min_size=1, max_size=20), min_size=1, max_size=3))
    return pa.chunked_array([pa.array([None, *piece], kind).slice(1) for piece in pieces])


@given(columns(), st.lists(st.integers(0, 10_000), max_size=30))
def test_rows_are_taken_as_arrow_takes_them(column: pa.ChunkedArray, numbers: list[int]) -> None:
    """Any column of any type, at any places, repeated ones too."""
    places = np.array([number % len(column) for number in numbers], np.int64)
    got = taken(column, places)
    assert got.type == column.type
    assert got.to_pylist() == [column[int(place)].as_py() for place in places]


@given(columns((pa.int32(), pa.int64(), pa.date32())))
def test_whole_numbers_and_days_are_told_as_doubles(column: pa.ChunkedArray) -> None:
    """Null is NaN, a day the days since 1970."""
    into = np.empty(len(column))
    doubles(column, into)
    plain = [(value - EPOCH).days if isinstance(value, date) else value for value in column.to_pylist()]
    assert into.tolist() == pytest.approx([np.nan if value is None else value for value in plain], nan_ok=True, abs=0)
