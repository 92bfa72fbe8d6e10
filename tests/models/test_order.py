"""Rows that lie in parts are put together as if they had never been apart."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.cluster.order import ordered


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4), st.data())
def test_parts_are_merged_in_the_order_of_the_whole(parts: list[list[int]], data: st.DataObject) -> None:
    """Whatever lies where, and whichever rows are chosen however often, each answer returns to its row."""
    keys = [np.array(part, dtype=np.int64) for part in parts]
    order = ordered([len(part) for part in parts], np.concatenate(keys))
    whole = order.merged(keys)
    assert whole.tolist() == sorted(key for part in parts for key in part)
    rows = data.draw(st.lists(st.integers(0, max(0, len(whole) - 1)), max_size=8 if len(whole) else 0))
    chosen = np.array(rows, dtype=np.int64)
    answers = [part[own] for part, own in zip(keys, order.split(chosen), strict=True)]
    assert order.chosen(chosen).merged(answers).tolist() == whole[chosen].tolist()
    assert np.concatenate(order.apart(whole[chosen], chosen)).tolist() == np.concatenate(answers).tolist()
