"""The sections of a policy: costs, rates and limits, each with its unit in its name and its bounds beside it."""

from dataclasses import dataclass, field
from typing import Any

from data.contracts import HORIZON_DAYS
from decisions.domain import WEEKDAYS, Window


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
    exact_pairs_most: int = _between(0, 1_000_000)


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
    false_incident_share: float = _between(0.0001, 0.5)
    minimum_affected: int = _between(2, 1000)
    minimum_relative_risk: float = _between(1.0, 100.0)
    separate_below: float = _between(0.0001, 0.5)
    most: int = _between(1, 50)


@dataclass(frozen=True)
class Experiment:
    """How much is left to chance, so that it shows what each action is worth."""

    share: float = _between(0.0, 1.0)
    most_extra_interruptions: float = _between(0.0, 10.0)
    seed: int = _between(0, 2_147_483_647)
