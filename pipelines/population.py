"""The population in which incidents are looked for, read from the published snapshot as of one moment."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from data.contracts import COMPONENTS, HORIZON_DAYS
from data.snapshots import arrow
from decisions.incidents.population import Population, Words
from decisions.incidents.words import NAMES
from decisions.policy import Policy
from pipelines.situation import pictured_at

if TYPE_CHECKING:
    import duckdb

MICROSECONDS: Final = "datetime64[us]"


def population(
    con: "duckdb.DuckDBPyConnection",
    asof_at: datetime,
    policy: Policy,
    versions: Mapping[str, str],
    components: Sequence[str] = COMPONENTS,
) -> Population:
    """Parts, how long each was watched in the policy's window, and what befell it, as known at `asof_at`.

    Drives count from their first to their last reading, other parts while inventory had them in a host. A part is at
    risk if the believed model says so at `asof_at`, since the first moment in the window that it said so.

    Args:
        con: the snapshot.
        asof_at: the moment asked about; nothing that was learnt later is read.
        policy: the window, and from which risk on a part is at risk.
        versions: the model version to believe, by component; without one only failures count.
        components: the kinds of parts to look at.
    """
    at = pictured_at(con, asof_at)
    values = {
        "begins": asof_at - timedelta(days=policy.incidents.window_days),
        "asof_at": asof_at,
        "at": at,
        "horizon": next((d for d in HORIZON_DAYS if d >= policy.horizon.decision_days), HORIZON_DAYS[-1]),
        "at_risk_from": policy.incidents.at_risk_from,
        "components": list(components),
        "models": list(versions),
        "versions": list(versions.values()),
    }
    rows = arrow(con, _sql("population.sql"), values)
    return Population(
        asof_at=asof_at,
        component=_words(rows, "component"),
        part=_words(rows, "part"),
        host=_words(rows, "host"),
        days=np.asarray(rows["days"].to_numpy(), dtype=np.float64),
        event_at=rows["event_at"].cast(pa.timestamp("us")).to_numpy().astype(MICROSECONDS),
        failed=np.asarray(rows["failed"].to_numpy(), dtype=np.bool_),
        current=np.asarray(rows["current"].to_numpy(), dtype=np.bool_),
        attributes={name: _words(rows, name) for name in NAMES if rows[name].null_count < rows.num_rows},
        since=_since(con, at),
        simulated=bool(rows["simulated"].to_numpy().any()),
    )


def _since(con: "duckdb.DuckDBPyConnection", at: datetime) -> dict[tuple[str, str], datetime]:
    rows = con.execute(_sql("since.sql"), {"at": at}).fetchall()
    return {(attribute, held): since.astimezone(UTC) for attribute, held, since in rows}


def _words(rows: pa.Table, name: str) -> Words:
    """The column's words; rows that say the same share one text."""
    encoded = rows[name].combine_chunks().dictionary_encode()
    values = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    found: Words = values[encoded.indices.fill_null(len(values) - 1).to_numpy()]
    return found


def _sql(name: str) -> str:
    return (files("pipelines") / name).read_text(encoding="utf-8")
