"""Redfish: what the controllers of hosts say of their parts' health, and the event log (SEL) that they keep.

Health is `OK` (0), `Warning` (1) or `Critical` (2); each change is an event of kind `health`: of the DIMM or drive that
it is about, else of the host's node, with the part's name. A drive that predicts its own failure is an event of
kind `failure_predicted`. An entry of the log is an event of kind `log` of the host's node, valued by its severity. None
of them is a failure: a controller says how it judges a part, not that the part was lost.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from data.errors import InputError
from data.quarantine import Reject, set_aside
from data.readings import EARLIEST, Absorbed
from data.sources import tables
from data.sources.arrival import Arrival
from data.sources.bmc import ROOT, Controller, link
from data.sources.known import Known, known
from data.sources.states import State, put_changes, put_happenings
from data.warehouse import Warehouse

SOURCE: Final = "redfish"
HOST: Final = "{host}"
HEALTH: Final = {"OK": 0.0, "Warning": 1.0, "Critical": 2.0}
AT_A_TIME: Final = 256
"""What so many controllers say goes in together."""
MOST_ENTRIES: Final = 10_000
_LOGS_OF_MANAGERS: Final = frozenset({"SEL"})
"""Logs of managers that tell of the hosts; their others tell of who logged in."""


class Opener(Protocol):
    """Gives a controller at an address, logged in, until the block ends."""

    def __call__(self, url: str) -> AbstractContextManager[Controller]:
        """The controller at `url`."""
        ...


@dataclass
class Told:
    """What a controller says."""

    states: list[State] = field(default_factory=list)
    entries: list[State] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


@dataclass(frozen=True)
class _Host:
    """A system behind a controller, and what the warehouse calls its host and node."""

    path: str
    host_id: str
    node: str


def addresses(warehouse: Warehouse, urls: Sequence[str]) -> list[tuple[str, str | None]]:
    """Each address with the host behind it, if known; `{host}` in one stands for each host of the inventory in turn."""
    hosts = sorted(known(warehouse).hosts)
    found: list[tuple[str, str | None]] = []
    for url in urls:
        if HOST in url:
            found += [(url.replace(HOST, host), host) for host in hosts]
        else:
            found.append((url, None))
    return found


def load(
    warehouse: Warehouse,
    urls: Sequence[str],
    opener: Opener,
    *,
    at_once: int = 16,
    arrival: Arrival = "published",
    now: datetime | None = None,
) -> Iterator[Absorbed]:
    """What became of what the controllers say, so many at a time.

    Args:
        warehouse: takes the facts.
        urls: addresses of controllers, see `addresses`.
        opener: opens a controller.
        at_once: how many controllers are asked at the same time.
        arrival: `published` counts what happened as known at its day's end, `now` as arriving now.
        now: the moment of loading, which is the moment of what is said of health; the wall clock's by default.

    Raises:
        InputError: the only controller cannot be read. One of several is set aside with its reason.
    """
    moment = now or datetime.now(UTC)
    asked = addresses(warehouse, urls)
    hosts = known(warehouse)

    def reading(one: tuple[str, str | None]) -> Told | InputError:
        try:
            with opener(one[0]) as controller:
                return read(controller, hosts, one[1], moment)
        except InputError as error:
            return error

    with ThreadPoolExecutor(max(1, min(at_once, len(asked)))) as pool:
        for begins in range(0, len(asked), AT_A_TIME):
            batch = asked[begins : begins + AT_A_TIME]
            answers = dict(zip((url for url, _ in batch), pool.map(reading, batch), strict=True))
            yield _put(warehouse, answers, arrival, moment, only=len(asked) == 1)


def _put(
    warehouse: Warehouse, answers: Mapping[str, Told | InputError], arrival: Arrival, moment: datetime, *, only: bool
) -> Absorbed:
    """What became of the answers by address; one that could not be had is raised if it is the only one."""
    states: list[State] = []
    entries: list[State] = []
    aside = 0
    for url, told in answers.items():
        if isinstance(told, InputError):
            if only:
                raise told
            rejects = [Reject(None, "unreachable", str(told), f"{moment:%Y-%m-%d}")]
        else:
            states, entries, rejects = states + told.states, entries + told.entries, told.rejects
        if rejects:
            set_aside(warehouse, rejects, SOURCE, url, moment)
            aside += len(rejects)
    loaded = put_changes(warehouse, states, arrival, moment) + put_happenings(warehouse, entries, arrival, moment)
    rows = tables.reported(warehouse, SOURCE, next(iter(answers)), len(states) + len(entries), loaded, [], moment)
    return rows + Absorbed(aside, 0, 0, aside)


def read(controller: Controller, hosts: Known, host: str | None, moment: datetime) -> Told:
    """What the controller says of `host`, or of the hosts that its systems name, at a moment."""
    told = Told()
    root = controller.get(ROOT)
    if not link(root.get("Systems")):
        msg = f"{controller.client.base_url} is no Redfish service: {ROOT} links no Systems."
        raise InputError(msg)
    systems = list(controller.members(root, "Systems"))
    found: list[_Host] = []
    for system in systems:
        name = _named(hosts, system, host if len(systems) == 1 else None)
        if name is None:
            words = json.dumps({key: system.get(key) for key in ("Id", "Name", "HostName", "AssetTag")})
            told.rejects.append(Reject(None, "unknown_host", "no host of the inventory is called so", words))
            continue
        one = _Host(str(system.get("@odata.id")), name, hosts.node(name))
        found.append(one)
        _system(controller, hosts, system, one, told, moment)
    for chassis in controller.members(root, "Chassis"):
        _chassis(controller, chassis, _behind(chassis, "ComputerSystems", found), told, moment)
    _logs(controller, root, systems, found, told, moment)
    told.rejects += [Reject(None, "bad_resource", why, path) for path, why in controller.problems]
    return told


def _logs(
    controller: Controller,
    root: Mapping[str, Any],
    systems: Sequence[Mapping[str, Any]],
    found: Sequence[_Host],
    told: Told,
    moment: datetime,
) -> None:
    """Write down the logs: after all else, as a controller may want to be asked for each entry by itself."""
    for system in systems:
        behind = [one for one in found if one.path == str(system.get("@odata.id"))]
        for service in controller.members(system, "LogServices"):
            _log(controller, service, behind, told, moment)
    for manager in controller.members(root, "Managers"):
        for service in controller.members(manager, "LogServices"):
            if service.get("LogEntryType") in _LOGS_OF_MANAGERS or str(service.get("Id")).upper() in _LOGS_OF_MANAGERS:
                _log(controller, service, _behind(manager, "ManagerForServers", found), told, moment)


def _named(hosts: Known, system: Mapping[str, Any], host: str | None) -> str | None:
    """The host that a system is: the one that its address was made for, or else the first name of its own we know."""
    names = [host, *(system.get(key) for key in ("HostName", "AssetTag", "Name", "Id"))]
    return next((found for name in names if isinstance(name, str) and (found := hosts.host(name))), None)


def _behind(resource: Mapping[str, Any], name: str, found: Sequence[_Host]) -> list[_Host]:
    """The hosts that a chassis or manager links; all of them where it links none."""
    links = resource.get("Links")
    linked = links.get(name) if isinstance(links, dict) else None
    paths = {link(one) for one in linked} if isinstance(linked, list) else set()
    return [one for one in found if one.path in paths] if paths else list(found)


def _system(
    controller: Controller, hosts: Known, system: Mapping[str, Any], one: _Host, told: Told, moment: datetime
) -> None:
    _health(system, "system", [one], told, moment)
    for dimm in controller.members(system, "Memory"):
        serial, locator = _text(dimm, "SerialNumber"), _text(dimm, "DeviceLocator") or _text(dimm, "Id")
        names = [name for name in (serial, f"{one.host_id}/{locator}" if locator else "") if name]
        if names:
            _health(dimm, "", [one], told, moment, ("memory", hosts.part("memory", *names)))
    for storage in controller.members(system, "Storage"):
        for controlling in _list(storage, "StorageControllers"):
            _health(controlling, _part("storage", controlling), [one], told, moment)
        for drive in _list(storage, "Drives"):
            _drive(controller.get(link(drive)), one, told, moment)


def _drive(drive: Mapping[str, Any], one: _Host, told: Told, moment: datetime) -> None:
    serial = _text(drive, "SerialNumber")
    if not serial:
        _health(drive, _part("drive", drive), [one], told, moment)
        return
    _health(drive, "", [one], told, moment, ("disk", serial))
    predicted = drive.get("FailurePredicted")
    if isinstance(predicted, bool):
        told.states.append(State("disk", serial, "failure_predicted", moment, float(predicted)))


def _chassis(
    controller: Controller, chassis: Mapping[str, Any], found: Sequence[_Host], told: Told, moment: datetime
) -> None:
    _health(chassis, _part("chassis", chassis), found, told, moment)
    power, thermal = controller.linked(chassis, "Power"), controller.linked(chassis, "Thermal")
    parts: list[tuple[str, Mapping[str, Any]]] = [("power", one) for one in _list(power, "PowerSupplies")]
    parts += [("fan", one) for one in _list(thermal, "Fans")]
    parts += [("temperature", one) for one in _list(thermal, "Temperatures")]
    newer = (("PowerSubsystem", "PowerSupplies", "power"), ("ThermalSubsystem", "Fans", "fan"))
    for subsystem, collection, word in newer:
        listed = {kind for kind, _ in parts}
        if word not in listed:
            parts += [(word, one) for one in controller.members(controller.linked(chassis, subsystem), collection)]
    for word, one in parts:
        _health(one, _part(word, one), found, told, moment)


def _health(
    resource: Mapping[str, Any],
    part: str,
    found: Sequence[_Host],
    told: Told,
    moment: datetime,
    entity: tuple[str, str] | None = None,
) -> None:
    """Write down how well a resource is; one that is absent, or does not say, tells nothing."""
    status = resource.get("Status")
    health = status.get("Health") if isinstance(status, dict) else None
    if not isinstance(status, dict) or health is None or status.get("State") == "Absent":
        return
    if health not in HEALTH:
        told.rejects.append(Reject(None, "bad_value", f"health is {health!r}", json.dumps({"part": part} | status)))
        return
    detail = {"health": health} | ({"name": resource["Name"]} if resource.get("Name") else {})
    for component, name in [entity] if entity else [("node", one.node) for one in found]:
        told.states.append(State(component, name, "health", moment, HEALTH[health], part, detail))


def _log(
    controller: Controller, service: Mapping[str, Any], found: Sequence[_Host], told: Told, moment: datetime
) -> None:
    for entry in controller.members(service, "Entries", MOST_ENTRIES):
        created = _created(entry)
        raw = json.dumps(entry, sort_keys=True)
        if created is None:
            told.rejects.append(Reject(None, "bad_time", f"Created is {entry.get('Created')!r}", raw))
        elif created > max(moment, datetime.now(UTC)):
            told.rejects.append(Reject(None, "future_date", "written after the moment of loading", raw))
        else:
            detail = {
                name: entry[key]
                for name, key in (
                    ("id", "Id"),
                    ("severity", "Severity"),
                    ("message", "Message"),
                    ("message_id", "MessageId"),
                    ("sensor", "SensorType"),
                )
                if entry.get(key) is not None
            } | {"log": str(service.get("Id", ""))}
            value = HEALTH.get(str(entry.get("Severity")), 0.0)
            told.entries += [State("node", one.node, "log", created, value, detail=detail) for one in found]


def _created(entry: Mapping[str, Any]) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(entry.get("Created")))
        known_zone = at if at.tzinfo else at.replace(tzinfo=UTC)
        return known_zone.astimezone(UTC) if at.date() >= EARLIEST else None
    except (OverflowError, ValueError):
        return None


def _part(word: str, resource: Mapping[str, Any]) -> str:
    return f"{word}/{resource.get('MemberId') or resource.get('Id') or resource.get('Name') or '?'}"


def _list(resource: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = resource.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(resource: Mapping[str, Any], name: str) -> str:
    return str(resource.get(name) or "").strip()
