"""What the simulated fleet writes: published formats, planted precursors, silence, bait, and no ground truth."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from data.contracts import EVENTS, FAILURES
from data.simulator.catalogue import DRIVE_MODELS
from data.simulator.fleet import Fleet, FleetSpec, plan
from data.simulator.telemetry import Written, write

SPEC = FleetSpec(hosts=200, vms=1_500, days=90, acceleration=20.0)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """A fleet that fails often."""
    return plan(SPEC)


@pytest.fixture(scope="module")
def out(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    """That fleet's files."""
    folder = tmp_path_factory.mktemp("simulated")
    return folder, write(fleet, folder)


@pytest.fixture(scope="module")
def con(out: tuple[Path, Written]) -> duckdb.DuckDBPyConnection:
    """A connection with the files as views."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    for name in ("disk", "events", "failures"):
        con.execute(f"create view {name} as from read_parquet('{out[0]}/telemetry/{name}/*.parquet')")
    con.execute(f"create view truth as from '{out[0]}/truth.parquet'")
    return con


def rows(con: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return con.execute(query).fetchall()


def test_one_disk_file_a_day_named_by_its_date(out: tuple[Path, Written]) -> None:
    """Ninety days give ninety files, and each holds its own day only."""
    files = sorted((out[0] / "telemetry" / "disk").iterdir())
    assert len(files) == 90
    assert set(pq.read_table(files[3])["date"].to_pylist()) == {SPEC.start + timedelta(days=3)}
    assert files[3].stem == str(SPEC.start + timedelta(days=3))


def test_counts_match_the_files(out: tuple[Path, Written], con: duckdb.DuckDBPyConnection) -> None:
    """What `write` reports is what it wrote."""
    written = out[1]
    assert rows(con, "select count(*) from disk") == [(written.disk_rows,)]
    assert rows(con, "select count(*) from events") == [(written.event_rows,)]
    in_disk, elsewhere = rows(con, "select (select sum(failure) from disk), (select count(*) from failures)")[0]
    assert in_disk + elsewhere == written.failures


def test_a_drive_is_read_once_a_day(con: duckdb.DuckDBPyConnection) -> None:
    """No drive has two rows on a day."""
    assert rows(con, "select 1 from disk group by date, serial_number having count(*) > 1") == []


def test_failure_marks_the_last_row_and_the_true_day(con: duckdb.DuckDBPyConnection) -> None:
    """`failure` is 1 exactly on the true failure's day, and nothing follows it."""
    last = "select serial_number, max(date) as day, max(failure) as failed from disk group by 1"
    assert rows(con, f"select 1 from disk join ({last}) using (serial_number) where failure = 1 and date <> day") == []
    wrong = f"""
        select 1 from truth t left join ({last}) d on d.serial_number = t.entity_id
        where component = 'disk' and t.failed_at < timestamptz '{SPEC.start_at + timedelta(days=SPEC.days)}'
          and (d.day is distinct from t.failed_at::date or d.failed <> 1)
    """
    assert rows(con, wrong) == []


def test_replacement_appears_after_the_repair_with_a_new_serial(con: duckdb.DuckDBPyConnection) -> None:
    """A replaced drive's first reading comes after its repair, with few power-on hours."""
    query = """
        select 1, date - replaced_at::date, smart_9_raw
        from truth t join disk d on d.serial_number = t.replacement_id
        qualify row_number() over (partition by serial_number order by date) = 1
    """
    firsts = rows(con, f"select count(*), min(gap), max(hours) from ({query}) q(n, gap, hours)")
    assert firsts[0][0] > 50
    assert firsts[0][1] == 1
    assert firsts[0][2] <= 48


def test_power_on_hours_grow_by_a_day_each_day(con: duckdb.DuckDBPyConnection) -> None:
    """Power-on hours rise by 24 from one reading to the next."""
    step = "smart_9_raw - lag(smart_9_raw) over (partition by serial_number order by date)"
    assert rows(con, f"select distinct step from (select {step} as step from disk) where step is not null") == [(24,)]


def test_counters_hardly_ever_change(con: duckdb.DuckDBPyConnection) -> None:
    """Reallocated sectors change on under 1 % of drive-days."""
    step = "smart_5_raw <> lag(smart_5_raw) over (partition by serial_number order by date)"
    share = rows(con, f"select avg(step::int) from (select {step} as step from disk)")[0][0]
    assert 0 < share < 0.01


def test_about_a_third_of_failures_are_silent(con: duckdb.DuckDBPyConnection) -> None:
    """The share of failures without precursor is the share asked for, within chance."""
    share, count = rows(con, "select avg((precursor is null)::int), count(*) from truth where component = 'disk'")[0]
    assert count > 150
    assert abs(share - SPEC.silent_share) < 0.12


def test_the_planted_signal_rises_before_every_announced_drive_failure(con: duckdb.DuckDBPyConnection) -> None:
    """The first signal is higher on the day before the failure than before its precursor began."""
    long = "unpivot disk on columns('smart_.*_raw') into name signal value reading"
    query = f"""
        with long as ({long}), announced as (
            select entity_id, signals[1] as signal, precursor_from::date as begins, failed_at::date as fails
            from truth where component = 'disk' and precursor is not null
              and precursor_from > timestamptz '{SPEC.start_at + timedelta(days=1)}'
              and failed_at < timestamptz '{SPEC.start_at + timedelta(days=SPEC.days)}'
              and failed_at::date - precursor_from::date >= 3
        )
        select count(*), sum((max_after > max_before)::int) from (
            select entity_id,
                   max(reading) filter (date < begins) as max_before,
                   max(reading) filter (date between begins and fails - 1) as max_after
            from announced a join long l on l.serial_number = a.entity_id and l.signal = a.signal
            group by 1
        )
    """
    announced, risen = rows(con, query)[0]
    assert announced > 40
    assert risen == announced


def test_healthy_drives_hold_bait(con: duckdb.DuckDBPyConnection) -> None:
    """Some drives that never fail have non-zero counts, so a rule on levels raises false alarms."""
    query = """
        select avg(bait::int) from (
            select serial_number, max(smart_5_raw + smart_197_raw) > 0 as bait, max(failure) as failed
            from disk group by 1
        ) where failed = 0 and serial_number not in (select entity_id from truth)
    """
    assert 0.02 < rows(con, query)[0][0] < 0.2


def test_flawed_drive_model_fails_several_times_as_often(fleet: Fleet, con: duckdb.DuckDBPyConnection) -> None:
    """The flawed model's failures per drive-day are at least twice those of all others."""
    flawed = next(m.model for m in DRIVE_MODELS if m.flawed)
    rate = dict(rows(con, f"select model = '{flawed}', sum(failure) / count(*) from disk group by 1"))
    assert rate[True] > 2 * rate[False]


def test_families_report_their_own_attributes(con: duckdb.DuckDBPyConnection) -> None:
    """Attribute 187 is null on some models and 196 on the others, never both present."""
    query = "select 1 from disk where (smart_187_raw is null) = (smart_196_raw is null)"
    assert rows(con, query) == []


def test_events_and_failures_follow_the_contracts(out: tuple[Path, Written]) -> None:
    """Files of events and failures have the contracts' schemas, on quiet days too."""
    for name, schema in (("events", EVENTS), ("failures", FAILURES)):
        files = sorted((out[0] / "telemetry" / name).iterdir())
        assert len(files) == 90
        assert all(pq.read_schema(file).equals(schema) for file in files)


def test_events_arrive_at_the_end_of_their_day(con: duckdb.DuckDBPyConnection) -> None:
    """Events and failures are ingested at the next midnight after they were observed."""
    late = "ingested_at <> date_trunc('day', {0}) + interval 1 day"
    assert rows(con, f"select 1 from events where {late.format('observed_at')}") == []
    assert rows(con, f"select 1 from failures where {late.format('failed_at')}") == []


def test_nothing_is_observed_of_a_part_after_it_failed(con: duckdb.DuckDBPyConnection) -> None:
    """No event is later than its part's failure."""
    assert (
        rows(con, "select 1 from events join truth using (component, entity_id) where observed_at >= failed_at") == []
    )


def test_storms_come_before_announced_memory_failures(con: duckdb.DuckDBPyConnection) -> None:
    """A DIMM with a planted fault sees far more corrected errors than one without."""
    query = f"""
        select precursor is not null as announced, avg(events) from (
            select t.precursor, count(e.kind) as events
            from truth t left join events e using (component, entity_id)
            where component = 'memory' and t.failed_at < timestamptz '{SPEC.start_at + timedelta(days=SPEC.days)}'
            group by t.entity_id, t.precursor
        ) group by 1
    """
    found = dict(rows(con, query))
    assert found[True] > 20
    assert found.get(False, 0) == 0


def test_errors_before_a_memory_failure_share_what_its_fault_mode_shares(con: duckdb.DuckDBPyConnection) -> None:
    """One cell, one row, one column, one bank, one device or one rank: that is constant, and the rest differs."""
    parts = ("rank", "device", "bank_group", "bank", "row", "column")
    counted = ", ".join(f"count(distinct detail ->> '$.{part}')" for part in parts)
    query = f"""
        select precursor, {counted} from truth join events using (component, entity_id)
        where component = 'memory' group by precursor, entity_id having count(*) > 20
    """
    varies = {
        "cell": "", "row": "column", "column": "row", "bank": "row column", "device": "bank_group bank row column",
        "rank": "device bank_group bank row column",
    }  # fmt: skip
    found = rows(con, query)
    assert {mode for mode, *_ in found} == set(varies)
    for mode, *distinct in found:
        assert [part for part, count in zip(parts, distinct, strict=True) if count > 1] == [
            part for part in parts if part in varies[mode].split()
        ]


def test_bursts_get_riskier_towards_a_memory_failure(con: duckdb.DuckDBPyConnection) -> None:
    """Several pins and beats are wrong at once more often in the last third of a fault than in its first third."""
    query = """
        select third, avg(((detail ->> '$.dqs')::int > 1 and (detail ->> '$.beats')::int > 1)::int) from (
            select detail, ntile(3) over (partition by entity_id order by observed_at) as third
            from truth join events using (component, entity_id)
            where component = 'memory' and truth.failed_at < timestamptz '2026-04-01'
        ) group by third
    """
    risky = dict(rows(con, query))
    assert risky[3] > 1.3 * risky[1] > 0


def test_most_dimms_with_errors_never_fail(con: duckdb.DuckDBPyConnection) -> None:
    """Harmless errors are on one to fifteen per cent of all DIMMs, storms among them, and mostly in one cell."""
    noisy = """
        select entity_id, count(distinct detail ->> '$.row') as rows, sum(value) as errors from events
        anti join truth using (component, entity_id) where component = 'memory' group by entity_id
    """
    dimms, single, stormy = rows(
        con, f"select count(*), avg((rows = 1)::int), count(*) filter (errors > 100) from ({noisy})"
    )[0]
    assert 0.01 < dimms / (SPEC.hosts * SPEC.dimms_per_host) < 0.15
    assert single > 0.5
    assert stormy > 20


def test_telemetry_holds_no_ground_truth(out: tuple[Path, Written]) -> None:
    """No file under telemetry/ has a column that only the truth knows."""
    secret = {"precursor", "signals", "precursor_from", "replacement_id", "replaced_at", "host_id"}
    names = {name for file in (out[0] / "telemetry").rglob("*.parquet") for name in pq.read_schema(file).names}
    assert names & secret == set()


def test_writing_again_writes_the_same(fleet: Fleet, out: tuple[Path, Written], tmp_path: Path) -> None:
    """The same fleet leaves the same telemetry and truth."""
    write(fleet, tmp_path)
    for name in ("telemetry/disk/2026-02-01", "telemetry/events/2026-02-01", "truth", "inventory/vms"):
        assert pq.read_table(tmp_path / f"{name}.parquet").equals(pq.read_table(out[0] / f"{name}.parquet"))
