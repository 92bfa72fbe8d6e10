"""A simulated home, night after night: what recovers is called back, and nothing old is replayed after a pause."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from data.contracts import HORIZON_DAYS
from data.simulator.fleet import FleetSpec
from data.snapshots import read
from decisions.domain import OrderState
from decisions.ledger import Ledger
from decisions.ledger.values import Standing
from pipelines.cli import main
from pipelines.clock import end_of
from pipelines.contract import signing
from pipelines.executors.opened import opened
from pipelines.settings import ClockSettings, ExecutorSettings, Settings, load
from pipelines.steps import simulate
from pipelines.steps.decide import DecideReport, decide
from pipelines.steps.dispatch import CalledBack, call_back, dispatch
from pipelines.steps.ingest import open_warehouse
from pipelines.steps.opt_out import opt_out
from pipelines.steps.world import ingest_world
from tests.decisions.fleets import SHAPE, earned

pytestmark = pytest.mark.slow

SPEC = FleetSpec(hosts=40, vms=160, days=20, acceleration=0.01, dimms_per_host=0, gpus_per_host=0, disks_per_host=2)
MIDNIGHT = end_of(SPEC.start + timedelta(days=9))
MORNING = MIDNIGHT + timedelta(hours=8)
DAY = timedelta(days=1)
MODEL = SimpleNamespace(version="1", earned=earned())
POLICY = """\
[breaker]
floor_hosts = 10
[windows]
from_hour_utc = 12
urgent_risk = 1.0
"""
"""Work starts from noon on, so that orders wait at the executor."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A small simulated fleet after ten days, in which nothing is at risk."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    (folder / "foreshock.toml").write_text('home = "."\n[policy]\npath = "policy.toml"\n', encoding="utf-8")
    monkeypatch.setenv("FORESHOCK_HOME", str(folder))
    settings = load(folder / "foreshock.toml")
    simulate.fleet(settings, SPEC)
    ingest_world(settings, MIDNIGHT)
    return settings


def hosts(settings: Settings) -> list[str]:
    """Hosts with VMs that can all move live, of different racks where possible."""
    query = """
        select host_id from host join vm using (host_id)
        where host.valid_until is null and vm.valid_until is null
        group by host_id having bool_and(vm.live_migratable) and max(dirty_bytes_per_second) < 100e6 order by 1"""
    with read(settings.home) as con:
        return [host for (host,) in con.execute(query).fetchall()]


def score(settings: Settings, asof_at: datetime, at_risk: Mapping[str, float]) -> None:
    """What a model would have written: every drive's risk, those of the hosts named as given."""
    with open_warehouse(settings) as warehouse:
        with warehouse.transaction() as con:
            sited = con.execute(
                "select entity_key, host_id from entity_host join entity using (entity_key) "
                "where valid_until is null and component = 'disk'"
            ).fetchall()
        rows = [
            {
                "asof_at": asof_at,
                "entity_key": key,
                "component": "disk",
                "model_version": MODEL.version,
                "status": "ok",
                "reason": None,
                "factors": None,
                **{f"risk_{d}d": at_risk.get(host, 0.0005) * SHAPE[d] for d in HORIZON_DAYS},
            }
            for key, host in sited
        ]
        warehouse.put_risks(pa.Table.from_pylist(rows))
        warehouse.publish()


def night(settings: Settings, asof_at: datetime, at_risk: Mapping[str, float]) -> DecideReport:
    """One night up to the hand-over."""
    ingest_world(settings, asof_at)
    score(settings, asof_at, at_risk)
    report = decide(settings, asof_at, {"disk": MODEL}, now=asof_at)  # type: ignore[dict-item]
    dispatch(settings, asof_at)
    return report


def states(settings: Settings) -> dict[str, tuple[OrderState, str | None]]:
    """Where each host's newest order stands, and why."""
    with Ledger(settings.ledger_url) as ledger:
        assert ledger.verify().ok
        return {each.order.host_id: (each.state, each.reason) for each in reversed(ledger.orders())}


def at_executor(settings: Settings, now: datetime) -> dict[str, Any]:
    """What the executor says of every order."""
    with Ledger(settings.ledger_url) as ledger:
        ids = {each.order.order_id: each.order.host_id for each in ledger.orders()}
    with opened(settings, now) as executor:
        return {ids[answer.order_id]: answer.state for answer in executor.poll(sorted(ids), now)}


def test_a_host_that_recovers_keeps_its_vms(home: Settings) -> None:
    """Two hosts are to be emptied at noon; by the morning's risk one is well: its order is called back."""
    well, ill = hosts(home)[:2]
    assert night(home, MIDNIGHT, {well: 0.7, ill: 0.7}).orders == 2
    assert {state for state, _ in states(home).values()} == {OrderState.ACCEPTED}
    score(home, MIDNIGHT, {ill: 0.7})
    assert dispatch(home, MORNING).recalled == 1
    state, why = states(home)[well]
    assert state is OrderState.CANCELLED
    assert f"host {well} has recovered" in str(why)
    later = at_executor(home, MIDNIGHT + DAY)
    assert (later[well], later[ill]) == (OrderState.CANCELLED, OrderState.COMPLETED)
    assert dispatch(home, MORNING).recalled == 0


def test_nothing_old_is_replayed_after_a_week(home: Settings) -> None:
    """Down for a week, an order in the outbox and an approval open: both have expired, and stay so."""
    sent, held = hosts(home)[:2]
    score(home, MIDNIGHT, {sent: 0.7})
    assert decide(home, MIDNIGHT, {"disk": MODEL}, now=MIDNIGHT).orders == 1  # type: ignore[dict-item]
    by_hand = POLICY + '[autonomy]\nlive_migrate = "approve"\n'
    (home.home / "policy.toml").write_text(by_hand, encoding="utf-8")
    score(home, MIDNIGHT, {sent: 0.7, held: 0.7})
    assert decide(home, MIDNIGHT, {"disk": MODEL}, now=MIDNIGHT).orders == 0  # type: ignore[dict-item]
    later = MIDNIGHT + 7 * DAY
    ingest_world(home, later)
    report = dispatch(home, later)
    assert (report.sent, report.expired, report.recalled) == (0, 1, 0)
    assert at_executor(home, later) == {}
    with Ledger(home.ledger_url) as ledger:
        assert ledger.proposals(later, standing=Standing.WAITING) == []
        assert {p.standing for p in ledger.proposals(later, host_id=held)} == {Standing.EXPIRED}
        (late,) = ledger.proposals(later, host_id=held)
    assert main(["decisions", "approve", late.proposal.proposal_id, "--reason", "late", "--json"]) == 3
    score(home, later, {})
    assert decide(home, later, {"disk": MODEL}, now=later).orders == 0  # type: ignore[dict-item]
    assert dispatch(home, later) == replace(report, expired=0)


def test_a_pause_by_the_kill_switch_replays_nothing(home: Settings) -> None:
    """Stopped in the morning, orders that wait for noon are called back; started days later, none of them goes."""
    ill = hosts(home)[0]
    night(home, MIDNIGHT, {ill: 0.7})
    with Ledger(home.ledger_url) as ledger:
        ledger.stop("ann", "storm", MORNING)
    assert call_back(home, MORNING) == CalledBack(1)
    assert states(home)[ill] == (
        OrderState.CANCELLED,
        "policy: ann has stopped all action; `foreshock start` lifts it",
    )
    with Ledger(home.ledger_url) as ledger:
        ledger.start("ann", MORNING + 2 * DAY)
    assert dispatch(home, MORNING + 2 * DAY).sent == 0
    assert at_executor(home, MORNING + 2 * DAY) == {ill: OrderState.CANCELLED}


def test_an_opt_out_calls_back_and_keeps_out(home: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """Given by command, it calls back the host's order and holds the next night's; removed, the host is moved again."""
    ill = hosts(home)[0]
    night(home, MIDNIGHT, {ill: 0.7})
    argv = ["opt-out", "add", "--host", ill, "--reason", "sale", "--days", "5", "--by", "ann", "--json"]
    assert main(argv) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["called_back"] == {"orders": 1, "problem": None}
    assert f"ann keeps host {ill} out of everything that acts" in str(states(home)[ill][1])
    following = MIDNIGHT + 2 * DAY
    kept = night(home, following, {ill: 0.7})
    assert (kept.orders, kept.blocked) == (0, {"opt_out": 1})
    assert main(["opt-out", "remove", told["opt_out"]["opt_out_id"], "--reason", "sold out", "--json"]) == 0
    assert main(["opt-out", "list", "--json"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1]) == {"opt_outs": []}
    assert night(home, following + DAY, {ill: 0.7}).orders == 1


def test_an_opt_out_of_something_unknown_is_refused(home: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen would protect nobody: the nearest name is offered; so is one that names neither or both."""
    name = hosts(home)[0]
    argv = ["opt-out", "add", "--reason", "sale", "--days", "5", "--json"]
    assert main([*argv, "--host", f"{name}x"]) == 2
    assert f"Did you mean {name}" in capfd.readouterr().err
    assert main(argv) == main([*argv, "--host", name, "--pool", "c0"]) == 2
    assert main([*argv[:-2], "400", "--host", name]) == 2
    with Ledger(home.ledger_url) as ledger:
        assert ledger.opt_outs() == []


def test_a_night_of_the_past_hands_nothing_to_real_hosts(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the wall's clock its orders have expired, so none reaches the executor; simulated hosts live by the data's."""
    monkeypatch.setenv(signing.SECRET, "not a secret, only as long as one")
    ingest_world(home, MIDNIGHT)
    (host, *_) = hosts(home)
    score(home, MIDNIGHT, {host: 0.6})
    decide(home, MIDNIGHT, {"disk": MODEL}, now=MIDNIGHT)  # type: ignore[dict-item]
    nobody = ExecutorSettings(kind="webhook", url="http://127.0.0.1:9", timeout_seconds=1)
    real = home.model_copy(update={"executor": nobody, "clock": ClockSettings(source="wall")})
    report = dispatch(real, MIDNIGHT)
    assert (report.sent, report.dead, report.expired > 0) == (0, 0, True)
    assert states(home)[host][0] == OrderState.EXPIRED


def test_the_doctor_names_opt_outs_and_pools_that_are_not_there(
    home: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pool in the policy that no host is in protects nobody; an opt-out in force is shown with its end."""
    with read(home.home) as con:
        ((pool,),) = con.execute("select min(cluster) from host").fetchall()
    wrong = f'[pool."{pool}x".autonomy]\nlive_migrate = "never"\n[pool."{pool}".autonomy]\nlive_migrate = "approve"\n'
    (home.home / "policy.toml").write_text(wrong, encoding="utf-8")
    opt_out(home, None, pool, (), "ann", "sale", 3, MIDNIGHT)
    main(["doctor", "--json"])
    found = [(one["what"], one["state"], one["says"]) for one in json.loads(capfd.readouterr().out)["findings"]]
    assert (
        "pool",
        "wrong",
        f'the policy sets pool."{pool}x", and no host is in such a cluster; did you mean {pool}?',
    ) in found
    assert any(what == "opt-out" and says.startswith(f"ann keeps pool {pool} out until") for what, _, says in found)
