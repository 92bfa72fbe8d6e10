"""A simulated fleet of DIMMs in two worlds: one that nobody touches, and one whose riskiest hosts are emptied.

In the second all parts of an emptied host rest: for thirty days nothing is heard of them, and whatever would have
failed does not. Then the part that was called, and those that would have failed at rest, are taken out; the others go
on. So no failure that was called in time is ever seen: the worst case for whoever learns from that record.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.contracts import HORIZON_DAYS, STAYS
from data.simulator.events import events
from data.simulator.fleet import FleetSpec, plan
from data.simulator.parts import of_component
from data.simulator.truth import failures
from data.warehouse import Warehouse
from features import build
from models.examples import Floats, Ints, asof_microseconds, keys
from models.predictor import Predictor
from models.score import hosts
from models.windows import end_of

if TYPE_CHECKING:
    import duckdb

Texts = npt.NDArray[np.object_]

COMPONENT: Final = "memory"
START: Final = date(2026, 1, 1)
REST_DAYS: Final = 30
STARTS_AFTER: Final = timedelta(hours=2)
"""From asking, at the end of a day, to emptying."""
DIMMS_PER_HOST: Final = 8
DAYS_AT_ONCE: Final = 40


@dataclass(frozen=True)
class Mitigation:
    """A host that was emptied for one of its parts, and what had been told of all of them."""

    host_id: str
    entity_key: int
    asked_at: datetime
    told: dict[int, list[float]]
    """Risks within each horizon by entity."""

    @property
    def started_at(self) -> datetime:
        """When its VMs began to leave."""
        return self.asked_at + STARTS_AFTER


def untouched(home: Path, hosts_: int, days: int, seed: int, acceleration: float) -> Path:
    """Return `home` with the warehouse of a fleet that nobody touches: DIMMs, their errors and every failure."""
    spec = FleetSpec(
        hosts=hosts_, vms=hosts_, days=days, start=START, seed=seed, acceleration=acceleration,
        dimms_per_host=DIMMS_PER_HOST, disks_per_host=1,
    )  # fmt: skip
    fleet = plan(spec)
    truth = failures(fleet)
    parts = of_component(fleet.entities, COMPONENT)
    stays = parts.select(["component", "entity_id", "model", "host_id"])
    began = pa.array([spec.start_at - timedelta(days=30)] * parts.num_rows, STAYS.field("valid_from").type)
    stays = stays.append_column("valid_from", began)
    stays = stays.append_column("valid_until", pa.nulls(parts.num_rows, began.type))
    dying = of_component(truth, COMPONENT)
    dying = dying.append_column("ingested_at", dying["failed_at"])
    home.mkdir(parents=True, exist_ok=True)
    with Warehouse.open(home) as warehouse:
        warehouse.put_stays(stays)
        warehouse.put_events(of_component(events(fleet, truth), COMPONENT))
        warehouse.put_failures(dying)
    return home


@dataclass(frozen=True)
class Asked:
    """What a model told of all parts on each day, if nobody acted on it."""

    at: tuple[datetime, ...]
    host: tuple[Texts, ...]
    entity: tuple[Ints, ...]
    risks: tuple[Floats, ...]


def ask(con: "duckdb.DuckDBPyConnection", predictor: Predictor, days: Sequence[date]) -> Asked:
    """Return what a model tells of the parts on record, each day at its end; unknown ones are left out."""
    at, host, entity, risks = [], [], [], []
    for first in range(0, len(days), DAYS_AT_ONCE):
        some = days[first : first + DAYS_AT_ONCE]
        frame = build.frame(con, COMPONENT, build.spine(con, COMPONENT, some))
        told, moment = predictor.predict(frame), asof_microseconds(frame)
        sited = np.asarray(hosts(con, frame).to_pylist(), dtype=object)
        for day in some:
            rows = np.flatnonzero((moment == round(end_of(day).timestamp() * 1_000_000)) & ~np.isnan(told[:, -1]))
            at.append(end_of(day))
            host.append(sited[rows])
            entity.append(keys(frame)[rows])
            risks.append(told[rows])
    return Asked(tuple(at), tuple(host), tuple(entity), tuple(risks))


def operate(asked: Asked, hosts_a_day: float) -> list[Mitigation]:
    """Return whom it empties: each day the hosts of the riskiest parts, as many as the budget allows.

    A fraction of a host is saved up. A host at rest, and a part that was called before, are not called again.
    """
    done: list[Mitigation] = []
    gone: set[int] = set()
    until: dict[str, datetime] = {}
    saved = 0.0
    for at, host, entity, risks in zip(asked.at, asked.host, asked.entity, asked.risks, strict=True):
        saved += hosts_a_day
        for row in np.argsort(-risks[:, -1], kind="stable").tolist():
            if saved < 1:
                break
            if entity[row] in gone or until.get(host[row], at) > at:
                continue
            same = np.flatnonzero(host == host[row]).tolist()
            told = {int(entity[one]): risks[one].tolist() for one in same if entity[one] not in gone}
            done.append(Mitigation(host[row], int(entity[row]), at, told))
            gone.add(int(entity[row]))
            until[host[row]] = at + timedelta(days=REST_DAYS)
            saved -= 1
    return done


def recorded(truth: Path, home: Path, mitigations: Sequence[Mitigation]) -> Path:
    """Return `home` with what is on record of the fleet in `truth` after some of its hosts were emptied."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(truth / "warehouse.duckdb", home / "warehouse.duckdb")
    called = [
        {"host_id": one.host_id, "entity_key": one.entity_key, "from_at": one.started_at,
         "until_at": one.started_at + timedelta(days=REST_DAYS)}
        for one in mitigations
    ]  # fmt: skip
    with Warehouse.open(home) as warehouse, warehouse.transaction() as con:
        con.register("calls", pa.Table.from_pylist(called))
        con.execute("create temp table called as select * from calls")
        con.execute(_REST)
        con.execute("drop table at_rest; drop table pulled; drop table called")
        con.unregister("calls")
        con.execute("delete from mitigation")
        for number, one in enumerate(mitigations):
            con.execute(
                "insert into mitigation values (?, ?, 'live_migrate', ?, ?)",
                [f"order-{number}", one.host_id, one.started_at, one.started_at + STARTS_AFTER],
            )
        con.execute("delete from risk")
        con.register("told", _told(mitigations))
        con.execute("insert into risk by name select * from told")
        con.unregister("told")
    return home


_REST: Final = """
create temp table at_rest as
select distinct entity_host.entity_key, from_at, until_at, entity_host.entity_key = called.entity_key as called
from called join entity_host using (host_id)
where from_at >= entity_host.valid_from and (entity_host.valid_until is null or from_at < entity_host.valid_until);

create temp table pulled as
select at_rest.entity_key, min(from_at) as from_at, min(until_at) as until_at
from at_rest
left join failure
  on failure.entity_key = at_rest.entity_key and failure.failed_at > from_at and failure.failed_at <= until_at
where at_rest.called or failure.failed_at is not null
group by at_rest.entity_key;

delete from event using at_rest
where event.entity_key = at_rest.entity_key and observed_at >= from_at and observed_at < until_at;
delete from memory_error using at_rest
where memory_error.entity_key = at_rest.entity_key and observed_at >= from_at and observed_at < until_at;
delete from event using pulled where event.entity_key = pulled.entity_key and observed_at >= from_at;
delete from memory_error using pulled where memory_error.entity_key = pulled.entity_key and observed_at >= from_at;
delete from failure using pulled where failure.entity_key = pulled.entity_key and failed_at > from_at;
update entity_host set valid_until = pulled.until_at from pulled
where pulled.entity_key = entity_host.entity_key and (valid_until is null or valid_until > pulled.until_at);
"""


def _told(mitigations: Sequence[Mitigation]) -> pa.Table:
    """Rows of the `risk` table: what was told of each part of an emptied host when it was last asked about."""
    rows = [
        {
            "asof_at": one.asked_at, "entity_key": key, "component": COMPONENT, "model_version": "1", "status": "ok",
            **{f"risk_{days}d": risk for days, risk in zip(HORIZON_DAYS, risks, strict=True)},
        }
        for one in mitigations
        for key, risks in one.told.items()
    ]  # fmt: skip
    stamp = pa.field("asof_at", pa.timestamp("us", tz="UTC"))
    kinds = {"entity_key": pa.int32(), "component": pa.string(), "model_version": pa.string(), "status": pa.string()}
    fields = [stamp, *(pa.field(name, kind) for name, kind in kinds.items())]
    return pa.Table.from_pylist(
        rows, pa.schema([*fields, *(pa.field(f"risk_{d}d", pa.float64()) for d in HORIZON_DAYS)])
    )


def days_of(first: int, last: int, every: int = 1) -> list[date]:
    """Return the days numbered from `first` to before `last`."""
    return [START + timedelta(days=number) for number in range(first, last, every)]
