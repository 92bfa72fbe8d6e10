"""States that a source tells again and again, as events of the moments at which they changed.

What nobody has told of yet counts as sound (0), so a part that has always been well leaves no event.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from data.contracts import EVENTS
from data.snapshots import arrow
from data.sources.arrival import Arrival, arrived
from data.warehouse import Warehouse

_STATES: Final = pa.schema(
    {
        "number": pa.int64(),
        "component": pa.string(),
        "entity_id": pa.string(),
        "kind": pa.string(),
        "part": pa.string(),
        "observed_at": EVENTS.field("observed_at").type,
        "value": pa.float64(),
    }
)


@dataclass(frozen=True)
class State:
    """How an entity, or the `part` of it, was at a moment; `value` is 0 when all is well."""

    component: str
    entity_id: str
    kind: str
    observed_at: datetime
    value: float
    part: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


def put_changes(warehouse: Warehouse, states: Sequence[State], arrival: Arrival, moment: datetime) -> int:
    """The number of new events, one for each state that differs from the one told before it."""
    rows = [vars(state) | {"number": number} for number, state in enumerate(states)]
    table = pa.Table.from_pylist([{name: row[name] for name in _STATES.names} for row in rows], _STATES)
    warehouse.con.register("state", table)
    changed = arrow(
        warehouse.con,
        """
        with told as (
            select component, entity_id, kind, coalesce(json_extract_string(detail, '$.part'), '') as part,
                   observed_at, value
            from event join entity using (entity_key)
            where kind in (select kind from state)
        ),
        spoken as (
            select component, entity_id, kind, part, observed_at, value from state union select * from told
        ),
        beside as (
            select *, lag(value, 1, 0) over (
                       partition by component, entity_id, kind, part order by observed_at) as before
            from spoken
        )
        select min(number) as number
        from state join beside using (component, entity_id, kind, part, observed_at, value)
        where value <> before
        group by component, entity_id, kind, part, observed_at, value""",
    )
    warehouse.con.unregister("state")
    numbers = [int(number) for number in changed["number"].to_pylist() if number is not None]
    return put_happenings(warehouse, [states[number] for number in sorted(numbers)], arrival, moment)


def put_happenings(warehouse: Warehouse, happened: Sequence[State], arrival: Arrival, moment: datetime) -> int:
    """The number of new events, one for each of `happened`; `arrival` says when they count as known."""
    rows = [
        {
            "component": one.component,
            "entity_id": one.entity_id,
            "observed_at": one.observed_at,
            "ingested_at": arrived(one.observed_at, arrival, moment),
            "kind": one.kind,
            "value": one.value,
            "detail": json.dumps({**one.detail, **({"part": one.part} if one.part else {})}, sort_keys=True),
        }
        for one in happened
    ]
    return warehouse.put_events(pa.Table.from_pylist(rows, EVENTS))
