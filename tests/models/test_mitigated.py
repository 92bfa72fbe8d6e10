"""Rows whose host was emptied: what they count as when a model learns."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from data.contracts import FAILURES, STAYS
from data.warehouse import Warehouse
from models import checked, mitigated, spec
from models.card import card
from models.checked import Held
from models.examples import Fate, Floats
from models.learning import Learned, learning_rows
from models.slices import Members
from models.train import Trained
from models.windows import end_of

NAN = float("nan")
HORIZON = 14.0
GPU = replace(spec.load("gpu"), negative_share=0.1)
START = datetime(2016, 1, 1, tzinfo=UTC)
ASKED, UNTIL = date(2016, 1, 20), date(2016, 3, 31)


def fate(failed_in: float, observed: float, mitigated_in: float) -> Fate:
    """One row's fate."""
    return Fate(np.array([failed_in]), np.array([observed]), np.array([mitigated_in]))


@pytest.mark.parametrize(
    ("failed_in", "observed", "mitigated_in", "chance", "expected"),
    [
        (NAN, 5.0, 4.0, 0.3, [(True, 3.0), (False, 7.0)]),
        (NAN, 30.0, 4.0, 0.3, [(True, 3.0), (False, 7.0)]),
        (NAN, 5.0, 4.0, NAN, []),
        (6.0, 6.0, 4.0, 0.3, [(True, 10.0)]),
        (6.0, 6.0, 4.0, NAN, []),
        (3.0, 3.0, 4.0, 0.3, [(True, 10.0)]),
        (NAN, 30.0, 15.0, 0.3, [(False, 10.0)]),
        (NAN, 30.0, -4.0, NAN, []),
        (NAN, 5.0, 4.0, 0.0, [(False, 10.0)]),
    ],
)
def test_what_an_emptied_host_makes_of_a_row(
    failed_in: float, observed: float, mitigated_in: float, chance: float, expected: list[tuple[bool, float]]
) -> None:
    """Uncertain, it fails with the chance told; seen to fail, it fails; of one untold or at rest nothing is known."""
    one = mitigated.count(fate(failed_in, observed, mitigated_in), np.array([10.0]), np.array([chance]), HORIZON)
    counted = zip(one.failed.tolist(), one.weight.tolist(), strict=True)
    assert [(failed, pytest.approx(weight)) for failed, weight in counted] == expected


def test_failures_seen_at_rest_leave_less_to_impute() -> None:
    """Two failures told among four watched parts and one seen: of the others one is left to expect, not two."""
    nan = np.full(4, NAN)
    watched = Fate(np.array([9.0, NAN, NAN, NAN]), np.full(4, 30.0), np.full(4, 2.0))
    counted = mitigated.count(watched, np.ones(4), np.full(4, 0.5), HORIZON)
    failing = counted.weight[counted.failed].sum()
    assert counted.uncertain.seen_failing == 1
    assert failing == pytest.approx(1 + 3 * 0.25 / 0.75)
    pulled = Fate(nan, np.full(4, 2.0), np.full(4, 2.0))
    alone = mitigated.count(pulled, np.ones(4), np.full(4, 0.5), HORIZON)
    assert alone.weight[alone.failed].sum() == pytest.approx(2.0)


days = st.one_of(st.just(NAN), st.floats(0.01, 60))
rows = st.lists(
    st.tuples(days, st.floats(0, 60), days, st.one_of(st.just(NAN), st.floats(0, 1)), st.floats(0.1, 10)),
    min_size=1,
    max_size=30,
)


@given(rows, st.sampled_from([0.0, 2.0]))
def test_weights_are_positive_and_add_up_to_what_each_row_stands_for(
    given_rows: list[tuple[float, ...]], lead_days: float
) -> None:
    """However fates fall, a row that counts counts once in all, and rows stay in order."""
    failed_in, observed, mitigated_in, chance, weight = (np.array(each) for each in zip(*given_rows, strict=True))
    fates = Fate(failed_in, observed, mitigated_in)
    counted = mitigated.count(fates, weight, chance, HORIZON, lead_days)
    assert (counted.weight > 0).all()
    assert (np.diff(counted.row) >= 0).all()
    for row in np.unique(counted.row):
        assert counted.weight[counted.row == row].sum() == pytest.approx(weight[row])
    certain = np.flatnonzero(fates.within(HORIZON, lead_days)[1])
    assert np.isin(certain, counted.row).all()


@given(rows)
def test_without_a_mitigation_nothing_changes(given_rows: list[tuple[float, ...]]) -> None:
    """The rows are those that count within the horizon, to the last bit."""
    failed_in, observed, _, chance, weight = (np.array(each) for each in zip(*given_rows, strict=True))
    fates = Fate(failed_in, observed, np.full(failed_in.size, NAN))
    counted = mitigated.count(fates, weight, chance, HORIZON)
    failed, kept = fates.within(HORIZON)
    np.testing.assert_array_equal(counted.row, np.flatnonzero(kept))
    np.testing.assert_array_equal(counted.failed, failed[kept])
    np.testing.assert_array_equal(counted.weight, weight[kept])
    assert counted.uncertain == mitigated.Uncertain()


def _risks(*each: float) -> Floats:
    return np.array([each])


@pytest.mark.parametrize(
    ("ahead", "risk"), [(-1.0, 0.0), (0.0, 0.0), (1.0, 0.1), (2.0, 0.15), (14.0, 0.5), (22.0, 0.55), (60.0, 0.6)]
)
def test_a_told_risk_is_read_at_any_number_of_days(ahead: float, risk: float) -> None:
    """Nothing happens in no time; between two horizons it is interpolated; past the longest no more is known."""
    assert mitigated.within(_risks(0.1, 0.2, 0.3, 0.5, 0.6), np.array([ahead]))[0] == pytest.approx(risk)


@pytest.fixture
def emptied(tmp_path: Path) -> Iterator[Warehouse]:
    """Forty GPUs, each in a host of its own; one fails, and of five others the host was emptied, told 60 % before."""
    with Warehouse.open(tmp_path) as warehouse:
        stay = {"component": "gpu", "model": "K20X", "valid_from": START, "valid_until": None}
        stays = [stay | {"entity_id": f"g{n}", "host_id": f"h{n}"} for n in range(40)]
        warehouse.put_stays(pa.Table.from_pylist(stays, STAYS))
        when = {"failed_at": end_of(ASKED) + timedelta(days=9), "ingested_at": end_of(ASKED) + timedelta(days=9)}
        news = end_of(ASKED) + timedelta(days=31)
        late = {"failed_at": news, "ingested_at": news}
        failing = [
            {"component": "gpu", "cause": "dbe", "entity_id": n} | at for n, at in (("g39", when), ("g38", late))
        ]
        warehouse.put_failures(pa.Table.from_pylist(failing, FAILURES))
        warehouse.con.execute(
            "insert into mitigation select 'o' || n, 'h' || n, 'evacuate', $at, $at from range(5) numbers(n)",
            {"at": end_of(ASKED) + timedelta(hours=2)},
        )
        warehouse.con.execute(
            "insert into risk select $at, entity_key, 'gpu', '1', 'ok', null, .1, .2, .3, .4, .6, null from entity",
            {"at": end_of(ASKED)},
        )
        yield warehouse


def learned(warehouse: Warehouse) -> Learned:
    """What the day asked teaches; the other one has not been seen for a month."""
    return learning_rows(warehouse.con, GPU, [ASKED, ASKED + timedelta(days=7)], 30, UNTIL)


def test_training_counts_emptied_hosts_by_what_was_told(emptied: Warehouse) -> None:
    """Five parts at 60 % are three failures and two survivors; only the one that was seen to fail is a positive."""
    taught = learned(emptied)
    assert taught.weight[taught.failed].sum() == pytest.approx(1 + 3)
    assert taught.uncertain == mitigated.Uncertain(5, 0, 5.0, pytest.approx(3.0), 0)  # type: ignore[arg-type]
    assert taught.positives == 1
    assert taught.rows == taught.failed.size - 5


def test_training_drops_emptied_hosts_of_which_nothing_was_told(emptied: Warehouse) -> None:
    """Without a risk on record they are neither failing nor healthy."""
    emptied.con.execute("delete from risk")
    taught = learned(emptied)
    assert taught.weight[taught.failed].sum() == 1
    assert taught.uncertain == mitigated.Uncertain(dropped=5)


def test_maps_count_emptied_hosts_too_and_without_any_are_the_usual(emptied: Warehouse) -> None:
    """The parts that were called make risks higher; with no mitigation on record the maps are equal to the last bit."""
    emptied.con.execute("update risk set risk_30d = 0.9")
    keys = np.array([key for (key,) in emptied.con.execute("select entity_key from entity order by 1").fetchall()])
    score = np.linspace(0.5, 0.01, keys.size)
    seen = Fate(np.where(keys == keys[-1], 9.0, NAN), np.full(keys.size, 40.0), np.full(keys.size, NAN))
    called = replace(seen, mitigated_in_days=np.where(np.arange(keys.size) < 5, 2 / 24, NAN))
    nothing = np.zeros(keys.size)
    members = Members(np.full(keys.size, "K20X", object), nothing)
    held = Held(keys, np.zeros(keys.size, np.int64), score, nothing, nothing, called, members)
    facts = checked.calibrated(held, GPU)
    served = mitigated.calibrated(emptied.con, held, GPU, [ASKED], end_of(UNTIL))
    assert served.risks(score)[:5, -1].min() > facts.risks(score)[:5, -1].max()
    emptied.con.execute("delete from mitigation")
    assert mitigated.calibrated(emptied.con, held, GPU, [ASKED], end_of(UNTIL)) == facts


def test_the_card_says_how_emptied_hosts_counted(trained: Trained) -> None:
    """How many rows, what they count as, and of how many nothing was told; without any it is silent."""
    figures = mitigated.Uncertain(rows=5, dropped=2, weight=5.0, failing_weight=3.0).figures()
    said = card(replace(trained, metrics={**trained.metrics, **figures}), (), simulated=False)
    assert "in 7 rows the host was emptied" in said
    assert "together 3.0 failures in 5.0" in said
    assert "the host was emptied" not in card(trained, (), simulated=False)
