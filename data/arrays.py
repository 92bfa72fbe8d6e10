"""Arrow columns as NumPy arrays and back, a number standing for null.

PyArrow's own conversions import pandas, which costs a day's ingest more than the day.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]
Column: TypeAlias = "pa.Array[Any] | pa.ChunkedArray[Any]"

_EPOCH: Final = date(1970, 1, 1)
_BY_BITS: Final[dict[int, Any]] = {8: np.int8, 32: np.int32, 64: np.int64}


@contextmanager
def frugal() -> Iterator[None]:
    """Let Arrow use the system's allocator, which gives back what is freed: its own keeps it, tens of MiB of it."""
    usual = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(usual)


def whole(column: Column) -> "pa.Array[Any]":
    """The column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    pieces: Any = column.chunks or [pa.nulls(0, column.type)]
    return pa.concat_arrays(pieces)


def numbers(column: Column, null: int = 0) -> Numbers:
    """The values of a column of whole numbers or dates (days since 1970), with `null` for none; a copy."""
    array = whole(column)
    valid, held = (None if one is None else memoryview(one) for one in array.buffers())
    kind, slots = _BY_BITS[array.type.bit_width], slice(array.offset, array.offset + len(array))
    values = np.frombuffer(held, kind)[slots].copy() if held else np.zeros(len(array), kind)
    if array.null_count and valid is not None:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[slots]
        values[bits == 0] = null
    return values


def arrow(values: Numbers, kind: pa.DataType, null: int | None = None) -> "pa.Array[Any]":
    """The values as a column of that type, null where they are `null`."""
    held = np.ascontiguousarray(values, _BY_BITS[kind.bit_width])
    valid = None if null is None else pa.py_buffer(np.packbits(held != null, bitorder="little").data)
    return pa.Array.from_buffers(kind, len(held), [valid, pa.py_buffer(held.data)])


def number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days
