"""The alert rules and the Grafana dashboard: about metrics that exist, and understood by a real Prometheus."""

import json
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import uvicorn
from fastapi import FastAPI
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from pipelines.executors import owners
from pipelines.executors.jobs import Jobs
from pipelines.listening import bound
from tests.dashboards.conftest import Night
from tests.dashboards.scraped import NOW, measured, owners_metrics, scrape

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "prometheus" / "foreshock.rules.yml"
GRAFANA = ROOT / "dashboards" / "grafana" / "foreshock.json"
METRIC = re.compile(r"\bforeshock_\w+")
SELECTOR = re.compile(r"\bforeshock_\w+(?:\{[^}]*\})?")
PATIENCE_SECONDS = 120


def tool(name: str) -> str:
    """The program of Debian's prometheus package; skips the test, saying so, where it is absent."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: install Debian's prometheus (make daemons) to run this")
    return found


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night with something to measure of every kind."""
    return measured(tmp_path_factory.mktemp("measured"))


def expressions() -> list[str]:
    """Every query of the dashboard."""
    board = json.loads(GRAFANA.read_text(encoding="utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def conditions() -> list[str]:
    """What each alert waits for."""
    return re.findall(r"^ +expr: (.+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)


def test_rules_and_dashboard_ask_for_metrics_that_exist(full: Night, tmp_path: Path) -> None:
    """Every metric that a rule, a rule's test or a panel names is in the exposition of the app or of the executor."""
    exposed = full.client(NOW).get("/metrics").text + owners_metrics(tmp_path)
    known = {name for name, _ in scrape(exposed)}
    tests = RULES.with_name("foreshock.rules.test.yml").read_text(encoding="utf-8")
    asked = set(METRIC.findall(RULES.read_text(encoding="utf-8"))) | set(METRIC.findall("\n".join(expressions())))
    assert len(asked) > 20
    assert asked <= known
    assert set(METRIC.findall(tests)) <= known


def test_every_alert_says_what_to_do() -> None:
    """Each alert has a severity, a summary, and a link to a section of the on-call page that is there."""
    page = (ROOT / "docs" / "on-call.md").read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    alerts = RULES.read_text(encoding="utf-8").split("- alert: ")[1:]
    for alert in alerts:
        (anchor,) = re.findall(r"runbook: docs/on-call\.md#(\S+)", alert)
        assert anchor in anchors, anchor
        assert re.search(r"severity: (page|warn)", alert)
        assert "summary: " in alert


def test_the_dashboard_is_whole() -> None:
    """Each panel has a place of its own, a description, and asks the Prometheus that the reader picks."""
    board: dict[str, Any] = json.loads(GRAFANA.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        taken |= cells
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource"]


def test_grafana_knows_every_word_of_the_dashboard() -> None:
    """Read and written by Grafana's own models it is the same: no option, unit or query is misspelt or lost."""
    plugins.register_default_plugins()
    board: dict[str, Any] = json.loads(GRAFANA.read_text(encoding="utf-8"))
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert list(lost(board, written)) == []
    assert board["schemaVersion"] >= 39
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names)
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def lost(held: Any, written: Any, path: str = "") -> Iterator[str]:
    """Where something that was held is not what was written."""
    if isinstance(held, dict) and isinstance(written, dict):
        for name, value in held.items():
            yield from lost(value, written[name], f"{path}/{name}") if name in written else (f"{path}/{name}",)
    elif isinstance(held, list) and isinstance(written, list) and len(held) == len(written):
        for at, (one, other) in enumerate(zip(held, written, strict=True)):
            yield from lost(one, other, f"{path}/{at}")
    elif held != written:
        yield path


def test_promtool_understands_the_rules() -> None:
    """The rules are well formed, and fire when and only when their unit tests say so."""
    promtool = tool("promtool")
    for asked in (["check", "rules", RULES.name], ["test", "rules", "foreshock.rules.test.yml"]):
        done = subprocess.run([promtool, *asked], cwd=RULES.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    """No rule is left without a unit test."""
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8")))
    tests = RULES.with_name("foreshock.rules.test.yml").read_text(encoding="utf-8")
    fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", tests))
    assert fired == alerts


@contextmanager
def executor_served(folder: Path) -> Iterator[str]:
    """Where an executor that has made no promises yet tells of them."""
    app = FastAPI()
    owners.serve(app, Jobs(folder / "executor.db"), None, lambda: NOW)
    with bound("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def prometheus(full: Night, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus on loopback that scrapes the real app and holds the rules."""
    binary, folder = tool("prometheus"), tmp_path_factory.mktemp("prometheus")
    program = (
        "import functools, pathlib, sys; from dashboards.serve import serve; "
        "serve(pathlib.Path(sys.argv[1]), sys.argv[2], port=0, announce=functools.partial(print, flush=True))"
    )
    asked = [sys.executable, "-c", program, str(full.home), full.url]
    with ExitStack() as stack, subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, cwd=ROOT) as app:
        assert app.stdout is not None
        target = app.stdout.readline().strip().removeprefix("http://")
        executor = stack.enter_context(executor_served(folder))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "foreshock", "static_configs": [{"targets": [target]}]},
                {"job_name": "executor", "static_configs": [{"targets": [executor]}]},
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        options = [f"--web.listen-address={address}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        with (folder / "log").open("w") as log:
            asked = [binary, f"--config.file={folder / 'prometheus.yml'}", *options]
            with subprocess.Popen(asked, stderr=log, stdout=log) as server:
                yield f"http://{address}"
                server.terminate()
        app.terminate()


def ask(prometheus: str, path: str, **values: str) -> Any:
    """What Prometheus' API answers, once it is up."""
    for _ in range(PATIENCE_SECONDS):
        try:
            with urlopen(f"{prometheus}/api/v1/{path}?{urlencode(values)}", timeout=30) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except (URLError, ConnectionError):
            time.sleep(1)
    return pytest.fail("Prometheus did not come up")


def wait(prometheus: str, expression: str) -> list[Any]:
    """The result of the query, once there is one."""
    for _ in range(PATIENCE_SECONDS):
        found: list[Any] = ask(prometheus, "query", query=expression)["result"]
        if found:
            return found
        time.sleep(1)
    return pytest.fail(f"no result for {expression}")


@pytest.mark.slow
def test_a_real_prometheus_scrapes_and_answers(prometheus: str) -> None:
    """The target is up, what it scraped is what the app tells, and every query of the dashboard is understood."""
    (up,) = wait(prometheus, 'up{job="foreshock"} == 1')
    assert up["value"][1] == "1"
    (waiting,) = wait(prometheus, 'foreshock_proposals{action="evacuate",state=~"waiting|expired"}')
    assert waiting["value"][1] == "2"
    kinds = ask(prometheus, "metadata", metric="foreshock_vm_outcomes_total")
    assert kinds["foreshock_vm_outcomes_total"][0]["type"] == "counter"


@pytest.mark.slow
@pytest.mark.parametrize("expression", expressions())
def test_every_panel_shows_something(prometheus: str, expression: str) -> None:
    """Asked of what was scraped, each query of the dashboard has an answer, and each of its samples is a number."""
    found = wait(prometheus, expression)
    assert not any(math.isnan(float(sample["value"][1])) for sample in found)


@pytest.mark.slow
@pytest.mark.parametrize("expression", conditions())
def test_every_alert_looks_at_what_is_scraped(prometheus: str, expression: str) -> None:
    """Each rule is understood, and all that it selects is there: where it does not fire, it is for the values."""
    assert ask(prometheus, "query", query=expression)["resultType"] == "vector"
    for selector in SELECTOR.findall(expression):
        assert wait(prometheus, selector), selector


@pytest.mark.slow
def test_a_real_prometheus_fires_the_breakers_alert(prometheus: str) -> None:
    """The rules are loaded as they are, and an open breaker fires."""
    (alert,) = wait(prometheus, 'ALERTS{alertname="ForeshockBreakerOpen",alertstate="firing"}')
    assert alert["metric"]["scope"] == "rack"
    health = [rule["health"] for group in ask(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert set(health) <= {"ok", "unknown"}
