"""A home as large as a fleet gets, to measure pages on: by SQL into the warehouse, by the ledger's own words into it.

The fleet is simulated and the same for the same `Size` and day; nothing is drawn, all is worked out from numbers. Its
hosts are not marked as simulated, so that pages go by the wall's clock, as those of a real fleet do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import update

from data.catalog import catalog
from data.warehouse import Warehouse
from decisions.domain import (
    Action,
    Answer,
    Autonomy,
    EntityRisk,
    Factor,
    HostRisk,
    Order,
    OrderState,
    Price,
    Proposal,
    Step,
    Verdict,
    VmOutcome,
    VmPlan,
)
from decisions.incidents.values import Factor as Cause
from decisions.incidents.values import Incident, Kind, Stance
from decisions.ledger import orders, record
from decisions.ledger import schema as tables
from decisions.ledger.store import open_engine, writing
from models.earned import Earned

GIB: Final = 1024**3
VMS: Final = 10
"""On each host."""
DRIVES: Final = 3
"""In each host."""
MODEL: Final = "disk-4"
FEATURES: Final = (
    ("smart_197_rise_7d", 8.0, 1.84),
    ("smart_187", 2.0, 0.72),
    ("smart_5_days_since_change", 3.0, 0.41),
    ("smart_194", 38.0, 0.2),
    ("power_on_days", 1533.0, -0.22),
)


@dataclass(frozen=True)
class Size:
    """How large the home is."""

    hosts: int = 100_000
    days: int = 90
    """Of readings and risks."""
    nights: int = 365
    """Of cycles with their orders, outcomes and history."""
    a_night: int = 300
    """Proposals of each night but the last."""
    open: int = 5_000
    """Proposals of the last night; about one in twenty has an order under way."""


def midnight() -> datetime:
    """The last midnight UTC, which the newest cycle asks about."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def build(home: Path, size: Size, asof: datetime) -> None:
    """Make the home."""
    home.mkdir(parents=True, exist_ok=True)
    fill_warehouse(home, size, asof)
    fill_ledger(home, size, asof)


def host(n: int) -> str:
    """The name of a host."""
    return f"h{n:06d}"


def proposal_id(night: int, rank: int) -> str:
    """The name of a proposal; the last night is night 0, and nights below are cycles that come after."""
    return f"proposal-{night}-{rank}"


def fill_warehouse(home: Path, size: Size, asof: datetime) -> None:
    """Inventory, readings, risks and failures."""
    drives = size.hosts * DRIVES
    told = {"drives": drives, "hosts": size.hosts, "vms": size.hosts * VMS, "from": asof - timedelta(days=400)}
    with Warehouse.open(home) as warehouse, warehouse.transaction() as con:
        for statement in _FLEET:
            con.execute(statement, {name: value for name, value in told.items() if f"${name}" in statement})
        for table in ("disk_superseded", "disk_current"):
            con.execute(_changes(table), {"drives": drives, "day": (asof - timedelta(days=200)).date()})
        for back in range(size.days):
            at = asof - timedelta(days=back)
            con.execute(_DAY, {"day": (at - timedelta(days=1)).date(), "at": at, "drives": drives})
            con.execute(_RISKS, {"at": at, "drives": drives, "back": back})
        con.execute(_FAILURES, {"drives": drives, "asof": asof})
        con.execute(_FILES, {"asof": asof})
    with Warehouse.open(home) as warehouse:
        warehouse.publish()


_FLEET: Final = (
    """insert into host select 'h' || lpad(n::varchar, 6, '0'), 'c' || (n // 200), 'z' || (n % 10), 'r' || (n // 40),
       n % 3, 'gen' || (n % 6), 'f' || (n % 8), 64, 549755813888,
       case when n % 200 = 0 then 'blocked' else 'in_service' end, false, $from, null,
       'feed' || (n // 400), 'switch' || (n // 80), null, null from range($hosts) t (n)""",
    """insert into vm select 'v' || lpad(n::varchar, 7, '0'), 'h' || lpad((n // 10)::varchar, 6, '0'),
       'owner' || (n % 3000), 'D', 4, 17179869184, 20000000,
       case when n % 10 = 0 then 'set' || (n // 100) end, n % 10 <> 9, false, $from, null from range($vms) t (n)""",
    """insert into entity select n, 'disk', 'd' || n, 'M' || (n % 20), 4000000000000, null, $from::date, 'x', false
       from range($drives) t (n)""",
    """insert into entity_host select n, 'h' || lpad((n // 3)::varchar, 6, '0'), false, $from, null, true
       from range($drives) t (n)""",
)
_DAY: Final = """insert into disk_day (day, entity_key, ingested_at, smart_9_raw, smart_194_raw, smart_241_raw)
    select $day, n, $at, 20000 + n % 9000, 30 + (n + ($day::date - date '2020-01-01')) % 7, n * 1000
    from range($drives) t (n)"""
_RISKS: Final = """insert into risk
    select $at, n, 'disk', 'disk-4', 'ok', null, r / 20, r / 8, r / 3, r, least(r * 1.4, 0.99),
           case when $back = 0 and r > 0.2 then '[{"feature": "smart_197_rise_7d", "value": 8.0, "contribution": 1.84}]'
           end
    from (select n, (((n * 7919) % 1000) / 1000.0) ** 8 * (1 - 0.5 * ((n + $back) % 7) / 7) as r
          from range($drives) t (n))"""
_FAILURES: Final = """insert into failure
    select (n * 29 + 7) % $drives, $asof - to_hours(n::int * 3), $asof - to_hours(n::int * 3), 'failed', 'x'
    from range(2900) t (n)"""
_FILES: Final = """insert into ingest_file
    select $asof - to_days((n // 4)::int), 's' || (n % 4), 'f' || n, 300000, 300000, 0, 0 from range(1460) t (n)"""


def _changes(table: str) -> str:
    """A row of counters for each drive, as `data.readings` would have left it: its first one, or one 100 days later."""
    k = int(table == "disk_current")
    named = {"entity_key": "n", "version": "0", "from_day": f"$day + {k * 100}", "first_day": "$day"}
    for counter in catalog("disk").counters:
        named |= {f"{counter}_raw": f"if(n % 20 = 0, {k * 8}, 0)", f"{counter}_changes": f"if(n % 20 = 0, {k}, 0)::int"}
        named |= {f"{counter}_max_rise": f"if(n % 20 = 0, {k * 8}, 0)"}
    if not k:
        named |= {"until_day": "$day + 100"}
    told = ", ".join(f"{value} as {name}" for name, value in named.items())
    return f"insert into {table} by name select {told} from range($drives) t (n) order by n"  # noqa: S608


def fill_ledger(home: Path, size: Size, asof: datetime) -> None:
    """Every night as its cycle and the executor would have written it, the oldest first."""
    engine = open_engine(f"sqlite:///{(home / 'ledger.db').absolute()}")
    for night in range(size.nights - 1, -1, -1):
        at = asof - timedelta(days=night)
        with writing(engine) as con:
            record.record(con, verdict(size, night, at), at + timedelta(minutes=30))
            for answer in _answers(orders.lease(con, at + timedelta(hours=1), size.open, 60), night, at):
                orders.apply(con, answer)
    with writing(engine) as con:
        spell = tables.episode.c
        over = update(tables.episode).where(spell.opened_at < asof - timedelta(days=30))
        con.execute(over.values(closed_at=asof - timedelta(days=1), why="mitigated"))
    engine.dispose()


def _answers(taken: Sequence[Order], night: int, at: datetime) -> Iterator[Answer]:
    """What the executor says: all is done, but of the last night three orders in four are to come."""
    for n, order in enumerate(taken):
        done = at + timedelta(hours=2, seconds=n)
        if night <= 0 and n % 4:
            yield Answer(order.order_id, (OrderState.ACCEPTED, OrderState.STARTED, OrderState.ACCEPTED)[n % 3], done)
            continue
        fates = (VmOutcome(plan.vm_id, "moved", plan.target_host_id, 1.2, interrupted=False) for plan in order.vms)
        yield Answer(order.order_id, OrderState.COMPLETED, done, None, tuple(fates), "empty")


def verdict(size: Size, night: int, at: datetime) -> Verdict:
    """What the cycle of a night decided."""
    count = size.open if night <= 0 else size.a_night
    picked = [proposal(size, night, rank, at) for rank in range(count)]
    causes = tuple(_incident(size, n, picked, at) for n in range(3)) if night <= 0 else ()
    return Verdict(at, "policy-1", MODEL, tuple(picked), {"earned_precision": count // 3}, (), causes)


def proposal(size: Size, night: int, rank: int, at: datetime) -> Proposal:
    """A proposal; most of the last night wait for a person, one in five of the others is carried out."""
    n = (night * 311 + rank * 17) % size.hosts
    name, waits = host(n), night <= 0 and rank % 20
    drives = [_drive(n, k, at) for k in range(DRIVES)]
    action, autonomy = Action.LIVE_MIGRATE, Autonomy.APPROVE
    if not waits:
        autonomy = Autonomy.AUTO if night <= 0 or rank % 5 == 0 else Autonomy.PROPOSE
        action = action if autonomy is Autonomy.AUTO else Action.MONITOR
    plans = tuple(
        VmPlan(f"v{n * VMS + k:07d}", Action.LIVE_MIGRATE, host((n + 50_000 + k) % size.hosts), 14.0 + 9 * k)
        for k in range(VMS if action is Action.LIVE_MIGRATE else 0)
    )
    return Proposal(
        proposal_id=proposal_id(night, rank),
        asof_at=at,
        host_id=name,
        action=action,
        autonomy=autonomy,
        expires_at=at + timedelta(hours=30),
        not_before=at + timedelta(hours=26, minutes=rank % 240),
        risk=HostRisk(name, at, drives[0].curve, tuple(drives)),
        prices=_PRICES,
        vms=plans,
        reasons=(f"Host {name} fails within 14 days with a chance of 31%; it runs {VMS} VMs.",),
        blocked=("earned_precision: risks like this one come true in at least 12.0% of cases (lower bound)",),
        policy_version="policy-1",
        model_version=MODEL,
        steps=(
            Step(action, at + timedelta(hours=26), VMS, "once approved"),
            Step(Action.DECOMMISSION, None, 0, "empty"),
        ),
        pool=f"c{n // 200}",
        earned=(Earned(0.3, 0.56, 0.43, 0.69, 50, 20, 6, 16),),
        incident_id=f"incident-{rank % 3}" if night <= 0 and rank % 4 == 1 else None,
    )


_COSTS: Final = {
    Action.MONITOR: 9.8,
    Action.BLOCK_PLACEMENTS: 8.8,
    Action.INVESTIGATE: 5.4,
    Action.LIVE_MIGRATE: 0.42,
    Action.EVACUATE: 0.4,
}
_PRICES: Final = tuple(
    Price(action, at, at * 0.7, at * 0.2, at * 0.1, 0.0, "earned_precision" if action is Action.EVACUATE else None)
    for action, at in _COSTS.items()
)


def _drive(n: int, k: int, at: datetime) -> EntityRisk:
    risk = 0.31 / (1 + 4 * k)
    curve = {1: risk / 8, 3: risk / 4, 7: risk / 1.7, 14: risk, 30: risk * 1.4}
    factors = tuple(Factor(*each) for each in FEATURES)
    key = n * DRIVES + k
    return EntityRisk(f"d{key}", "disk", host(n), at, MODEL, "ok", None, curve, factors, f"M{key % 20}")


def _incident(size: Size, n: int, picked: Sequence[Proposal], at: datetime) -> Incident:
    """What the hosts of every twelfth proposal have in common."""
    name = f"incident-{n}"
    mine = [each for each in picked if each.incident_id == name]
    parts, began = tuple(each.risk.entities[0].entity_id for each in mine), at - timedelta(days=9)
    leading = Cause(
        (("power_feed", f"feed{n}"),), f"power feed feed{n}", Stance.LEADING, len(parts), len(parts) * 2, 900, 290_000,
        12.0, 21.0, 14.0, 30.0, 0.0001, None, None, began, began, at, f"power feed feed{n}: {len(parts):,} parts",
    )  # fmt: skip
    besides = replace(leading, shared=(("firmware", "f3"),), named="firmware f3", stance=Stance.EXPLAINED)
    stake = tuple(host(each) for each in range(n * 400, min(n * 400 + 400, size.hosts)))
    return Incident(
        name, Kind.FACILITY, ("disk",), (leading, besides), began, at, tuple(each.host_id for each in mine), parts,
        (), stake, 400, leading.sentence,
    )  # fmt: skip
