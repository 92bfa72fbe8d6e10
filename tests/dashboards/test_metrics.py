"""`/metrics`: what is measured is so, base units, and nothing that grows with the fleet."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dashboards.app import create_app
from data.warehouse import Warehouse
from decisions.access.values import Role
from decisions.domain import Answer, OrderState
from pipelines.settings import PolicySettings, ReviewSettings, Settings
from tests.dashboards.conftest import ASOF, BASE, Night
from tests.dashboards.people import bearer, token
from tests.dashboards.scraped import NOW, Samples, measured, owners_metrics, scrape, value
from tests.facts import DAY, entities, events, hosts, vms


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night with something to measure of every kind."""
    return measured(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def text(full: Night) -> str:
    """Its exposition, an hour later."""
    answer = full.client(NOW).get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


@pytest.fixture(scope="module")
def samples(text: str) -> Samples:
    """Its samples."""
    return scrape(text)


def test_a_fleet_without_drives_has_telemetry_as_old_as_its_events(home: Path) -> None:
    """Where no reading is held the newest event tells how old the evidence is, and the pages say so."""
    with Warehouse.open(home) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        warehouse.put_events(events(1.0))
        warehouse.publish()
    client = Night(home).client(DAY + timedelta(hours=40))
    assert value(scrape(client.get("/metrics").text), "telemetry_age_seconds") == 40 * 3600
    assert "Telemetry is stale." in client.get("/").text


def test_proposals_are_counted_by_action_and_state(samples: Samples) -> None:
    """Two evacuations wait for a person, four moves policy has let go, one host is shown."""
    assert value(samples, "proposals", action="evacuate", state="waiting") == 2
    assert value(samples, "proposals", action="live_migrate", state="approved") == 4
    assert value(samples, "proposals", action="investigate", state="shown") == 1


def test_what_people_say_moves_a_proposal(full: Night, home: Path) -> None:
    """A veto and a snooze are counted as such, and an expired proposal as expired; the last word counts."""
    shutil.copytree(full.home, home)
    night = Night(home)
    with night.ledger() as ledger:
        ledger.snooze("id-r12-07", "ana", "later", NOW, NOW + timedelta(hours=2))
        ledger.veto("id-r12-08", "bo", "no", NOW)
    soon = scrape(night.client(NOW).get("/metrics").text)
    assert value(soon, "proposals", action="evacuate", state="snoozed") == 1
    assert value(soon, "proposals", action="evacuate", state="vetoed") == 1
    late = scrape(night.client(ASOF + timedelta(days=3)).get("/metrics").text)
    assert value(late, "proposals", action="evacuate", state="expired") == 1
    assert value(late, "proposals", action="evacuate", state="vetoed") == 1


def test_the_model_in_force_is_the_one_that_the_cycle_believed(samples: Samples) -> None:
    """Hosts at risk and unknown parts are counted by the champion, not once more by the challenger beside it."""
    assert value(samples, "model_info", component="disk", version="disk-4") == 1
    assert value(samples, "model_info", component="disk", version="disk-12") is None
    assert value(samples, "hosts_at_risk", component="disk") == 3
    assert value(samples, "parts_scored", component="disk") == 9
    assert value(samples, "parts_unknown", component="disk") == 1
    assert value(samples, "drift_alarms", component="disk") == 1


def test_ages_are_seconds_by_the_fleets_clock(samples: Samples) -> None:
    """An hour after the cycle, its telemetry and predictions are an hour old, its model nine days and an hour."""
    for name in ("cycle_age_seconds", "telemetry_age_seconds"):
        assert value(samples, name) == 3600
    assert value(samples, "prediction_age_seconds", component="disk") == 3600
    assert value(samples, "model_age_seconds", component="disk") == 9 * 86_400 + 3600


def test_breakers_and_budgets(samples: Samples) -> None:
    """The rack's breaker is open; four hosts were to be emptied, where the fleet of nine allows the floor of one."""
    assert value(samples, "breakers_open", scope="rack") == 1
    assert value(samples, "breakers_open", scope="fleet") == 0
    assert value(samples, "hosts_emptied") == 4
    assert value(samples, "hosts_emptied_limit") == 1
    assert value(samples, "hosts_moving") == 1


def test_orders_and_what_became_of_vms(samples: Samples) -> None:
    """One order waits since the cycle, others were taken after 40 minutes; a VM was interrupted by a failed move."""
    assert value(samples, "orders", state="completed") == 2
    assert value(samples, "orders_waiting") == 1
    assert value(samples, "dispatch_oldest_wait_seconds") == 3600
    assert value(samples, "dispatch_lag_median_seconds") == 2400
    assert value(samples, "vm_outcomes_total", result="moved", interrupted="false") == 9
    assert value(samples, "vm_outcomes_total", result="failed", interrupted="true") == 1
    assert value(samples, "vm_outcomes_total", result="lost", interrupted="true") == 0
    assert value(samples, "notification_failures", channel="pager") == 1


def test_bad_answers_of_open_orders_count(night: Night) -> None:
    """An order of which the executor says nothing of use counts, until it ends or an answer is of use."""
    with night.ledger() as ledger:
        (order,) = ledger.lease(NOW, 1, 60)
        ledger.mark_sent(order.order_id, NOW)
        before = scrape(night.client(NOW).get("/metrics").text)
        ledger.bad_answer(order.order_id, "it tells of a VM elsewhere", NOW)
        bad = scrape(night.client(NOW).get("/metrics").text)
        ledger.apply(Answer(order.order_id, OrderState.REFUSED, NOW, "the host is gone"))
        after = scrape(night.client(NOW).get("/metrics").text)
    assert [value(samples, "bad_answers") for samples in (before, bad, after)] == [0, 1, 0]


def test_dead_letters_and_the_kill_switch(night: Night) -> None:
    """A letter that could not be delivered counts until it is retried; the switch is 0 or 1."""
    before = scrape(night.client(NOW).get("/metrics").text)
    with night.ledger() as ledger:
        (order,) = ledger.lease(NOW, 1, 60)
        ledger.mark_dead(order.order_id, NOW, "no answer")
        ledger.stop("ana", "drill", NOW)
    after = scrape(night.client(NOW).get("/metrics").text)
    assert [value(before, "dead_letters"), value(before, "kill_switch")] == [0, 0]
    assert [value(after, "dead_letters"), value(after, "kill_switch")] == [1, 1]
    assert value(after, "dispatch_oldest_wait_seconds") == 0


def test_limits_are_those_of_the_policy_file(made: Night, tmp_path: Path) -> None:
    """The policy that decides is the policy that is told."""
    policy = tmp_path / "policy.toml"
    policy.write_text("[freshness]\ntelemetry_hours = 12\n[breaker]\nfleet_share = 0.5\n", encoding="utf-8")
    settings = Settings(policy=PolicySettings(path=policy))
    app = create_app(made.home, made.url, clock=lambda: NOW, settings=settings)
    samples = scrape(TestClient(app, base_url=BASE).get("/metrics").text)
    assert value(samples, "telemetry_age_limit_seconds") == 12 * 3600
    assert value(samples, "hosts_emptied_limit") == 4


def test_before_anything_is_published_there_is_something_to_scrape(home: Path) -> None:
    """Without snapshot and ledger the limits are told, and no age or count is made up."""
    text = Night(home).client(NOW).get("/metrics").text
    assert value(scrape(text), "telemetry_age_limit_seconds") == 36 * 3600
    assert value(scrape(text), "cycle_age_seconds") is None
    assert "NaN" not in text


def test_no_label_grows_with_the_fleet(text: str, samples: Samples) -> None:
    """Labels have few values; no host, VM, proposal, order or incident is ever named."""
    few = {"action", "state", "component", "version", "scope", "guardrail", "result", "interrupted", "channel"}
    assert {name for _, labels in samples for name, _ in labels} <= few
    assert "r12-07" not in text
    assert "script" not in text


def test_promtool_finds_nothing_to_say(text: str, tmp_path: Path) -> None:
    """Prometheus' own linter: names, units, HELP texts, and `_total` on counters only; of the executor's too."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: install Debian's prometheus (make daemons) to run this")
    for exposition in (text, owners_metrics(tmp_path)):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_where_reading_takes_a_login_prometheus_shows_a_token(night: Night) -> None:
    """Without a token nothing is told; a viewer's is enough."""
    settings = Settings(review=ReviewSettings(authentication="required"))
    app = TestClient(create_app(night.home, night.url, clock=lambda: NOW, settings=settings), base_url=BASE)
    assert "foreshock_hosts " not in app.get("/metrics").text
    shown = bearer(token(night, "prometheus", Role.VIEWER))
    assert value(scrape(app.get("/metrics", headers=shown).text), "hosts") == 9
