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
from decisions.actions import PRICED
from decisions.domain import Action, Autonomy

SHIPPED: Final = Path(__file__).with_name("policy.toml")


def _between(low: float, high: float) -> Any:
    """A field with its bounds, both included."""
    return field(metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Horizon:
    """How far ahead an interruption counts."""

    decision_days: float = _between(0.1, HORIZON_DAYS[-1])


@dataclass(frozen=True)
class RiskFloor:
    """Which hosts are worth a thought."""

    minimum_risk: float = _between(0.0, 1.0)


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
    person_interruptions_per_look: float = _between(0.0, 1000.0)
    blocked_interruptions_per_host: float = _between(0.0, 1000.0)


@dataclass(frozen=True)
class People:
    """How soon, how well and how often a person looks."""

    response_hours: float = _between(0.0, 720.0)
    recognised_share: float = _between(0.0, 1.0)
    looks_per_cycle: int = _between(0, 1_000_000)


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
class EarnedPrecision:
    """What precision a risk bucket must have shown before its hosts are moved."""

    required: bool
    live_migrate_precision_low: float = _between(0.0, 1.0)
    evacuate_precision_low: float = _between(0.0, 1.0)


@dataclass(frozen=True)
class BreakerLimits:
    """The share of a scope's hosts that may be emptied within the breaker's time."""

    hours: float = _between(0.1, 8760.0)
    floor_hosts: int = _between(1, 100_000)
    fleet_share: float = _between(0.0, 1.0)
    zone_share: float = _between(0.0, 1.0)
    rack_share: float = _between(0.0, 1.0)
    hardware_model_share: float = _between(0.0, 1.0)
    drive_model_share: float = _between(0.0, 1.0)
    firmware_share: float = _between(0.0, 1.0)


@dataclass(frozen=True)
class Policy:
    """All that the decision engine may weigh, and a version that names this very content."""

    horizon: Horizon
    risk: RiskFloor
    moves: Moves
    costs: Costs
    people: People
    churn: Churn
    limits: Limits
    placement: Placing
    freshness: Freshness
    earned: EarnedPrecision
    breaker: BreakerLimits
    autonomy: Mapping[Action, Autonomy]
    version: str = ""
    """sha256 of the content in canonical form: the same numbers give the same version, whatever the file looks like."""

    @property
    def prediction_life(self) -> timedelta:
        """How long a prediction may be acted on."""
        return timedelta(hours=self.freshness.prediction_hours)


_SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {f.name: f.type for f in fields(Policy) if isinstance(f.type, type) and hasattr(f.type, "__dataclass_fields__")}
)


def load(path: Path | None = None) -> Policy:
    """The policy in the file, laid over the shipped one; the shipped one alone without a file.

    Raises:
        SettingsError: The file cannot be read, or a key is unknown, of the wrong kind or out of bounds.
    """
    table = _parse(SHIPPED)
    if path is not None:
        _lay_over(table, _parse(path), path)
    return _build(table, path or SHIPPED)


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


def _build(table: Mapping[str, Mapping[str, Any]], path: Path) -> Policy:
    sections = {name: _section(kind, name, table[name], path) for name, kind in _SECTIONS.items()}
    autonomy = {Action(name): _autonomy(Action(name), value, path) for name, value in table["autonomy"].items()}
    limits = sections["limits"]
    if limits.live_moves_at_once_per_target < limits.live_moves_at_once_per_source:
        msg = (
            f"Policy {path}: limits.live_moves_at_once_per_target = {limits.live_moves_at_once_per_target} must be at "
            f"least limits.live_moves_at_once_per_source = {limits.live_moves_at_once_per_source}."
        )
        raise SettingsError(msg)
    content = {**{name: asdict(section) for name, section in sections.items()}, "autonomy": autonomy}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    version = hashlib.sha256(canonical.encode()).hexdigest()
    return Policy(**sections, autonomy=MappingProxyType(autonomy), version=version)


def _section(kind: type, name: str, values: Mapping[str, Any], path: Path) -> Any:
    return kind(**{f.name: _value(f"{name}.{f.name}", values[f.name], f, path) for f in fields(kind)})


def _value(key: str, value: Any, wanted: Any, path: Path) -> Any:
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


def _autonomy(action: Action, value: Any, path: Path) -> Autonomy:
    if value not in tuple(Autonomy):
        msg = f"Policy {path}: autonomy.{action} = {value!r} must be one of {', '.join(Autonomy)}."
        raise SettingsError(msg)
    if action not in PRICED and value != Autonomy.NEVER:
        msg = (
            f'Policy {path}: autonomy.{action} = "{value}", but {action} has no price yet and cannot be chosen. '
            f'Set it to "never".'
        )
        raise SettingsError(msg)
    if action is Action.MONITOR and value != Autonomy.AUTO:
        msg = f'Policy {path}: autonomy.monitor must be "auto": watching is what remains when nothing else is allowed.'
        raise SettingsError(msg)
    return Autonomy(value)
