"""Ingest from sources that are asked over a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import httpx

from data.readings import Absorbed
from data.sources import bmc, prometheus, promql, redfish, web
from data.warehouse import Warehouse
from pipelines.settings import SourceSettings


def probe(source: SourceSettings, url: str) -> str:
    """What the server at `url` says when it is asked for nothing; `InputError` when it cannot be asked."""
    if redfish.HOST in url:
        return f"{url} is asked for each host of the inventory"
    if source.kind == "redfish":
        with _controller(source, url) as controller:
            version = controller.get(bmc.ROOT).get("RedfishVersion", "?")
        return f"{url} speaks Redfish {version}"
    with _prometheus(source, url) as client:
        promql.at(client, "vector(1)", datetime.now(UTC))
    return f"{url} answers queries"


def load(warehouse: Warehouse, source: SourceSettings, url: str, now: datetime) -> Iterator[Absorbed]:
    """What became of what is told at `url`, page by page or controller by controller."""
    if source.kind == "redfish":
        opener = partial(_controller, source)
        yield from redfish.load(warehouse, [url], opener, at_once=source.at_once, arrival=source.arrival, now=now)
        return
    with _prometheus(source, url) as client:
        yield from prometheus.load(
            warehouse,
            client,
            host_label=source.host_label,
            history_days=source.history_days,
            arrival=source.arrival,
            now=now,
        )


def _prometheus(source: SourceSettings, url: str) -> httpx.Client:
    """A client of the server at `url`, with the token that the environment holds."""
    token = os.environ.get(promql.TOKEN)
    if token:
        web.refuse_clear_text(url, promql.TOKEN)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    return web.client(url, ca_file=source.ca_file, timeout_seconds=source.timeout_seconds, headers=headers)


@contextmanager
def _controller(source: SourceSettings, url: str) -> Iterator[bmc.Controller]:
    """The controller at `url`, logged in with what the environment holds."""
    user, password = os.environ.get(bmc.USER), os.environ.get(bmc.PASSWORD)
    with (
        web.client(url, ca_file=source.ca_file, timeout_seconds=source.timeout_seconds) as client,
        bmc.opened(client, source.auth, user, password) as controller,
    ):
        yield controller
