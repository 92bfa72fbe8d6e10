"""The doctor: what is set up, what is not, and what to do about it. Nothing is written."""

import difflib
import json
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from data.errors import ForeshockError, RegistryError, hidden
from data.quality import check
from data.snapshots import PUBLISHED, in_shape
from decisions.ledger.store import is_there, shown
from pipelines.clock import last_event
from pipelines.cycle import now_of
from pipelines.executors.opened import kind_of, world_path
from pipelines.ledgers import copied, sqlite_file
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

CONNECT_SECONDS: Final = 2.0
"""How long the executor has to accept a connection."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, `missing` (not yet needed or made) or `wrong`."""

    what: str
    state: str
    says: str


def examine(settings: Settings) -> list[Finding]:
    """Everything that was looked at, in the order in which a night needs it."""
    return [
        *_home(settings),
        *_snapshot(settings),
        *_placed_nowhere(settings),
        *_engine(settings),
        *_models(settings),
        *_policy(settings),
        *_ledger(settings),
        *_executor(settings),
        *_notifications(settings),
        *_sources(settings),
    ]


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home
    if home.is_dir():
        yield Finding("home", "ok", str(home.absolute()))
    else:
        yield Finding("home", "missing", f"{home.absolute()} is made by the first ingest")


def _snapshot(settings: Settings) -> Iterator[Finding]:
    if not (settings.home / PUBLISHED).exists():
        yield Finding("snapshot", "missing", "nothing is published yet: foreshock ingest, or foreshock demo")
        return
    try:
        with snapshot(settings) as con, in_shape():
            rows = con.execute(
                "select (select max(day) from disk_day), (select count(*) from host where valid_until is null), "
                "(select count(*) from quarantine)"
            ).fetchall()
            event_at = last_event(con)
            contradictions = check(con)
    except ForeshockError as error:
        yield Finding("snapshot", "wrong", str(error))
        return
    day, hosts, rejected = rows[0]
    newest = f"readings until {day}" if day else "no readings of drives"
    newest += f", events until {event_at:%Y-%m-%d %H:%M} UTC" if event_at else ""
    yield Finding("snapshot", "ok", f"{newest}, {hosts} hosts, {rejected} rows in quarantine")
    for found in contradictions:
        told = f"{found.says} ({found.check}: {found.rows}), such as {json.dumps(found.examples[0], default=str)}"
        yield Finding("facts", "wrong" if found.severity == "error" else "ok", told)
    if not any(found.severity == "error" for found in contradictions):
        yield Finding("facts", "ok", "nothing that is held contradicts anything else")


def _placed_nowhere(settings: Settings) -> Iterator[Finding]:
    """Parts that tell of themselves and have never been in a host: whatever they tell, no host is at risk for it."""
    if not (settings.home / PUBLISHED).exists():
        return
    try:
        with snapshot(settings) as con, in_shape():
            rows = con.execute("""
                with newest as (select max(observed_at) as at from event),
                telling as (
                    select entity_key from disk_day where day = (select max(day) from disk_day)
                    union select entity_key from event, newest where observed_at > newest.at - interval 30 days
                )
                select component, count(*), min(entity_id) from telling join entity using (entity_key)
                where entity_key not in (select entity_key from entity_host) and exists (from host)
                group by component order by component""").fetchall()
    except ForeshockError:
        return  # the snapshot's own finding says what is wrong with it
    for component, parts, such_as in rows:
        told = f"{component}: {parts} that told something lately are in no host, such as {such_as}"
        yield Finding(
            "inventory", "missing", f"{told}; no host counts as at risk for them until its entities name them"
        )


def _engine(settings: Settings) -> Iterator[Finding]:
    """Whether the cluster can be reached, can read the store, and would give the answers that are given here."""
    engine = settings.engine
    if engine.kind == "local":
        yield Finding("engine", "ok", "features, training and scoring on this machine")
        return
    from pipelines.engine import reach

    try:
        reached = reach(engine)
    except ForeshockError as error:
        yield Finding("engine", "wrong", str(error))
        return
    for phrase in reached.differing:
        yield Finding("engine", "wrong", f"{phrase}: give both the same environment")
    for phrase in reached.apart:
        yield Finding("engine", "wrong", phrase)
    if not reached.differing and not reached.apart:
        said = (
            f"{reached.workers} workers with {reached.threads} threads at {engine.scheduler}, the same versions as here"
        )
        yield Finding("engine", "ok", f"{said}; telemetry in {engine.partitions} parts at {engine.storage}")


def _models(settings: Settings) -> Iterator[Finding]:
    store = settings.model_store
    if not store.is_begun:
        yield Finding("model", "missing", "no model yet: foreshock train disk")
        return
    from features.build import components
    from pipelines.steps.train import champion

    try:
        champions = [(component, champion(settings, component)) for component in components()]
    except RegistryError as error:
        yield Finding("model store", "wrong", str(error))
        return
    if store.server:
        yield Finding("model store", "ok", f"MLflow at {store.server}")
    for component, found in champions:
        if found is None:
            yield Finding("model", "missing", f"{component}: no champion; train one, or promote one")
        else:
            yield Finding("model", "ok", f"{component}: version {found.version}, labels until {found.until}")
            yield from _drift(settings, component, found.version)


def _drift(settings: Settings, component: str, version: str) -> Iterator[Finding]:
    """The alarms of the last time that the champion was watched."""
    query = """
        select asof_at::date - 1, alarm from drift
        where component = ? and model_version = ?
          and asof_at = (select max(asof_at) from drift where component = ? and model_version = ?)
        order by measure, part"""
    try:
        with snapshot(settings) as con:
            rows = con.execute(query, [component, version, component, version]).fetchall()
    except ForeshockError:
        return  # the snapshot's own finding says what is wrong with it
    if not rows:
        yield Finding("drift", "missing", f"{component}: version {version} has not been watched yet: foreshock watch")
        return
    alarms = [alarm for _, alarm in rows if alarm]
    said = "; ".join(alarms) if alarms else "every measure is within its threshold"
    yield Finding("drift", "wrong" if alarms else "ok", f"{component}: on {rows[0][0]} {said}")


def _policy(settings: Settings) -> Iterator[Finding]:
    from decisions.policy import load

    try:
        policy = load(settings.policy.path)
    except ForeshockError as error:
        yield Finding("policy", "wrong", str(error))
    else:
        yield Finding("policy", "ok", f"{settings.policy.path or 'as shipped'}, version {policy.version[:12]}")
        yield from _pools(settings, policy.pools)


def _pools(settings: Settings, named: Collection[str]) -> Iterator[Finding]:
    """Pools of the policy that no host is in: a slip of the pen there protects nobody."""
    if not named or not (settings.home / PUBLISHED).exists():
        return
    try:
        with snapshot(settings) as con:
            rows = con.execute("select distinct cluster from host where valid_until is null order by 1").fetchall()
    except ForeshockError:
        return  # the snapshot's own finding says what is wrong with it
    known = [cluster for (cluster,) in rows]
    for name in sorted(set(named) - set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known[:10]) or 'none'}"
        yield Finding("pool", "wrong", f'the policy sets pool."{name}", and no host is in such a cluster; {hint}')


def _ledger(settings: Settings) -> Iterator[Finding]:
    file = sqlite_file(settings)
    where = file or shown(settings.ledger_url)
    try:
        if not (file.exists() if file is not None else is_there(settings.ledger_url)):
            yield Finding("ledger", "missing", f"{where} is made by the first decision")
            return
        with copied(settings) as ledger:
            checked, stop, opt_outs = ledger.verify(), ledger.stopped(), ledger.opted_out(now_of(settings))
            dead, bad = ledger.dead_letters(), ledger.bad_answers()
    except ForeshockError as error:
        yield Finding("ledger", "wrong", str(error))
        return
    records = f"{checked.records} records, unchanged{'' if file is not None else f', at {where}'}"
    yield Finding("ledger", "ok" if checked.ok else "wrong", checked.reason or records)
    if stop:
        yield Finding("kill switch", "wrong", f"thrown by {stop.by}: {stop.reason}; foreshock start releases it")
    if dead:
        given_up = "1 order was" if dead == 1 else f"{dead} orders were"
        todo = "foreshock orders list --delivery dead shows them, foreshock orders retry --all tries all again"
        yield Finding("dead letters", "wrong", f"{given_up} given up, as handing over kept failing; {todo}")
    if bad:
        orders = "1 order" if bad == 1 else f"{bad} orders"
        todo = "foreshock orders list shows why, and the executor is to be mended"
        yield Finding("bad answers", "wrong", f"what the executor says of {orders} is of no use; {todo}")
    for out in opt_outs:
        until = f"until {out.expires_at:%Y-%m-%d %H:%M} UTC"
        yield Finding("opt-out", "ok", f"{out.by} keeps {out.scope} {out.name} out {until}: {out.reason}")


def _webhook(settings: Settings) -> Iterator[Finding]:
    from pipelines.contract import signing

    try:
        signing.secret()
    except ForeshockError as error:
        yield Finding("executor", "missing", str(error))
    if settings.executor.url:
        yield _reached(settings.executor.url)
    else:
        yield Finding("executor", "missing", 'executor.kind = "webhook" needs executor.url')


def _reached(url: str) -> Finding:
    """Whether something accepts a connection where orders go; nothing is sent to it."""
    to = hidden(url)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme in getproxies() and not proxy_bypass(host):
            return Finding("executor", "ok", f"orders go to {to}, by a proxy, so whether it answers was not looked at")
        address = (host, parts.port or (443 if parts.scheme == "https" else 80))
        with socket.create_connection(address, timeout=CONNECT_SECONDS):
            return Finding("executor", "ok", f"orders go to {to}, which accepts connections")
    except (OSError, ValueError) as error:
        todo = "start the executor, or put its address into executor.url"
        return Finding("executor", "wrong", f"orders go to {to}, which accepts no connection ({error}); {todo}")


def _executor(settings: Settings) -> Iterator[Finding]:
    kind = kind_of(settings)
    if kind == "webhook":
        yield from _webhook(settings)
    elif kind == "simulated" and not world_path(settings).exists():
        yield Finding("executor", "missing", "simulated, and there is no simulated world: foreshock simulate")
    else:
        chosen = " (auto: by whether the home has a simulated world)" if settings.executor.kind == "auto" else ""
        yield Finding("executor", "ok", f"{kind}{chosen}")


def _notifications(settings: Settings) -> Iterator[Finding]:
    """Each channel: whether its URL is one, and how it has fared."""
    from pipelines.notifications import channels

    if not settings.notify:
        yield Finding("notifications", "missing", "nobody is told of anything: name a channel under [[notify]]")
        return
    file = sqlite_file(settings)
    fared = {}
    with suppress(ForeshockError):  # the ledger's own finding says what is wrong with it
        if file is None or file.exists():
            with copied(settings) as ledger:
                fared = {each.channel: each for each in ledger.notices.channels()}
    for channel in settings.notify:
        held = fared.get(channel.name)
        try:
            channels.opened(channel)
        except ForeshockError as error:
            yield Finding("notifications", "wrong", str(error))
            continue
        if held is not None and held.failures:
            again = f"tried again from {held.next_attempt_at:%Y-%m-%d %H:%M} UTC"
            times = f"failed {held.failures} times in a row"
            yield Finding("notifications", "wrong", f"{channel.name} {times}: {held.last_error}; {again}")
        else:
            links = channels.base_url(settings, channel)
            yield Finding("notifications", "ok", f"{channel.name}: {', '.join(channel.severities)}; links to {links}")


def _sources(settings: Settings) -> Iterator[Finding]:
    from pipelines.steps.asked import probe

    for source in settings.sources:
        for path in source.paths:
            found = Path(path).exists() or any(Path(path).parent.glob(Path(path).name))
            yield Finding(f"source {source.kind}", "ok" if found else "wrong", path if found else f"nothing at {path}")
        for url in source.urls:
            try:
                yield Finding(f"source {source.kind}", "ok", probe(source, url))
            except ForeshockError as error:
                yield Finding(f"source {source.kind}", "wrong", str(error))
