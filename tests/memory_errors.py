"""Corrected errors of DIMMs to store and ask about, and a rasdaemon database as the daemon itself writes it."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pyarrow as pa

from data.contracts import EVENTS, STAYS
from data.warehouse import Warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MC_EVENT = """
create table mc_event (id INTEGER PRIMARY KEY, timestamp TEXT, err_count INTEGER, err_type TEXT, err_msg TEXT,
    label TEXT, mc INTEGER, top_layer INTEGER, middle_layer INTEGER, lower_layer INTEGER, address INTEGER, grain
    INTEGER, syndrome INTEGER, driver_detail TEXT)
"""
"""The table as rasdaemon's ras-record.c creates it."""


@dataclass(frozen=True)
class Ce:
    """A report of corrected errors; address parts and burst may be untold."""

    at: datetime
    errors: int = 1
    known: datetime | None = None
    dimm: str = "d"
    device: int | None = 0
    bank: int | None = 0
    row: int | None = 0
    column: int | None = 0
    scrub: bool | None = False
    dqs: int | None = 1
    beats: int | None = 1
    bits: int | None = 1

    @property
    def ingested_at(self) -> datetime:
        """The end of its day, unless it is said."""
        ends = datetime.combine(self.at.date(), datetime.min.time(), UTC) + DAY
        return self.known or ends

    @property
    def detail(self) -> str:
        """What is told of it, as JSON."""
        told = {name: getattr(self, name) for name in ("device", "bank", "row", "column", "dqs", "beats", "bits")}
        told["access"] = {None: None, True: "SCRUB", False: "READ"}[self.scrub]
        return json.dumps({name: value for name, value in told.items() if value is not None})


def put(warehouse: Warehouse, errors: Iterable[Ce], dimms: Sequence[str] = ("d",)) -> None:
    """DIMMs that sit in a host from the start, and their errors."""
    stays = [
        {"component": "memory", "entity_id": dimm, "model": "M", "host_id": "h", "valid_from": START - 100 * DAY,
         "valid_until": None}
        for dimm in dimms
    ]  # fmt: skip
    warehouse.put_stays(pa.Table.from_pylist(stays, STAYS))
    rows = [
        {"component": "memory", "entity_id": one.dimm, "observed_at": one.at, "ingested_at": one.ingested_at,
         "kind": "ce", "value": float(one.errors), "detail": one.detail}
        for one in errors
    ]  # fmt: skip
    warehouse.put_events(pa.Table.from_pylist(rows, EVENTS))


def day(number: int) -> date:
    """The day that ends so many days after the start."""
    return (START + (number - 1) * DAY).date()


def histories() -> st.SearchStrategy[list[Ce]]:
    """Errors over forty days that crowd in few places, some late, some with parts untold."""
    parts = st.one_of(st.none(), st.integers(0, 3))
    moments = st.builds(
        lambda days, minutes: START + days * DAY + timedelta(minutes=minutes),
        st.integers(0, 39),
        st.one_of(st.integers(0, 1439), st.integers(1425, 1454)),
    )
    late = st.one_of(st.none(), st.integers(0, 6 * 24))

    def build(at: datetime, hours: int | None, **kept: object) -> Ce:
        return Ce(at=at, known=None if hours is None else at + timedelta(hours=hours), **kept)  # type: ignore[arg-type]

    return st.lists(
        st.builds(
            build, at=moments, hours=late, errors=st.integers(1, 9), dimm=st.sampled_from(["a", "b"]),
            device=parts, bank=parts, row=parts, column=parts, scrub=st.one_of(st.none(), st.booleans()),
            dqs=st.integers(1, 3), beats=st.integers(1, 3), bits=st.one_of(st.none(), st.integers(1, 9)),
        ),
        max_size=40,
    )  # fmt: skip


def rasdaemon(path: Path, rows: Iterable[dict[str, object]]) -> Path:
    """A database with these rows of `mc_event`; what a row does not say is as the daemon fills it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    usual = {
        "timestamp": "2026-01-05 10:00:00 +0000", "err_count": 1, "err_type": "Corrected",
        "label": "CPU_SrcID#0_Ha#0_Chan#1_DIMM#0",
        "err_msg": "memory read error", "mc": 0, "top_layer": 1, "middle_layer": 0, "lower_layer": -1, "address": 0,
        "grain": 6, "syndrome": 0, "driver_detail": "",
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as con:
        con.execute(MC_EVENT)
        for row in rows:
            whole = usual | row
            listed, marks = ", ".join(whole), ", ".join("?" * len(whole))
            con.execute(f"insert into mc_event ({listed}) values ({marks})", [*whole.values()])
        con.commit()
    return path
