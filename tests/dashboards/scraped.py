"""A night with something to measure of every kind, and its metrics as Prometheus reads them."""

from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from data.warehouse import Warehouse
from decisions.ledger.notices import Notice, Severity
from pipelines.executors import owners
from pipelines.executors.jobs import Jobs
from tests.dashboards.conftest import ASOF, Night, make_night

NOW = ASOF + timedelta(hours=1)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def measured(home: Path) -> Night:
    """A night whose parts were scored by champion and challenger, whose model was watched, and whose channel fails."""
    night = make_night(home)
    with Warehouse.open(home) as warehouse:
        warehouse.con.execute(
            """
            insert into risk (asof_at, entity_key, component, model_version, status, risk_14d)
            select $asof - to_days(days::integer), entity_key, 'disk', version,
                   case when entity_id = 'Z3-r09-01' then 'unknown' else 'ok' end,
                   case when entity_id in ('Z3-r12-07', 'Z3-r12-08', 'Z3-r04-11') then 0.31
                        when entity_id = 'Z3-r09-01' then null else 0.004 end
            from entity, range(0, 10) t(days), (values ('disk-4'), ('disk-12')) v(version)
            """,
            {"asof": ASOF},
        )
        warehouse.con.execute(
            """
            insert into drift (component, model_version, asof_at, measure, part, value, alarm)
            values ('disk', 'disk-4', $asof - interval 1 day, 'risk_psi', '', 0.9, 'an alarm of the day before'),
                   ('disk', 'disk-4', $asof, 'risk_psi', '', 0.3, 'risks have shifted'),
                   ('disk', 'disk-4', $asof, 'precision', '', 0.4, null)
            """,
            {"asof": ASOF},
        )
        warehouse.publish()
    with night.ledger() as ledger:
        ledger.notices.hold([Notice("approval", Severity.PAGE, "1 waits", "", "/", (("h1", ""),))], bool, NOW)
        ledger.notices.claim("pager", Severity, NOW, timedelta(minutes=5))
        ledger.notices.hold([], lambda _: False, NOW)
        ledger.notices.failed("pager", "no answer", NOW)
    return night


def scrape(text: str) -> Samples:
    """Every sample, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """The sample of that name and those labels; null where there is none."""
    return samples.get((f"foreshock_{name}", frozenset(labels.items())))


def owners_metrics(folder: Path) -> str:
    """What the executor tells about promises to owners, with nothing promised yet."""
    app = FastAPI()
    owners.serve(app, Jobs(folder / "jobs.db"), None, lambda: NOW)
    with TestClient(app) as client:
        return client.get("/metrics").text
