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

from data.errors import SettingsError
from decisions.domain import Action, Autonomy
from decisions.remedies import Remedy
from decisions.remedies import parse as parse_remedies
from decisions.sections import (
    BreakerLimits,
    Churn,
    Costs,
    EarnedPrecision,
    Experiment,
    Freshness,
    Horizon,
    Incidents,
    Limits,
    Moves,
    Notice,
    OptOuts,
    Owners,
    People,
    Placing,
    RiskFloor,
    ServiceTimes,
    Windows,
)

REMEDIES: Final = "remedies"
SHIPPED: Final = Path(__file__).with_name("policy.toml")


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
    experiment: Experiment
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
