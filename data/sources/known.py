"""What the warehouse knows of hosts and the parts in them, for sources that call them by other names."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from data.warehouse import Warehouse


@dataclass(frozen=True)
class Known:
    """Hosts of the inventory, and entities by component and by the host that they sit in."""

    hosts: frozenset[str]
    entities: frozenset[tuple[str, str]]
    sited: Mapping[tuple[str, str], tuple[str, ...]]

    def host(self, told: str) -> str | None:
        """The host that is meant by a name with or without port and domain; as told where there is no inventory."""
        bare = told.strip()
        if bare.count(":") == 1:
            bare = bare.split(":")[0]
        if not bare or not self.hosts:
            return bare or None
        return next((name for name in (bare, bare.split(".")[0]) if name in self.hosts), None)

    def node(self, host: str) -> str:
        """The node that the host is: the only one that the inventory puts into it, or else of the host's own name."""
        nodes = self.sited.get(("node", host), ())
        return nodes[0] if len(nodes) == 1 else host

    def part(self, component: str, *names: str) -> str:
        """The first of the names by which the warehouse knows an entity; the first of all where it knows none."""
        return next((name for name in names if (component, name) in self.entities), names[0])


def known(warehouse: Warehouse) -> Known:
    """What the warehouse knows now."""
    con = warehouse.con
    hosts = con.execute("select host_id from host where valid_until is null").fetchall()
    entities = con.execute("select component, entity_id from entity where component <> 'disk'").fetchall()
    sited: dict[tuple[str, str], tuple[str, ...]] = defaultdict(tuple)
    for component, host, name in con.execute(
        "select component, host_id, entity_id from entity_host join entity using (entity_key) "
        "where valid_until is null and component = 'node' order by entity_id"
    ).fetchall():
        sited[component, host] += (name,)
    return Known(frozenset(host for (host,) in hosts), frozenset((c, n) for c, n in entities), dict(sited))
