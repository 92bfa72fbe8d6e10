"""A simulated fleet is taken in with its inventory on the way, so that the past knows who sat where."""

from datetime import timedelta
from pathlib import Path

import pytest

from data.simulator.fleet import FleetSpec
from data.simulator.world import World
from data.snapshots import read
from features import build
from pipelines.clock import end_of
from pipelines.executors.opened import world_path
from pipelines.settings import Settings
from pipelines.steps import simulate, world
from pipelines.steps.world import BATCH_DAYS, ingest_world

SPEC = FleetSpec(hosts=12, vms=40, days=70, acceleration=200, disks_per_host=1, dimms_per_host=4, gpus_per_host=0)
LAST = SPEC.start + timedelta(days=SPEC.days - 1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a small fleet of which nothing is ingested."""
    made = Settings().model_copy(update={"home": tmp_path, "sources": ()})
    simulate.fleet(made, SPEC)
    return made


def pictures(settings: Settings) -> list[object]:
    """The moments of which an inventory was taken in."""
    with read(settings.home) as con:
        rows = con.execute(
            "select ingested_at from ingest_file where file = 'inventory' order by ingested_at"
        ).fetchall()
    return [at for (at,) in rows]


def test_entities_sit_in_hosts_from_the_first_day_on(settings: Settings) -> None:
    """The first day's inventory goes in first, then one after each batch of days, and one at the moment asked."""
    ingest_world(settings, end_of(LAST))
    batches = [SPEC.start_at + timedelta(days=BATCH_DAYS * n) for n in (0, 1, 2)]
    assert pictures(settings) == [*batches, end_of(LAST)]
    with read(settings.home) as con:
        rows = build.spine(con, "memory", [SPEC.start + timedelta(days=9)])
        assert rows.num_rows > 0.8 * SPEC.hosts * SPEC.dimms_per_host
        later = con.execute("select count(distinct valid_from) from entity_host").fetchall()
    assert later[0][0] > 1


def test_ingesting_again_takes_no_picture_twice(settings: Settings) -> None:
    """A repeat, and a repeat of an earlier moment, change nothing."""
    ingest_world(settings, end_of(LAST))
    before = pictures(settings)
    assert ingest_world(settings, end_of(LAST)).rows_loaded == 0
    ingest_world(settings, end_of(SPEC.start))
    assert pictures(settings) == before


def test_a_picture_that_was_missed_is_taken_by_the_next_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run that dies between a batch and its picture is made good: who sat where is as if it had not died."""
    calm = Settings().model_copy(update={"home": tmp_path_factory.mktemp("calm"), "sources": ()})
    simulate.fleet(calm, SPEC)
    ingest_world(calm, end_of(LAST))
    real, calls = world._take_picture, [0]

    def dying(*args: object) -> None:
        calls[0] += 1
        if calls[0] == 2:
            msg = "killed"
            raise KeyboardInterrupt(msg)
        real(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(world, "_take_picture", dying)
        with pytest.raises(KeyboardInterrupt):
            ingest_world(settings, end_of(LAST))
    with World.open(world_path(settings)) as stands:
        assert stands.now == SPEC.start_at + timedelta(days=BATCH_DAYS)
    ingest_world(settings, end_of(LAST))
    columns = "entity_id, host_id, valid_from, valid_until"
    query = f"select {columns} from entity_host join entity using (entity_key) order by all"
    found = []
    for each in (calm, settings):
        with read(each.home) as con:
            found.append(con.execute(query).fetchall())
    assert found[0] == found[1]
    assert pictures(calm) == pictures(settings)
