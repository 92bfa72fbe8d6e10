"""What a component's predictor is trained with: a frozen `Spec`, read from TOML and checked key by key."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from data.contracts import COMPONENTS, HORIZON_DAYS
from data.errors import SettingsError
from models.measure import BUDGETS

type_name: Final = {int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "a table"}


@dataclass(frozen=True)
class Gates:
    """Thresholds that a version must meet on its later window before it may become champion."""

    least_positives: int
    least_lift_over_rule: float
    least_observed_ratio: float
    most_observed_ratio: float
    budgets: tuple[float, ...]
    most_shifted_gain: float
    most_megabytes: float
    most_microseconds_a_row: float


@dataclass(frozen=True)
class DriftLimits:
    """From where on a measure of drift is an alarm."""

    psi: float = 0.25
    """The fleet has shifted: 0.1 is worth a look, 0.25 is another population."""
    shifted_features: float = 0.1
    """Share of the features that may lie above `psi` before it is an alarm: single ones always do."""
    least_observed_ratio: float = 0.5
    most_observed_ratio: float = 2.0
    """Observed over predicted failures: an alarm when its whole interval lies outside these two."""
    least_precision_share: float = 0.5
    """Precision over what the model showed when it was made: an alarm when its whole interval lies below this."""
    cooldown_days: int = 14
    """An alarm trains no challenger while one is younger than this."""


@dataclass(frozen=True)
class Raw:
    """The baselines out of the box: what both look at, and the size of the forest."""

    values: tuple[str, ...]
    trees: int
    min_samples_leaf: int


@dataclass(frozen=True)
class Space:
    """Where a parameter is searched for: from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Searched on a logarithmic scale."""
    whole: bool = False
    """Whole numbers only."""


@dataclass(frozen=True)
class Spec:
    """Everything that decides what `train.fit` makes, apart from the data. Field comments stand in the TOML."""

    component: str
    horizon_days: tuple[int, ...]
    rank_horizon_days: int
    minimum_lead_days: float
    snapshot_every_days: int
    negative_share: float
    calibration_days: int
    rounds: int
    boosters: int
    threads: int
    seed: int
    age: str
    lightgbm: Mapping[str, float | int | str | bool]
    rule: tuple[str, ...]
    rates: tuple[str, ...]
    raw: Raw
    gates: Gates
    drift: DriftLimits
    not_before: date | None = None
    tune: Mapping[str, Space] = field(default_factory=dict)
    """Search space by parameter of LightGBM, or `rounds`; empty where nothing is searched for."""

    @property
    def longest_days(self) -> int:
        """The longest horizon, in days."""
        return self.horizon_days[-1]


def load(component: str, path: Path | None = None) -> Spec:
    """Return the spec of a component, from `path` or from the file that ships beside this module.

    Raises:
        SettingsError: no such file, not TOML, or a key is missing, unknown or out of bounds.
    """
    source = path or Path(__file__).with_name(f"{component}.toml")
    if not source.is_file():
        msg = f"no spec for component {component!r}: {source} does not exist; write one, disk.toml shows the keys"
        raise SettingsError(msg)
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{source}: not valid TOML ({error}); correct that line"
        raise SettingsError(msg) from error
    spec = parse(raw, str(source))
    if spec.component != component:
        msg = f"{source}: component is {spec.component!r}, but {component!r} was asked for; name the right file"
        raise SettingsError(msg)
    return spec


def parse(raw: Mapping[str, Any], source: str) -> Spec:
    """Return the spec that a parsed TOML (or JSON) mapping describes; `source` names it in errors.

    Raises:
        SettingsError: a key is missing, unknown or out of bounds.
    """
    top = _Keys(raw, source)
    spec = Spec(
        component=top.choice("component", COMPONENTS),
        horizon_days=top.horizons("horizon_days"),
        rank_horizon_days=top.whole("rank_horizon_days", 1, 90),
        minimum_lead_days=top.number("minimum_lead_days", 0, 30),
        snapshot_every_days=top.whole("snapshot_every_days", 1, 90),
        negative_share=top.number("negative_share", 0.0001, 1),
        calibration_days=top.whole("calibration_days", 7, 730),
        not_before=top.day("not_before"),
        rounds=top.whole("rounds", 1, 20_000),
        boosters=top.whole("boosters", 1, 100),
        threads=top.whole("threads", 1, 256),
        seed=top.whole("seed", 0, 2**31 - 1),
        age=top.text("age"),
        lightgbm=dict(top.table("lightgbm").raw),
        rule=_names(top.table("rule"), "any_above_zero"),
        rates=_names(top.table("rates"), "values"),
        raw=_raw(top.table("raw")),
        gates=_gates(top.table("gates")),
        drift=_drift(top.table("drift")),
        tune=_tune(top.table("tune"), top.table("lightgbm").raw) if "tune" in raw else {},
    )
    top.refuse_unknown(Spec.__dataclass_fields__)
    if spec.minimum_lead_days >= spec.rank_horizon_days:
        msg = f"{source}: minimum_lead_days = {spec.minimum_lead_days} must be below rank_horizon_days"
        raise SettingsError(msg)
    return spec


_TABLES: Final = frozenset({"rule", "rates", "raw", "gates", "drift", "tune"})


def as_mapping(spec: Spec) -> dict[str, Any]:
    """Return the spec as JSON-ready values that `parse` turns back into an equal spec."""
    plain: dict[str, Any] = {
        name: getattr(spec, name)
        for name in Spec.__dataclass_fields__
        if name not in {"rule", "rates", "raw", "gates", "tune"}
    }
    plain["horizon_days"] = list(spec.horizon_days)
    plain["lightgbm"] = dict(spec.lightgbm)
    plain["not_before"] = spec.not_before.isoformat() if spec.not_before else None
    plain["rule"] = {"any_above_zero": list(spec.rule)}
    plain["rates"] = {"values": list(spec.rates)}
    plain["raw"] = {**vars(spec.raw), "values": list(spec.raw.values)}
    plain["drift"] = dict(vars(spec.drift))
    plain["tune"] = {name: dict(vars(space)) for name, space in spec.tune.items()}
    plain["gates"] = {**vars(spec.gates), "budgets": list(spec.gates.budgets)}
    return plain


def _names(keys: "_Keys", key: str) -> tuple[str, ...]:
    names = keys.names(key)
    keys.refuse_unknown({key})
    return names


def _raw(keys: "_Keys") -> Raw:
    raw = Raw(keys.names("values"), keys.whole("trees", 1, 5_000), keys.whole("min_samples_leaf", 1, 10_000))
    keys.refuse_unknown(Raw.__dataclass_fields__)
    return raw


def _gates(keys: "_Keys") -> Gates:
    gates = Gates(
        least_positives=keys.whole("least_positives", 0, 10**9),
        least_lift_over_rule=keys.number("least_lift_over_rule", 0, 1_000),
        least_observed_ratio=keys.number("least_observed_ratio", 0, 1),
        most_observed_ratio=keys.number("most_observed_ratio", 1, 1_000),
        budgets=keys.shares("budgets", BUDGETS),
        most_shifted_gain=keys.number("most_shifted_gain", 0, 1),
        most_megabytes=keys.number("most_megabytes", 0.001, 10_000),
        most_microseconds_a_row=keys.number("most_microseconds_a_row", 0.001, 1_000_000),
    )
    keys.refuse_unknown(Gates.__dataclass_fields__)
    return gates


def _drift(keys: "_Keys") -> DriftLimits:
    limits = DriftLimits(
        psi=keys.number("psi", 0, 100),
        shifted_features=keys.number("shifted_features", 0, 1),
        least_observed_ratio=keys.number("least_observed_ratio", 0, 1),
        most_observed_ratio=keys.number("most_observed_ratio", 1, 1_000),
        least_precision_share=keys.number("least_precision_share", 0, 1),
        cooldown_days=keys.whole("cooldown_days", 1, 365),
    )
    keys.refuse_unknown(DriftLimits.__dataclass_fields__)
    return limits


def _tune(keys: "_Keys", own: Mapping[str, Any]) -> Mapping[str, Space]:
    found = {}
    for name in keys.raw:
        if name != "rounds" and (name not in own or isinstance(own[name], bool | str)):
            msg = (
                f"{keys.source}: {keys.prefix}{name} cannot be searched for: give `rounds` or a number that "
                "[lightgbm] sets"
            )
            raise SettingsError(msg)
        one = keys.table(name)
        space = Space(
            one.number("low", -1e9, 1e9), one.number("high", -1e9, 1e9), one.switch("log"), one.switch("whole")
        )
        if space.low >= space.high or (space.log and space.low <= 0):
            msg = (
                f"{keys.source}: {one.prefix}low = {space.low:g} must be below high = {space.high:g}, and above zero "
                "where log = true"
            )
            raise SettingsError(msg)
        one.refuse_unknown(Space.__dataclass_fields__)
        found[name] = space
    return found


@dataclass(frozen=True)
class _Keys:
    """A table of a settings file, read key by key with errors that name file, key and bounds."""

    raw: Mapping[str, Any]
    source: str
    prefix: str = ""

    def _get(self, key: str, kind: type) -> Any:
        if key not in self.raw:
            msg = f"{self.source}: key {self.prefix}{key} is missing; add it, {type_name[kind]}"
            raise SettingsError(msg)
        value = self.raw[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            msg = f"{self.source}: {self.prefix}{key} = {value!r} must be {type_name[kind]}"
            raise SettingsError(msg)
        return value

    def _bounded(self, key: str, kind: type, low: float, high: float) -> Any:
        value = self._get(key, kind)
        if not low <= value <= high:
            msg = f"{self.source}: {self.prefix}{key} = {value} is out of bounds; it must be from {low} to {high}"
            raise SettingsError(msg)
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        return int(self._bounded(key, int, low, high))

    def number(self, key: str, low: float, high: float) -> float:
        return float(self._bounded(key, float, low, high))

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = str(self._get(key, str))
        if value not in allowed:
            msg = f"{self.source}: {self.prefix}{key} = {value!r} must be one of {', '.join(allowed)}"
            raise SettingsError(msg)
        return value

    def horizons(self, key: str) -> tuple[int, ...]:
        value = tuple(self._get(key, list))
        if value != HORIZON_DAYS:
            msg = f"{self.source}: {self.prefix}{key} = {list(value)} must be {list(HORIZON_DAYS)}"
            raise SettingsError(msg)
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self._get(key, list)
        if not all(isinstance(name, str) for name in value):
            msg = f"{self.source}: {self.prefix}{key} = {value!r} must be a list of feature names"
            raise SettingsError(msg)
        return tuple(value)

    def switch(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            msg = f"{self.source}: {self.prefix}{key} = {value!r} must be true or false"
            raise SettingsError(msg)
        return value

    def text(self, key: str) -> str:
        return str(self._get(key, str))

    def shares(self, key: str, allowed: tuple[float, ...]) -> tuple[float, ...]:
        value = tuple(self._get(key, list))
        if not value or not set(value) <= set(allowed):
            msg = f"{self.source}: {self.prefix}{key} = {list(value)} must be some of {list(allowed)}"
            raise SettingsError(msg)
        return value

    def day(self, key: str) -> date | None:
        value = self.raw.get(key)
        if value is None or type(value) is date:
            return value
        try:
            return date.fromisoformat(value)
        except (TypeError, ValueError) as error:
            msg = f"{self.source}: {self.prefix}{key} = {value!r} must be a day such as 2014-01-01"
            raise SettingsError(msg) from error

    def table(self, key: str) -> "_Keys":
        return _Keys(self._get(key, dict), self.source, f"{self.prefix}{key}.")

    def refuse_unknown(self, known: object) -> None:
        unknown = sorted(set(self.raw) - set(known))  # type: ignore[call-overload]
        if unknown:
            msg = f"{self.source}: unknown key {self.prefix}{unknown[0]}; remove it or correct its spelling"
            raise SettingsError(msg)
