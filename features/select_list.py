"""A statement with a part of its select list: DuckDB then works out nothing that only the rest of it needs."""

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import duckdb

_pruned: Final[dict[tuple[str, frozenset[str]], str]] = {}


def only(con: "duckdb.DuckDBPyConnection", query: str, names: frozenset[str]) -> str:
    """Return the statement with those columns alone, in its own order; names that it has not are passed over.

    Args:
        con: any connection; it parses the statement, and looks nothing up.
        query: one select; what it selects from is left as it is.
        names: of the columns that are kept.
    """
    known = _pruned.get((query, names))
    if known is None:
        ((text,),) = con.execute("select json_serialize_sql($query)", {"query": query}).fetchall()
        parsed = json.loads(text)
        node = parsed["statements"][0]["node"]
        node["select_list"] = [item for item in node["select_list"] if _name(item) in names]
        values = {"parsed": json.dumps(parsed)}
        ((known,),) = con.execute("select json_deserialize_sql($parsed::json)", values).fetchall()
        _pruned[query, names] = known
    return known


def _name(item: dict[str, Any]) -> str:
    return str(item["alias"] or item.get("column_names", [""])[-1])
