"""Parts of the fleet: every row in one model and one age band, and a part that is served badly shows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.measure import Outcomes, Settings
from models.slices import Members, Scored, Slice, cut

SETTINGS = Settings(replicates=50)


def _scored(seed: int = 1, rows: int = 6_000) -> Scored:
    """Model A is ranked by its risk, model B against it; the rival knows nothing."""
    random = np.random.default_rng(seed)
    risk = random.beta(1, 9, rows)
    failed = random.random(rows) < risk
    model = np.where(np.arange(rows) % 3 == 0, "B", "A").astype(object)
    outcomes = Outcomes(np.arange(rows), np.zeros(rows, dtype=np.int64), failed, np.where(failed, 3.0, np.nan))
    score = np.where(model == "B", -risk, risk)
    return Scored(outcomes, Members(model, random.uniform(0, 3_000, rows)), score, np.zeros(rows), risk)


def _named(found: tuple[Slice, ...]) -> dict[str, Slice]:
    return {one.name: one for one in found}


def test_a_model_that_is_ranked_backwards_stands_out() -> None:
    """What is good for A and bad for B is told of each, beyond the interval."""
    found = _named(cut(_scored(), 10, SETTINGS))
    good, bad = found["A"].over_rival, found["B"].over_rival
    assert good.low is not None
    assert good.low > 0
    assert bad.high is not None
    assert bad.high < 0


def test_a_part_is_calibrated_by_itself() -> None:
    """Failures over predictions near one where risks are right, and not where they are halved for one model."""
    scored = _scored()
    halved = np.where(scored.members.model == "B", scored.checked_risk / 2, scored.checked_risk)
    found = _named(cut(Scored(scored.outcomes, scored.members, scored.score, scored.rival, halved), 10, SETTINGS))
    assert abs((found["A"].observed_over_predicted.value or 0) - 1) < 0.2
    assert abs((found["B"].observed_over_predicted.value or 0) - 2) < 0.4


def test_parts_without_enough_failures_say_nothing() -> None:
    """A model of which too few fail has no slice, and so no gate."""
    scored = _scored()
    assert "B" in _named(cut(scored, 10, SETTINGS))
    failing = int(scored.outcomes.failed[scored.members.model == "B"].sum())
    assert "B" not in _named(cut(scored, failing + 1, SETTINGS))


def test_rows_where_calibration_is_not_checked_do_not_count_there() -> None:
    """Without a checked row the ratio does not exist, and nothing breaks."""
    scored = _scored()
    nothing = Scored(scored.outcomes, scored.members, scored.score, scored.rival, np.full(scored.score.size, np.nan))
    assert all(one.observed_over_predicted.value is None for one in cut(nothing, 10, SETTINGS))


@given(st.lists(st.tuples(st.sampled_from(["", "A", "B/C"]), st.floats(0, 5_000) | st.just(np.nan)), min_size=1))
def test_each_row_is_in_one_model_and_at_most_one_age(rows: list[tuple[str, float]]) -> None:
    """No row counts twice, and only those of unknown age are in no band."""
    members = Members(np.array([m for m, _ in rows], dtype=object), np.array([a for _, a in rows]))
    held = {kind: np.zeros(len(rows), dtype=int) for kind in ("model", "age")}
    for kind, _, inside in members.slices():
        held[kind] += inside
    assert held["model"].tolist() == [1] * len(rows)
    assert held["age"].tolist() == [int(not np.isnan(age)) for _, age in rows]


def test_a_name_that_a_tracker_refuses_is_written_otherwise() -> None:
    """Slashes in a hardware model's name do not make another level."""
    found = cut(_scored(), 10, SETTINGS)
    odd = Slice("model", "WD/1*", 1, 1, *[found[0].average_precision] * 3)
    assert odd.key == "slice/model/WD_1_"
