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
_NAN_OR_NONE: Final = np.array([np.nan, 0.0])


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
    return pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)


def numbers(column: Column, null: int = 0) -> Numbers:
    """The values of a column of whole numbers or dates (days since 1970), with `null` for none; a copy."""
    array = whole(column)
    values = _values(array).copy()
    if array.null_count:
        values[known(array) == 0] = null
    return values


def doubles(column: "pa.ChunkedArray[Any]", into: Numbers) -> None:
    """Write the values of a column of whole numbers or dates (days since 1970) as float64, NaN for none."""
    for array in column.chunks:
        part, into = np.split(into, [len(array)])
        if array.null_count == len(array):
            part.fill(np.nan)
            continue
        np.copyto(part, _values(array))
        if array.null_count:
            part += _NAN_OR_NONE.take(known(array), mode="clip")  # no branch, which a processor would guess wrong


def known(array: "pa.Array[Any]") -> Numbers:
    """A byte each: 1 where there is a value, 0 where there is none."""
    bits = array.buffers()[0]
    if bits is None:
        return np.ones(len(array), np.uint8)
    return np.unpackbits(np.frombuffer(memoryview(bits), np.uint8), bitorder="little")[_slots(array)]


def taken(column: Column, places: Numbers) -> "pa.Array[Any]":
    """The values at these places, all within the column: several times quicker than Arrow where nulls lie scattered."""
    array = whole(column)
    if not (pa.types.is_primitive(array.type) and array.type.bit_width in _BY_BITS):
        return array.take(arrow(places, pa.int64()))
    values = _values(array).take(places, mode="clip")
    valid = np.packbits(known(array).take(places, mode="clip"), bitorder="little") if array.null_count else None
    buffers = [None if valid is None else pa.py_buffer(valid.data), pa.py_buffer(values.data)]
    return pa.Array.from_buffers(array.type, len(values), buffers)


def _values(array: "pa.Array[Any]") -> Numbers:
    """What lies in the array's memory, as whole numbers of its width; anything where there is no value."""
    held, kind = array.buffers()[1], _BY_BITS[array.type.bit_width]
    return np.frombuffer(memoryview(held), kind)[_slots(array)] if held else np.zeros(len(array), kind)


def _slots(array: "pa.Array[Any]") -> slice:
    return slice(array.offset, array.offset + len(array))


def arrow(values: Numbers, kind: pa.DataType, null: int | None = None) -> "pa.Array[Any]":
    """The values as a column of that type, null where they are `null`."""
    held = np.ascontiguousarray(values, _BY_BITS[kind.bit_width])
    valid = None if null is None else pa.py_buffer(np.packbits(held != null, bitorder="little").data)
    return pa.Array.from_buffers(kind, len(held), [valid, pa.py_buffer(held.data)])


def number(day: date) -> int:
    """Days since 1970."""
    return (day - _EPOCH).days
