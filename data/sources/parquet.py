"""Events and failures that already stand in the contract's shape, as Parquet files."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from data.contracts import EVENTS, FAILURES
from data.errors import InputError
from data.readings import Absorbed
from data.warehouse import Warehouse

CONTRACTS: Final = {"events": EVENTS, "failures": FAILURES}


def load(warehouse: Warehouse, kind: str, path: Path) -> Absorbed:
    """What became of the rows of one Parquet file of `events` or `failures`."""
    contract = CONTRACTS[kind]
    try:
        table = pq.read_table(path).select(contract.names).cast(contract)
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        msg = f"{path} does not fit the {kind} contract ({', '.join(contract.names)}): {error}"
        raise InputError(msg) from error
    put: Callable[[pa.Table], int] = warehouse.put_events if kind == "events" else warehouse.put_failures
    loaded = put(table)
    return Absorbed(table.num_rows, loaded, table.num_rows - loaded, 0)
