"""The policy: costs, rates, limits and autonomy, read from TOML, checked, and frozen.

A file of one's own is laid over the shipped `policy.toml`, so it names only what it changes.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from data.contracts import HORIZON_DAYS
from data.errors import SettingsError
from decisions.domain import WEEKDAYS, Action, Autonomy, Window
from decisions.remedies import Remedy
from decisions.remedies import parse as parse_remedies

REMEDIES: Final = "remedies"
SHIPPED: Final = Path(__file__).with_name("policy.toml")


def _between(low: float, high: float) -> Any:
    """A field with its bounds, both included."""
    return field(metadata={"low": low, "high": high})


def _some_of(*choices: str) -> Any:
    """A field with a list of some of the choices, at least one."""
    return field(metadata={"choices": choices})


@dataclass(frozen=True)
class Horizon:
    """How far ahead an interruption counts."""

    decision_days: float = _between(0.1, HORIZON_DAYS[-1])


@dataclass(frozen=True)
class RiskFloor:
    """Which hosts are worth a thought."""

    minimum_risk: float = _between(0.0, 1.0)
    recovered_below: float = _between(0.0, 1.0)

    @property
    def recovery(self) -> float:
        """The risk below which a host at risk has recovered: never above the floor that made it one."""
        return min(self.recovered_below, self.minimum_risk)


@dataclass(frozen=True)
class Moves:
    """How fast VMs move, and how often a move fails."""

    migration_bandwidth_bytes_per_second: int = _between(1_000_000, 1_000_000_000_000)
    live_setup_seconds: float = _between(0.0, 600.0)
    live_dirty_share_max: float = _between(0.0, 0.99)
    live_failure_share: float = _between(0.0, 1.0)
    live_failure_interrupts_share: float = _between(0.0, 1.0)
    redeploy_seconds: float = _between(0.0, 86_400.0)


@dataclass(frozen=True)
class Costs:
    """What else an action costs, in VM interruptions."""

    planned_interruption_weight: float = _between(0.0, 1.0)
    chosen_interruption_weight: float = _between(0.0, 1.0)
    pause_interruption_weight: float = _between(0.0, 1.0)
    notice_interruptions_per_vm: float = _between(0.0, 1.0)
    repair_interruptions_per_host: float = _between(0.0, 1000.0)
    unserviced_interruptions_per_vm: float = _between(0.0, 1000.0)
    person_interruptions_per_look: float = _between(0.0, 1000.0)
    blocked_interruptions_per_host: float = _between(0.0, 1000.0)


@dataclass(frozen=True)
class People:
    """How soon, how well and how often a person looks."""

    response_hours: float = _between(0.0, 720.0)
    recognised_share: float = _between(0.0, 1.0)
    looks_per_cycle: int = _between(0, 1_000_000)


@dataclass(frozen=True)
class Owners:
    """How owners answer a notice, how long they are offered the choice, and when it is taken from them."""

    acting_share: float = _between(0.0, 1.0)
    acting_mean_days: float = _between(0.01, 365.0)
    offer_acting_share: float = _between(0.0, 1.0)
    offer_days_most: float = _between(1.0, 92.0)
    offer_days_least: float = _between(0.1, 30.0)
    dedicated_offer_days: float = _between(1.0, 92.0)
    override_days: float = _between(0.1, HORIZON_DAYS[-1])
    override_risk: float = _between(0.0, 1.0)


@dataclass(frozen=True)
class ServiceTimes:
    """How long hosts are serviced with their VMs on them, and how often it goes wrong."""

    hot_patch_seconds: float = _between(0.0, 86_400.0)
    preserve_memory_seconds: float = _between(0.0, 3_600.0)
    preserve_memory_failure_share: float = _between(0.0, 1.0)
    cure_first_share: float = _between(0.0, 1.0)
    hosts_per_cycle: int = _between(0, 1_000_000)


@dataclass(frozen=True)
class Churn:
    """How VMs come and go by themselves."""

    vm_arrivals_per_host_day: float = _between(0.0, 1000.0)
    vm_departures_share_per_day: float = _between(0.0001, 1.0)


@dataclass(frozen=True)
class Limits:
    """How much may happen at once, and how often to one host."""

    live_moves_at_once_per_source: int = _between(1, 1000)
    live_moves_at_once_per_target: int = _between(1, 1000)
    hosts_at_once_per_rack: int = _between(1, 1000)
    hosts_at_once_per_fleet: int = _between(1, 100_000)
    spare_hosts_per_cluster: int = _between(0, 1000)
    blocked_hosts_share_per_cluster: float = _between(0.0, 1.0)
    cool_down_hours: float = _between(0.0, 8760.0)
    attempts_per_episode: int = _between(1, 100)


@dataclass(frozen=True)
class Placing:
    """What a VM's target costs besides its own risk, in VM interruptions."""

    rack_crossing_interruptions_per_tib: float = _between(0.0, 10.0)
    free_room_interruptions_per_tib: float = _between(0.0, 10.0)


@dataclass(frozen=True)
class Freshness:
    """How old a fact may be to act on it."""

    telemetry_hours: float = _between(0.1, 8760.0)
    prediction_hours: float = _between(0.1, 720.0)


@dataclass(frozen=True)
class Windows:
    """When work that takes VMs off hosts may start, and the risk that does not wait for it."""

    days_utc: tuple[str, ...] = _some_of(*WEEKDAYS)
    from_hour_utc: float = _between(0.0, 24.0)
    to_hour_utc: float = _between(0.0, 24.0)
    urgent_risk: float = _between(0.0, 1.0)

    @property
    def window(self) -> Window:
        """The window alone."""
        return Window(self.days_utc, self.from_hour_utc, self.to_hour_utc)


@dataclass(frozen=True)
class Notice:
    """How long before the start owners are told: usually, and at the least."""

    live_migrate_minimum_minutes: float = _between(0.0, 10_080.0)
    live_migrate_usual_minutes: float = _between(0.0, 10_080.0)
    evacuate_minimum_minutes: float = _between(0.0, 10_080.0)
    evacuate_usual_minutes: float = _between(0.0, 10_080.0)
    urgent_risk: float = _between(0.0, 1.0)


@dataclass(frozen=True)
class OptOuts:
    """How long a person may keep a host or a pool out."""

    longest_days: float = _between(0.1, 3650.0)


@dataclass(frozen=True)
class EarnedPrecision:
    """What precision a risk bucket must have shown before its hosts are moved."""

    required: bool
    live_migrate_precision_low: float = _between(0.0, 1.0)
    self_service_precision_low: float = _between(0.0, 1.0)
    evacuate_precision_low: float = _between(0.0, 1.0)


@dataclass(frozen=True)
class BreakerLimits:
    """The share of a scope's hosts that may be emptied within the breaker's time."""

    hours: float = _between(0.1, 8760.0)
    floor_hosts: int = _between(1, 100_000)
    trip_times: float = _between(1.0, 100.0)
    fleet_share: float = _between(0.0, 1.0)
    zone_share: float = _between(0.0, 1.0)
    rack_share: float = _between(0.0, 1.0)
    hardware_model_share: float = _between(0.0, 1.0)
    drive_model_share: float = _between(0.0, 1.0)
    firmware_share: float = _between(0.0, 1.0)


@dataclass(frozen=True)
class Incidents:
    """When what failing hosts share is called an incident, and whether that holds single moves back."""

    holds_moves: bool
    window_days: float = _between(1.0, 365.0)
    at_risk_from: float = _between(0.01, 1.0)
    false_discovery_share: float = _between(0.0001, 0.5)
    minimum_affected: int = _between(2, 1000)
    minimum_relative_risk: float = _between(1.0, 100.0)
    separate_below: float = _between(0.0001, 0.5)
    most: int = _between(1, 50)


@dataclass(frozen=True)
class Pool:
    """What holds in one pool (a cluster), its own settings laid over everybody's."""

    autonomy: Mapping[Action, Autonomy]
    windows: Windows
    notice: Notice
    own: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By section, the keys that the pool sets itself."""


@dataclass(frozen=True)
class Policy:
    """All that the decision engine may weigh, and a version that names this very content."""

    horizon: Horizon
    risk: RiskFloor
    moves: Moves
    costs: Costs
    people: People
    owners: Owners
    service: ServiceTimes
    churn: Churn
    limits: Limits
    placement: Placing
    freshness: Freshness
    windows: Windows
    notice: Notice
    opt_outs: OptOuts
    earned: EarnedPrecision
    breaker: BreakerLimits
    incidents: Incidents
    autonomy: Mapping[Action, Autonomy]
    remedies: tuple[Remedy, ...] = ()
    pools: Mapping[str, Pool] = field(default_factory=dict)
    """Pools with settings of their own, by name."""
    version: str = ""
    """sha256 of the content in canonical form: the same numbers give the same version, whatever the file looks like."""

    @property
    def prediction_life(self) -> timedelta:
        """How long a prediction may be acted on."""
        return timedelta(hours=self.freshness.prediction_hours)

    def of(self, pool: str) -> Pool:
        """What holds in the pool."""
        return self.pools.get(pool) or Pool(self.autonomy, self.windows, self.notice)

    def autonomy_key(self, pool: str, action: Action) -> str:
        """Where the file says who may let the action happen in the pool."""
        own = action in self.of(pool).own.get("autonomy", ())
        return f'pool."{pool}".autonomy.{action}' if own else f"autonomy.{action}"


_SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {f.name: f.type for f in fields(Policy) if isinstance(f.type, type) and hasattr(f.type, "__dataclass_fields__")}
)


_BY_POOL: Final = ("autonomy", "windows", "notice")
"""Sections that a pool may have of its own: [pool."NAME".SECTION]."""


def load(path: Path | None = None) -> Policy:
    """The policy in the file, laid over the shipped one; the shipped one alone without a file.

    Raises:
        SettingsError: The file cannot be read, or a key is unknown, of the wrong kind or out of bounds.
    """
    table, own = _parse(SHIPPED), _parse(path) if path is not None else {}
    pools = own.pop("pool", {})
    if path is not None:
        _lay_over(table, own, path)
    return _build(table, pools, path or SHIPPED)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = (
            f"Policy {path} cannot be read: {error.strerror}. Name a file that exists, or none for the shipped policy."
        )
        raise SettingsError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"Policy {path} is not valid TOML: {error}."
        raise SettingsError(msg) from error


def _lay_over(table: dict[str, Any], own: Mapping[str, Any], path: Path) -> None:
    for section, values in own.items():
        if section == REMEDIES:
            table[REMEDIES] = values
            continue
        if section not in table:
            raise SettingsError(_unknown(path, section, table))
        if not isinstance(values, dict):
            msg = f"Policy {path}: {section} must be a section, [{section}], with keys of its own."
            raise SettingsError(msg)
        for key, value in values.items():
            if key not in table[section]:
                raise SettingsError(_unknown(path, f"{section}.{key}", (f"{section}.{k}" for k in table[section])))
            table[section][key] = value


def _unknown(path: Path, key: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
    return f"Policy {path}: unknown key {key}. {hint}"


def _build(table: Mapping[str, Mapping[str, Any]], own_pools: Any, path: Path) -> Policy:
    sections = {name: _section(kind, name, table[name], path) for name, kind in _SECTIONS.items()}
    autonomy = _autonomies("", table["autonomy"], path)
    _check_start("", sections["windows"], sections["notice"], path)
    pools = _pools(table, own_pools, path)
    limits = sections["limits"]
    if limits.live_moves_at_once_per_target < limits.live_moves_at_once_per_source:
        msg = (
            f"Policy {path}: limits.live_moves_at_once_per_target = {limits.live_moves_at_once_per_target} must be at "
            f"least limits.live_moves_at_once_per_source = {limits.live_moves_at_once_per_source}."
        )
        raise SettingsError(msg)
    if sections["owners"].offer_days_least > sections["owners"].offer_days_most:
        msg = f"Policy {path}: owners.offer_days_least must not be above owners.offer_days_most."
        raise SettingsError(msg)
    remedies = parse_remedies(table.get(REMEDIES, []), path)
    content: dict[str, Any] = {name: asdict(section) for name, section in sections.items()}
    content |= {"autonomy": autonomy, REMEDIES: [asdict(each) for each in remedies]}
    content["pools"] = {
        name: [dict(pool.autonomy), asdict(pool.windows), asdict(pool.notice)] for name, pool in pools.items()
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    version = hashlib.sha256(canonical.encode()).hexdigest()
    frozen = MappingProxyType(autonomy), MappingProxyType(pools)
    return Policy(**sections, autonomy=frozen[0], pools=frozen[1], remedies=remedies, version=version)


def _pools(table: Mapping[str, Mapping[str, Any]], own: Any, path: Path) -> dict[str, Pool]:
    """Each pool that the file names, with its own keys laid over those of every pool."""
    if not isinstance(own, dict):
        msg = f'Policy {path}: pool must be a section for each pool, such as [pool."NAME".autonomy].'
        raise SettingsError(msg)
    return {name: _pool(f'pool."{name}".', table, sections, path) for name, sections in sorted(own.items())}


def _pool(prefix: str, table: Mapping[str, Mapping[str, Any]], own: Any, path: Path) -> Pool:
    laid = {section: dict(table[section]) for section in _BY_POOL}
    for section, values in own.items() if isinstance(own, dict) else [(f"= {own!r}", None)]:
        if section not in laid:
            raise SettingsError(_unknown(path, f"{prefix}{section}", (f"{prefix}{known}" for known in _BY_POOL)))
        if not isinstance(values, dict):
            msg = f"Policy {path}: {prefix}{section} must be a section, [{prefix}{section}], with keys of its own."
            raise SettingsError(msg)
        for key, value in values.items():
            if key not in laid[section]:
                known = (f"{prefix}{section}.{k}" for k in laid[section])
                raise SettingsError(_unknown(path, f"{prefix}{section}.{key}", known))
            laid[section][key] = value
    windows = _section(Windows, f"{prefix}windows", laid["windows"], path)
    notice = _section(Notice, f"{prefix}notice", laid["notice"], path)
    _check_start(prefix, windows, notice, path)
    autonomy = MappingProxyType(_autonomies(prefix, laid["autonomy"], path))
    return Pool(autonomy, windows, notice, MappingProxyType({name: frozenset(keys) for name, keys in own.items()}))


def _check_start(prefix: str, windows: Windows, notice: Notice, path: Path) -> None:
    if windows.from_hour_utc == windows.to_hour_utc:
        msg = (
            f"Policy {path}: {prefix}windows.from_hour_utc and {prefix}windows.to_hour_utc are both "
            f"{windows.from_hour_utc:g}, which never opens. 0 to 24 is the whole day."
        )
        raise SettingsError(msg)
    for action in (Action.LIVE_MIGRATE, Action.EVACUATE):
        least, usual = (getattr(notice, f"{action}_{kind}_minutes") for kind in ("minimum", "usual"))
        if usual < least:
            msg = (
                f"Policy {path}: {prefix}notice.{action}_usual_minutes = {usual:g} must be at least "
                f"{prefix}notice.{action}_minimum_minutes = {least:g}."
            )
            raise SettingsError(msg)


def _section(kind: type, name: str, values: Mapping[str, Any], path: Path) -> Any:
    return kind(**{f.name: _value(f"{name}.{f.name}", values[f.name], f, path) for f in fields(kind)})


def _some(key: str, value: Any, choices: tuple[str, ...], path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not set(map(str, value)) <= set(choices):
        msg = f"Policy {path}: {key} = {value!r} must be a list of some of {', '.join(choices)}."
        raise SettingsError(msg)
    return tuple(choice for choice in choices if choice in value)


def _value(key: str, value: Any, wanted: Any, path: Path) -> Any:
    if "choices" in wanted.metadata:
        return _some(key, value, wanted.metadata["choices"], path)
    if wanted.type is bool:
        if isinstance(value, bool):
            return value
        msg = f"Policy {path}: {key} = {value!r} must be true or false."
        raise SettingsError(msg)
    whole = wanted.type is int
    low, high = wanted.metadata["low"], wanted.metadata["high"]
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not low <= value <= high:
        noun = "a whole number" if whole else "a number"
        msg = f"Policy {path}: {key} = {value!r} must be {noun} between {low:,} and {high:,}."
        raise SettingsError(msg)
    return value if whole else float(value)


def _autonomies(prefix: str, values: Mapping[str, Any], path: Path) -> dict[Action, Autonomy]:
    return {Action(name): _autonomy(prefix, Action(name), value, path) for name, value in values.items()}


def _autonomy(prefix: str, action: Action, value: Any, path: Path) -> Autonomy:
    if value not in tuple(Autonomy):
        msg = f"Policy {path}: {prefix}autonomy.{action} = {value!r} must be one of {', '.join(Autonomy)}."
        raise SettingsError(msg)
    if action is Action.MONITOR and value != Autonomy.AUTO:
        msg = (
            f'Policy {path}: {prefix}autonomy.monitor must be "auto": watching is what remains when nothing else is '
            f"allowed."
        )
        raise SettingsError(msg)
    return Autonomy(value)
