"""Several boosters as one."""

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.averaging import average


def boosters(count: int, rows: int = 400) -> tuple[list[str], np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """Boosters that differ by their seeds, and the rows they learned from."""
    random = np.random.default_rng(3)
    values = random.normal(size=(rows, 5)).astype(np.float32)
    values[random.random((rows, 5)) < 0.1] = np.nan
    failed = (np.nan_to_num(values[:, 0]) + random.normal(size=rows) > 1.5).astype(np.float32)
    texts = []
    for seed in range(count):
        chosen = {"objective": "binary", "seed": seed, "feature_fraction": 0.5, "verbosity": -1, "num_threads": 1}
        texts.append(lightgbm.train(chosen, lightgbm.Dataset(values, failed), 12).model_to_string())
    return texts, values


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 4))
def test_the_average_scores_the_mean(count: int) -> None:
    """Raw scores, and what each feature adds to them, are the means of those of the parts."""
    texts, values = boosters(count)
    parts = [lightgbm.Booster(model_str=text) for text in texts]
    whole = lightgbm.Booster(model_str=average(texts))
    assert whole.num_trees() == sum(part.num_trees() for part in parts)
    for asked in ({"raw_score": True}, {"pred_contrib": True}):
        mean = np.mean([part.predict(values, **asked) for part in parts], axis=0)
        np.testing.assert_allclose(whole.predict(values, **asked), mean, rtol=1e-9, atol=1e-12)


def test_a_text_of_another_shape_is_refused() -> None:
    """What is not LightGBM's text gives an error instead of a booster that lost its trees."""
    with pytest.raises(ValueError, match="not laid out as expected"):
        average(["tree_sizes=1\n", "tree_sizes=1\n"])
