"""A night to look at: a small simulated fleet, one cycle with a proposal of every kind, and what became of some."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from dashboards.app import create_app
from dashboards.pictures import CHROMIUM, browser
from data.contracts import ENTITIES, HOSTS, VMS
from data.snapshots import PUBLISHED
from data.warehouse import Warehouse
from decisions.domain import (
    Action,
    Answer,
    Autonomy,
    Breaker,
    EntityRisk,
    Factor,
    HostRisk,
    OrderState,
    Price,
    Proposal,
    Verdict,
    VmOutcome,
    VmPlan,
)
from decisions.incidents.values import Incident
from decisions.ledger import Ledger
from decisions.ledger.moving import take_over
from models.earned import Earned
from tests.decisions.populations import feed_incident
from tests.postgres import ON_POSTGRESQL, Postgres

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ASOF = datetime(2026, 3, 3, tzinfo=UTC)
GIB = 1024**3
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
BASE = "http://127.0.0.1"


@dataclass(frozen=True)
class Night:
    """Where a night is kept."""

    home: Path
    elsewhere: str = ""
    """The URL of a ledger that is not in the home."""

    @property
    def url(self) -> str:
        """The ledger's URL."""
        return self.elsewhere or f"sqlite:///{self.home / 'ledger.db'}"

    def ledger(self) -> Ledger:
        """The ledger, to write in."""
        return Ledger(self.url)

    def client(self, at: datetime | None = None) -> TestClient:
        """A browser without a screen; at that moment, where one is given."""
        clock = (lambda: at) if at is not None else None
        return TestClient(create_app(self.home, self.url, clock=clock), base_url=BASE)


def drive(serial: str, risk_14d: float, *, host: str, model: str = "ST4000DM000") -> EntityRisk:
    """A drive whose pending sectors have grown."""
    factors = (
        Factor("smart_197_rise_7d", 8.0, 1.84),
        Factor("smart_187", 2.0, 0.72),
        Factor("smart_5_days_since_change", 3.0, 0.41),
        Factor("power_on_days", 1533.0, -0.22),
        Factor("smart_198_rise_90d", None, -0.05),
    )
    curve = {1: risk_14d / 8, 3: risk_14d / 4, 7: risk_14d / 1.7, 14: risk_14d, 30: min(0.97, risk_14d * 1.4)}
    return EntityRisk(serial, "disk", host, ASOF, "disk-4", "ok", None, curve, factors, model)


def unscored(serial: str, *, host: str) -> EntityRisk:
    """A drive of which too little is known."""
    return EntityRisk(serial, "disk", host, ASOF, "disk-4", "unknown", "too little history", {}, (), "WD40EFRX")


def prices(chosen: float, waiting: float, forbidden: str | None = "earned_precision") -> tuple[Price, ...]:
    """What five actions cost; what forbids the evacuation, the cheapest of them."""
    return (
        Price(Action.MONITOR, waiting, waiting, 0.0, 0.0),
        Price(Action.BLOCK_PLACEMENTS, waiting * 0.9, waiting * 0.9 - 0.02, 0.0, 0.0, 0.02),
        Price(Action.INVESTIGATE, waiting * 0.55, waiting * 0.55 - 0.3, 0.0, 0.0, 0.3),
        Price(Action.LIVE_MIGRATE, chosen, chosen - 0.04, 0.0, 0.02, 0.02),
        Price(Action.EVACUATE, chosen * 0.8, 0.1, chosen * 0.8 - 0.14, 0.02, 0.02, forbidden),
    )


def proposal(host: str, action: Action, autonomy: Autonomy, **changes: object) -> Proposal:
    """A proposal about the host's only drive, with a plan for each VM where the action moves VMs."""
    moves = action in {Action.LIVE_MIGRATE, Action.EVACUATE}
    plans = [VmPlan(f"{host}-vm{n}", Action.LIVE_MIGRATE, f"r20-{n:02d}", 14.0 + 9 * n) for n in range(1, 10)]
    last = VmPlan(f"{host}-vm10", Action.EVACUATE if action is Action.EVACUATE else Action.MONITOR, None, 0.0)
    if action is Action.EVACUATE:
        last = replace(last, target_host_id="r20-11", seconds=120.0)
    carrier = drive(f"Z3-{host}", 0.31, host=host)
    plain = Proposal(
        proposal_id=f"id-{host}",
        asof_at=ASOF,
        host_id=host,
        action=action,
        autonomy=autonomy,
        expires_at=ASOF + timedelta(hours=30),
        not_before=ASOF + timedelta(hours=4) if moves else ASOF,
        risk=HostRisk(host, ASOF, carrier.curve, (carrier,)),
        prices=prices(0.42, 9.8, None if action is Action.EVACUATE else "earned_precision"),
        vms=(*plans, last) if moves else (),
        reasons=(f"Host {host} fails within 14 days with a chance of 31%; it runs 10 VMs.",),
        blocked=("earned_precision: risks like this one come true in at least 12.0% of cases (lower bound)",)
        if action is Action.LIVE_MIGRATE
        else (),
        policy_version="policy-7",
        model_version="disk-4",
        simulated=True,
        earned=(Earned(0.3, 0.56, 0.43, 0.69, 50, 20, 6, 16),),
    )
    return replace(plain, **changes)


@cache
def verdict() -> Verdict:
    """One proposal of every kind, and an open breaker."""
    auto, ask, show = Autonomy.AUTO, Autonomy.APPROVE, Autonomy.PROPOSE
    script = drive(SCRIPT, 0.44, host="r12-07", model=SCRIPT)
    unknown = unscored("WD-9", host="r09-01")
    proposals = (
        proposal(
            "r12-07",
            Action.EVACUATE,
            ask,
            risk=HostRisk("r12-07", ASOF, script.curve, (script,)),
            reasons=(SCRIPT,),
            blocked=(f"earned_precision: {SCRIPT}",),
        ),
        proposal("r12-08", Action.EVACUATE, ask, incident_id=feed_incident().incident_id),
        proposal("r04-11", Action.LIVE_MIGRATE, auto),
        proposal("r05-02", Action.LIVE_MIGRATE, auto),
        proposal("r06-03", Action.LIVE_MIGRATE, auto),
        proposal("r07-04", Action.LIVE_MIGRATE, auto),
        proposal("r08-05", Action.BLOCK_PLACEMENTS, auto),
        proposal("r10-02", Action.MONITOR, auto, prices=prices(2.0, 0.2)),
        proposal(
            "r09-01",
            Action.INVESTIGATE,
            show,
            risk=HostRisk("r09-01", ASOF, {}, (), (unknown,)),
            prices=(),
            blocked=("unknown_risk: the host's risk is unknown (disk WD-9: too little history)",),
        ),
    )
    sentence = "rack r12: 3 of 12 hosts would be emptied within 24 h, and policy allows 2; look for power or cooling"
    return Verdict(
        ASOF,
        "policy-7",
        "disk-4",
        proposals,
        {"earned_precision": 6, "breaker": 1},
        (Breaker("rack r12", 3, 12, 2, sentence),),
        (hostile_incident(),),
    )


def hostile_incident() -> Incident:
    """A real incident whose power feed is called what no feed should be called."""
    plain = feed_incident()
    leading = replace(plain.leading, named=f"power feed {SCRIPT}", sentence=f"power feed {SCRIPT}: 20 of 80 parts")
    return replace(plain, factors=(leading, *plain.factors[1:]), hosts_affected=(SCRIPT, "r12-07"))


def _fleet(home: Path, hosts: list[str]) -> None:
    rows = [
        {
            "host_id": host,
            "cluster": "c1",
            "zone": "z1",
            "rack": host[:3],
            "fault_domain": 0,
            "hardware_model": "HX-2",
            "firmware": "1.4",
            "vcpus": 64,
            "memory_bytes": 256 * GIB,
            "state": "in_service",
            "simulated": True,
        }
        for host in hosts
    ]
    vms = [
        {
            "vm_id": f"{host}-vm{n}",
            "host_id": host,
            "owner": SCRIPT if f"{host}{n}" == "r12-071" else f"team-{n % 3}",
            "series": "G" if n == 10 else "D",
            "vcpus": 4,
            "memory_bytes": 16 * GIB,
            "dirty_bytes_per_second": 20_000_000,
            "availability_set": None,
            "live_migratable": n != 10,
            "simulated": True,
        }
        for host in hosts
        for n in range(1, 11)
    ]
    drives = [
        {
            "component": "disk",
            "entity_id": f"Z3-{host}",
            "model": "ST4000DM000",
            "capacity_bytes": 4 * 10**12,
            "firmware": None,
            "host_id": host,
            "simulated": True,
        }
        for host in hosts
    ]
    tables = [pa.Table.from_pylist(rows, schema) for rows, schema in ((rows, HOSTS), (vms, VMS), (drives, ENTITIES))]
    with Warehouse.open(home) as warehouse:
        warehouse.put_inventory(*tables, ASOF - timedelta(days=30))
        day = (ASOF - timedelta(days=1)).date()
        warehouse.con.execute("insert into disk_day (day, entity_key, ingested_at) values (?, 1, ?)", [day, ASOF])
        warehouse.publish()


def _answers(ledger: Ledger) -> None:
    """One order is sent, one completes, one fails; the block is done at once."""
    orders = {listed.order.host_id: listed.order for listed in ledger.orders()}
    ledger.lease(ASOF, 10, 60)
    for host in ("r05-02", "r06-03", "r07-04", "r08-05"):
        ledger.mark_sent(orders[host].order_id, ASOF)
    done = tuple(
        VmOutcome(plan.vm_id, "moved" if plan.target_host_id else "stayed", plan.target_host_id, 1.2, interrupted=False)
        for plan in orders["r06-03"].vms
    )
    lost = VmOutcome("r07-04-vm1", "failed", None, 0.0, interrupted=True)
    at = ASOF + timedelta(minutes=40)
    ledger.apply(Answer(orders["r05-02"].order_id, OrderState.ACCEPTED, at))
    ledger.apply(Answer(orders["r06-03"].order_id, OrderState.COMPLETED, at, None, done))
    ledger.apply(Answer(orders["r07-04"].order_id, OrderState.FAILED, at, "target r20-01 is out of memory", (lost,)))
    ledger.apply(Answer(orders["r08-05"].order_id, OrderState.COMPLETED, at))


def make_night(home: Path) -> Night:
    """The night, made in `home`."""
    told = verdict()
    _fleet(home, [each.host_id for each in told.proposals])
    night = Night(home)
    with night.ledger() as ledger:
        ledger.record(told, ASOF)
        _answers(ledger)
    return night


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The night, made once: for tests that only read."""
    return make_night(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="session")
def made_on_postgres(made: Night, postgres: Postgres, empty_ledger: str) -> Night:
    """The same night with its ledger taken over into PostgreSQL, to copy."""
    night = replace(made, elsewhere=postgres.copy(empty_ledger))
    take_over(made.url, night.url)
    return night


@pytest.fixture
def night(made: Night, home: Path) -> Night:
    """A copy of the night, for tests that write."""
    return copied(made, home)


def copied(made: Night, home: Path) -> Night:
    """A copy of the night in `home`."""
    home.mkdir()
    for name in ("ledger.db", PUBLISHED):
        shutil.copyfile(made.home / name, home / name)
    return Night(home)


@pytest.fixture(params=["sqlite", ON_POSTGRESQL])
def night_on_each(request: pytest.FixtureRequest, made: Night, home: Path) -> Iterator[Night]:
    """A copy of the night with its ledger on each of the databases that can hold one."""
    night = copied(made, home)
    if request.param == "sqlite":
        yield night
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.copy(request.getfixturevalue("made_on_postgres").url)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FORESHOCK__LEDGER__URL", url)
        yield replace(night, elsewhere=url)
    postgres.drop(url)


@pytest.fixture(scope="session")
def client(made: Night) -> Iterator[TestClient]:
    """A browser without a screen on the night that was made once."""
    with made.client() as client:
        yield client


@pytest.fixture(scope="module")
def opened() -> "Iterator[Browser]":
    """A real browser; skips the test, saying so, where it is not installed."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium to run this")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with browser() as found:
        yield found
