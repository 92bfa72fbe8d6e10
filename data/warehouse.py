"""The warehouse: one DuckDB file that a single process writes, and a published copy that everyone else reads.

DuckDB lets one process write, and while it does no other may open the file, not even to read. So writers take turns
(`Warehouse.open` waits, then raises `WarehouseBusy`), and readers open the snapshot of the last `publish`.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import duckdb
import pyarrow as pa

from data.contracts import DRIFT, ENTITIES, EVENTS, FAILURES, HORIZON_DAYS, HOSTS, STAYS, VMS
from data.errors import InputError, WarehouseBusy, WarehouseError
from data.migrations import migrate
from data.snapshots import PUBLISHED, SNAPSHOTS, arrow, let_go

logger = logging.getLogger(__name__)

FILE: Final = "warehouse.duckdb"
_LOCK_POLL_SECONDS: Final = 0.2
_MOST_ERRORS: Final = 2**31 - 1
RISK_COLUMNS: Final = [
    "asof_at", "entity_key", "component", "model_version", "status", "reason",
    *(f"risk_{days}d" for days in HORIZON_DAYS), "factors",
]  # fmt: skip
_INVENTORY_KEYS: Final = {"host": "host_id", "vm": "vm_id"}


class Warehouse:
    """The writing side. Open it with `Warehouse.open`, as a context manager."""

    def __init__(self, home: Path, con: duckdb.DuckDBPyConnection) -> None:
        self.home = home
        self.con = con

    @classmethod
    def open(cls, home: Path, *, memory_limit: str = "4GB", lock_wait_seconds: float = 60.0) -> Self:
        """The warehouse under `home`, made and migrated if need be.

        Raises:
            WarehouseBusy: another process is still writing after `lock_wait_seconds`.
            MigrationError: a migration that already ran was changed afterwards.
        """
        home.mkdir(parents=True, exist_ok=True)
        let_go(home.absolute())
        con = _connect(home / FILE, lock_wait_seconds)
        con.execute("set time zone 'UTC'")
        con.execute("set enable_progress_bar = false")
        con.execute(f"set memory_limit = '{memory_limit}'")
        con.execute(f"set temp_directory = '{home / 'tmp'}'")
        migrate(con)
        return cls(home, con)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.con.close()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All or nothing: commits on leaving, rolls back on any error."""
        self.con.execute("begin")
        with ExitStack() as undone:
            undone.callback(self.con.execute, "rollback")
            yield self.con
            undone.pop_all()
        self.con.execute("commit")

    def publish(self) -> Path:
        """The path that names the snapshot, after it has atomically come to mean the new one.

        Each snapshot is a file of its own, so that who has an older one open keeps it.
        """
        self.con.execute("checkpoint")
        folder = self.home / SNAPSHOTS
        folder.mkdir(exist_ok=True)
        fresh = folder / f"{time.time_ns()}.duckdb"
        shutil.copyfile(self.home / FILE, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        published = self.home / PUBLISHED
        draft = published.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.symlink_to(fresh.relative_to(self.home))
        draft.replace(published)
        for older in folder.iterdir():
            if older != fresh:
                older.unlink()
        return published

    def put_entities(self, entities: pa.Table) -> int:
        """The number of entities that were new; known ones learn the model and firmware they lacked."""
        with self._arriving(entities, ENTITIES) as con:
            con.execute("""
                update entity set model = coalesce(entity.model, arriving.model),
                       capacity_bytes = coalesce(entity.capacity_bytes, arriving.capacity_bytes),
                       firmware = coalesce(arriving.firmware, entity.firmware), simulated = arriving.simulated
                from arriving where entity.component = arriving.component and entity.entity_id = arriving.entity_id
                  and (entity.model is null or entity.capacity_bytes is null or entity.simulated <> arriving.simulated
                       or entity.firmware is distinct from coalesce(arriving.firmware, entity.firmware))""")
            return _inserted(
                con,
                """
                insert into entity
                    (entity_key, component, entity_id, model, capacity_bytes, firmware, source, simulated)
                select nextval('entity_key_seq'), component, entity_id, any_value(model), any_value(capacity_bytes),
                       any_value(firmware), 'inventory', any_value(simulated)
                from arriving anti join entity using (component, entity_id)
                group by component, entity_id order by component, entity_id""",
            )

    def put_events(self, events: pa.Table) -> int:
        """The number of events that were new; the same event sent again is not stored again.

        More corrected errors than the column holds count as the most that it does, an unreadable number as one.
        """
        self._register_entities(events, EVENTS)
        with self._arriving(events, EVENTS) as con:
            con.execute("""
                create or replace temp table fresh_event as
                select distinct on (entity_key, observed_at, kind, value, detail)
                       entity_key, component, observed_at, arriving.ingested_at, kind, value, detail
                from arriving join entity using (component, entity_id)
                anti join event held on held.entity_key = entity.entity_key and held.observed_at = arriving.observed_at
                     and held.kind = arriving.kind and held.value is not distinct from arriving.value
                     and held.detail is not distinct from arriving.detail
                order by observed_at, entity_key""")
            _inserted(
                con,
                """
                insert into memory_error
                select entity_key, observed_at, ingested_at,
                       coalesce(try_cast(if(isfinite(value), least(value, $most), null) as integer), 1),
                       unnest(memory_error_of(if(json_valid(detail), detail, null)))
                from fresh_event where component = 'memory' and kind = 'ce'""",
                {"most": _MOST_ERRORS},
            )
            return _inserted(con, "insert into event select * exclude (component) from fresh_event")

    def put_failures(self, failures: pa.Table, source: str = "failures") -> int:
        """The number of failures that were new; an entity fails once at a moment."""
        self._register_entities(failures, FAILURES)
        with self._arriving(failures, FAILURES) as con:
            return _inserted(
                con,
                """
                insert into failure
                select distinct on (entity_key, failed_at)
                       entity_key, failed_at, arriving.ingested_at, cause, $source
                from arriving join entity using (component, entity_id)
                anti join failure held on held.entity_key = entity.entity_key and held.failed_at = arriving.failed_at
                order by failed_at, entity_key""",
                {"source": source},
            )

    def put_stays(self, stays: pa.Table) -> int:
        """The number of stays that were new or whose end was not known before; an entity begins one stay at a moment.

        Unlike a picture of the inventory they are history: they close nothing but themselves.
        """
        sited = _conform(stays, STAYS)
        firsts = sited.sort_by("valid_from").group_by(["component", "entity_id"]).aggregate([("model", "max")])
        self.put_entities(_entities(firsts.rename_columns(["component", "entity_id", "model"])))
        with self._arriving(sited, STAYS) as con:
            con.execute("""
                create or replace temp table stayed as
                select entity_key, host_id, entity.simulated, valid_from, max(valid_until) as valid_until
                from arriving join entity using (component, entity_id) group by all""")
            ended = _inserted(
                con,
                """
                update entity_host set valid_until = stayed.valid_until from stayed
                where entity_host.entity_key = stayed.entity_key and entity_host.valid_from = stayed.valid_from
                  and entity_host.host_id = stayed.host_id
                  and entity_host.valid_until is null and stayed.valid_until is not null""",
            )
            con.execute("""
                update entity set first_seen_on = least(coalesce(first_seen_on, since), since)
                from (select entity_key, min(valid_from)::date as since from stayed group by entity_key) began
                where began.entity_key = entity.entity_key and (first_seen_on is null or first_seen_on > since)""")
            return ended + _inserted(
                con,
                """
                insert into entity_host by name
                select stayed.*, false as by_inventory
                from stayed anti join entity_host using (entity_key, host_id, valid_from)
                order by valid_from, entity_key""",
            )

    def put_inventory(
        self, hosts: pa.Table, vms: pa.Table, entities: pa.Table, at: datetime, *, unsure: frozenset[str] = frozenset()
    ) -> int:
        """The number of rows that changed; what is no longer so is closed at `at`, nothing is deleted.

        A picture older than the newest one held changes nothing. A part that a source placed (`put_stays`) stays there
        until a picture names it. Ids in `unsure` that the tables lack stay as they were: what was said of them could
        not be read, which does not mean that they are gone.
        """
        if self._newest_picture() > at:
            logger.warning("the inventory of %s is older than the one held and changes nothing", at)
            return 0
        self.put_entities(entities)
        changed = 0
        with self.transaction() as con:
            con.register("unsure", pa.table({"id": pa.array(sorted(unsure), pa.string())}))
            for table, arriving, schema in (("host", hosts, HOSTS), ("vm", vms, VMS)):
                con.register("arriving", _conform(arriving, schema))
                changed += _replace_current(con, table, _INVENTORY_KEYS[table], schema.names, at)
                con.unregister("arriving")
            con.register("sited", _conform(entities, ENTITIES))
            con.execute("""
                create or replace temp view arriving_site as
                select entity_key, host_id, sited.simulated from sited join entity using (component, entity_id)
                where host_id is not null""")
            con.execute("""
                update entity_host set by_inventory = true from arriving_site
                where entity_host.entity_key = arriving_site.entity_key and valid_until is null
                  and entity_host.host_id = arriving_site.host_id and not by_inventory""")
            con.execute("""
                create or replace temp table unsure_part as
                select entity_key::varchar as id from entity where entity_id in (select id from unsure)
                union select entity_key::varchar from entity_host where valid_until is null and not by_inventory""")
            changed += _replace_current(
                con, "entity_host", "entity_key", ["entity_key", "host_id", "simulated"], at, "arriving_site",
                "unsure_part",
            )  # fmt: skip
            con.execute("drop view arriving_site")
            con.unregister("sited")
            con.unregister("unsure")
        return changed

    def _newest_picture(self) -> datetime:
        ((newest,),) = self.con.execute(
            "select max(greatest(valid_from, valid_until)) from (select valid_from, valid_until from host "
            "union all select valid_from, valid_until from vm)"
        ).fetchall()
        return newest or datetime.min.replace(tzinfo=UTC)

    def put_risks(self, risks: pa.Table) -> int:
        """The number of rows written; risks of the same moment, component and model version are replaced."""
        with self.transaction() as con:
            con.register("arriving", risks.select(RISK_COLUMNS))
            con.execute("""
                delete from risk using (select distinct asof_at, component, model_version from arriving) again
                where risk.asof_at = again.asof_at and risk.component = again.component
                  and risk.model_version = again.model_version""")
            written = _inserted(con, "insert into risk by name from arriving")
            con.unregister("arriving")
            return written

    def put_drift(self, seen: pa.Table) -> int:
        """The number of rows written; measurements of the same moment, component and model version are replaced."""
        with self.transaction() as con:
            con.register("arriving", _conform(seen, DRIFT))
            con.execute("""
                delete from drift using (select distinct asof_at, component, model_version from arriving) again
                where drift.asof_at = again.asof_at and drift.component = again.component
                  and drift.model_version = again.model_version""")
            written = _inserted(con, "insert into drift by name from arriving")
            con.unregister("arriving")
            return written

    def put_mitigations(self, mitigations: pa.Table) -> int:
        """The number of mitigations that were new, one per order."""
        with self.transaction() as con:
            con.register("arriving", mitigations)
            new = _inserted(
                con,
                """
                insert into mitigation by name
                select arriving.* from arriving anti join mitigation using (order_id) order by finished_at, order_id""",
            )
            con.unregister("arriving")
            return new

    def _register_entities(self, facts: pa.Table, schema: pa.Schema) -> None:
        pairs = (
            _conform(facts, schema)
            .select(["component", "entity_id"])
            .group_by(["component", "entity_id"])
            .aggregate([])
        )
        if pairs.num_rows:
            known = arrow(self.con, "select component, entity_id from entity")
            new = _entities(pairs).join(known, keys=["component", "entity_id"], join_type="left anti")
            self.put_entities(new)

    @contextmanager
    def _arriving(self, table: pa.Table, schema: pa.Schema) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.transaction() as con:
            con.register("arriving", _conform(table, schema))
            yield con
            con.unregister("arriving")


def _connect(path: Path, lock_wait_seconds: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + lock_wait_seconds
    while True:
        try:
            return duckdb.connect(str(path))
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                msg = f"Cannot open the warehouse {path}: {error}"
                raise WarehouseError(msg) from error
            if time.monotonic() >= deadline:
                msg = (
                    f"The warehouse {path} is being written by another process, and still was after "
                    f"{lock_wait_seconds:g} s: {error}. Wait for that run to end, then repeat this one."
                )
                raise WarehouseBusy(msg) from error
        time.sleep(_LOCK_POLL_SECONDS)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        msg = f"The table lacks the column(s) {', '.join(missing)}: it needs {', '.join(schema.names)}."
        raise InputError(msg)
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        msg = f"A column does not have the contract's type: {error}. The contract is:\n{schema}"
        raise InputError(msg) from error


def _entities(known: pa.Table) -> pa.Table:
    """Entities by contract of which no more is known than these columns."""
    nothing = {name: pa.nulls(known.num_rows, ENTITIES.field(name).type) for name in ENTITIES.names}
    nothing |= {name: known[name] for name in known.column_names}
    nothing["simulated"] = pa.array([False] * known.num_rows)
    return pa.table(nothing)


def _replace_current(
    con: duckdb.DuckDBPyConnection,
    table: str,
    key: str,
    columns: list[str],
    at: datetime,
    arriving: str = "arriving",
    unsure: str = "unsure",
) -> int:
    """Close current rows of `table` that no longer stand in `arriving`, open those that are new; count both.

    A row whose key stands in `unsure` and not in `arriving` is neither.
    """
    listed = ", ".join(columns)
    con.execute(
        f"create or replace temp table moved as "  # noqa: S608 - names of our own tables and columns
        f"select {listed}, true as opened from (select {listed} from {arriving} "
        f"except select {listed} from {table} where valid_until is null) "
        f"union all by name select {listed}, false as opened from "
        f"(select {listed} from {table} where valid_until is null "
        f"except select {listed} from {arriving}) "
        f"where {key}::varchar not in (select id from {unsure}) or {key} in (select {key} from {arriving})"
    )
    con.execute(
        f"update {table} set valid_until = $at from moved "  # noqa: S608
        f"where {table}.{key} = moved.{key} and not moved.opened and {table}.valid_until is null",
        {"at": at},
    )
    con.execute(
        f"insert into {table} ({listed}, valid_from) select {listed}, $at from moved where opened order by {key}",  # noqa: S608
        {"at": at},
    )
    rows = con.execute("select count(*) from moved").fetchall()
    return int(rows[0][0])


def _inserted(con: duckdb.DuckDBPyConnection, query: str, values: dict[str, object] | None = None) -> int:
    ((count,),) = (con.execute(query, values) if values else con.execute(query)).fetchall()
    return int(count)
