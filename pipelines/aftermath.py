"""What the VMs of a host met after a decision: failures of whatever host they stood on by then, and what orders did.

A failure counts as one VM interruption, what was announced as policy weighs it. A VM stood where inventory had it when
the host failed, unless an order had taken it off since it came there.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from data.snapshots import arrow, shown
from decisions.domain import Proposal
from decisions.ledger.tally import GONE
from decisions.ledger.tried import Touched
from decisions.sections import Costs

if TYPE_CHECKING:
    import duckdb

_MOMENT: Final = pa.timestamp("us", "UTC")


def costs(
    con: "duckdb.DuckDBPyConnection",
    decided: Sequence[Proposal],
    horizon: timedelta,
    touched: Sequence[Touched],
    weights: Costs,
) -> list[float]:
    """What the VMs of each decision met within the horizon, in VM interruptions.

    Args:
        con: the snapshot.
        decided: the decisions; at least one.
        horizon: for how long after its moment a decision's VMs are looked at.
        touched: what orders did to VMs from the first moment until the last one's horizon.
        weights: what an announced interruption counts.
    """
    asked = pa.table(
        {
            "number": range(len(decided)),
            "host_id": [one.host_id for one in decided],
            "asof_at": pa.array([one.asof_at for one in decided], _MOMENT),
            "until": pa.array([one.asof_at + horizon for one in decided], _MOMENT),
        }
    )
    query = (files("pipelines") / "aftermath.sql").read_text(encoding="utf-8")
    with shown(con, asked=asked):
        rows = arrow(con, query, {"since": min(one.asof_at for one in decided)}).to_pylist()
    by_vm: dict[str, list[Touched]] = defaultdict(list)
    for each in touched:
        by_vm[each.vm_id].append(each)
    found = [0.0] * len(decided)
    for row in rows:
        if row["failed_at"] is not None and not _gone(
            by_vm[row["vm_id"]], row["host_id"], row["there_from"], row["failed_at"]
        ):
            found[row["number"]] += 1.0
    for number, vm_id in {(row["number"], row["vm_id"]) for row in rows}:
        begins = decided[number].asof_at
        found[number] += sum(_weight(each, weights) for each in by_vm[vm_id] if begins < each.at <= begins + horizon)
    return found


def _gone(touched: Sequence[Touched], host_id: str, since: datetime, until: datetime) -> bool:
    """Whether an order took the VM off the host in that time."""
    return any(one.host_id == host_id and one.result in GONE and since < one.at <= until for one in touched)


def _weight(touched: Touched, weights: Costs) -> float:
    """What an order did to a VM, in interruptions without notice."""
    announced = {
        "redeployed": weights.planned_interruption_weight,
        "chosen": weights.chosen_interruption_weight,
        "paused": weights.pause_interruption_weight,
    }
    return announced.get(touched.result, float(touched.interrupted))
