"""The nouns of a decision: frozen values in, frozen values out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from data.contracts import HORIZON_DAYS
from decisions.incidents.values import Incident
from models.earned import Earned

if TYPE_CHECKING:
    from decisions.rest import Rest


class Action(StrEnum):
    """The ladder, from the least to the most disruptive."""

    MONITOR = "monitor"
    NOTIFY = "notify"
    BLOCK_PLACEMENTS = "block_placements"
    HOT_PATCH = "hot_patch"
    PRESERVE_MEMORY = "preserve_memory"
    SELF_SERVICE = "self_service"
    LIVE_MIGRATE = "live_migrate"
    EVACUATE = "evacuate"
    DECOMMISSION = "decommission"
    INVESTIGATE = "investigate"


class Autonomy(StrEnum):
    """Who may let an action happen: nobody, nobody but it is shown, a person, the policy itself."""

    NEVER = "never"
    PROPOSE = "propose"
    APPROVE = "approve"
    AUTO = "auto"


@dataclass(frozen=True)
class Factor:
    """One reason for a risk: a feature, its value, and what it adds to the log-odds."""

    feature: str
    value: float | None
    contribution: float


@dataclass(frozen=True)
class EntityRisk:
    """Risk of one entity, or `unknown` with the reason. `curve` maps a horizon in days to a probability."""

    entity_id: str
    component: str
    host_id: str
    asof_at: datetime
    model_version: str
    status: str
    reason: str | None
    curve: Mapping[int, float]
    factors: tuple[Factor, ...] = ()
    model: str | None = None
    """The entity's make, for breakers and incidents."""


@dataclass(frozen=True)
class HostRisk:
    """Risk of a host: the chance that any of its entities fails, and the entities that carry it.

    `entities` are those with a known risk, the riskiest first; `curve` is empty when nothing is known of any of them.
    """

    host_id: str
    asof_at: datetime
    curve: Mapping[int, float]
    entities: tuple[EntityRisk, ...]
    unknown: tuple[EntityRisk, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is a curve to reckon with: an unknown risk is never a low one."""
        return bool(self.curve)

    @property
    def makes(self) -> frozenset[str]:
        """The makes of its parts with a known risk."""
        return frozenset(entity.model for entity in self.entities if entity.model is not None)

    def within(self, days: float) -> float:
        """The probability of failure within `days`: linear between horizons, in proportion below the first."""
        d0, p0 = 0.0, 0.0
        for d1 in HORIZON_DAYS:
            p1 = self.curve[d1]
            if days <= d1:
                return p0 + (p1 - p0) * (days - d0) / (d1 - d0)
            d0, p0 = float(d1), p1
        return p0


@dataclass(frozen=True)
class Host:
    """A machine that runs VMs, as `data.contracts.HOSTS` has it."""

    host_id: str
    cluster: str
    zone: str
    rack: str
    fault_domain: int
    hardware_model: str
    firmware: str
    vcpus: int
    memory_bytes: int
    state: str
    simulated: bool
    power_feed: str | None = None
    switch: str | None = None
    kernel: str | None = None
    dedicated_to: str | None = None
    """The owner who has the whole host for himself; null: its VMs are of many owners."""


@dataclass(frozen=True)
class Vm:
    """A virtual machine, as `data.contracts.VMS` has it."""

    vm_id: str
    host_id: str
    owner: str
    series: str
    vcpus: int
    memory_bytes: int
    dirty_bytes_per_second: int
    availability_set: str | None
    live_migratable: bool
    simulated: bool


@dataclass(frozen=True)
class VmPlan:
    """What becomes of one VM: by which technique, to which host (null: it stays, or nobody knows yet)."""

    vm_id: str
    technique: Action
    target_host_id: str | None
    seconds: float
    """How long the technique takes for this VM, once it begins."""
    deadline: datetime | None = None
    """Until when the VM's owner may pick the moment; then the scheduled phase redeploys it. Null: nobody is asked."""


@dataclass(frozen=True)
class Change:
    """A service that a host gets: one of its attributes goes from one value to another."""

    name: str
    """What the policy calls the remedy."""
    attribute: str
    value: str
    becomes: str


@dataclass(frozen=True)
class Step:
    """One step of a plan, as people read it: what is done, from when, with how many VMs, and on what condition."""

    action: Action
    at: datetime | None
    """When it begins at the earliest; null: once its condition holds."""
    vms: int
    when: str


WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Window:
    """A maintenance window: on these days, from one hour to the other, in UTC; past midnight where it ends earlier."""

    days_utc: tuple[str, ...]
    from_hour_utc: float
    to_hour_utc: float


@dataclass(frozen=True)
class StartRule:
    """What the start of an order must keep to, whenever the order is made."""

    notice_minutes: float = 0.0
    """Between telling the owners and the start."""
    window: Window | None = None
    """Null: any time."""


@dataclass(frozen=True)
class OptOut:
    """A person's word that a host or a pool is left alone, by whom, why and until when."""

    opt_out_id: str
    scope: str
    """`host` or `pool`."""
    name: str
    actions: tuple[Action, ...]
    """What is not done; empty: nothing that becomes an order."""
    by: str
    reason: str
    at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Price:
    """Expected VM interruptions of one action, and its parts, which add up to `interruptions`.

    The unit is one VM interrupted without notice; an interruption with notice counts for the weight in the policy.
    """

    action: Action
    interruptions: float
    failing_first: float
    """VMs still there if the hardware fails before the action completes, times the chance of that."""
    interrupted: float
    """VMs that the action interrupts by itself."""
    failed_moves: float
    """Live moves expected to fail in a way that interrupts the VM."""
    overhead: float = 0.0
    """What it costs besides: a person's time, capacity held back; in interruptions, at the policy's rates."""
    blocked_by: str | None = None
    """The guardrail that forbids it now, by name, or null; the sentence stands in the proposal."""


@dataclass(frozen=True)
class Proposal:
    """One host, one action, its reasons, and the price of every other action."""

    proposal_id: str
    """A function of the question (`asof_at`, host, policy and model version), so asking again gives the same id."""
    asof_at: datetime
    host_id: str
    action: Action
    autonomy: Autonomy
    expires_at: datetime
    not_before: datetime
    risk: HostRisk
    prices: tuple[Price, ...]
    vms: tuple[VmPlan, ...]
    reasons: tuple[str, ...]
    blocked: tuple[str, ...]
    """Guardrails that forbade a cheaper action, as "name: sentence"."""
    policy_version: str
    model_version: str
    propensity: float = 1.0
    """Probability that this policy picks this action here; 1 where nothing is random."""
    chances: Mapping[Action, float] = field(default_factory=dict)
    """The same of each action that was open to chance; empty where nothing is random."""
    draw: float | None = None
    """Where the host stands between 0 and 1, which decided; null where nothing is random."""
    simulated: bool = False
    planned: bool = False
    """Due for service, and not at risk."""
    steps: tuple[Step, ...] = ()
    """The whole plan, of which this proposal's order is the part that can begin now."""
    remedy: Change | None = None
    """What cures or services the host; null where it is only emptied or watched."""
    pool: str = ""
    """The host's cluster."""
    start_rule: StartRule = StartRule()
    """What an order that is made later must keep to as well."""
    earned: tuple[Earned, ...] = ()
    """How good calls of the host's risk have been: of each model that has measured its band."""
    incident_id: str | None = None
    """The incident that the host's riskiest part belongs to."""


@dataclass(frozen=True)
class Situation:
    """All that a decision may look at."""

    asof_at: datetime
    hosts: Mapping[str, Host]
    vms: Mapping[str, tuple[Vm, ...]]
    """VMs by host."""
    risks: tuple[EntityRisk, ...]
    earned: tuple[Earned, ...] = ()
    telemetry_at: datetime | None = None
    """Newest reading held at all."""
    owned_hosts: frozenset[str] = frozenset()
    """Hosts with an open order, an open approval or a person's no that still holds: one owner at a time."""
    open_orders: tuple["Order", ...] = ()
    """Orders under way: they hold budgets, and room on their targets, until they end."""
    recent_actions: Mapping[str, datetime] = field(default_factory=dict)
    """Last time each host was acted on, for the cool-down."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """Orders per host within the current episode."""
    recent_evacuations: tuple[tuple[str, datetime], ...] = ()
    """Hosts emptied in the breaker's window, and when."""
    stopped_by: str | None = None
    """Who threw the kill switch, or null."""
    told_hosts: frozenset[str] = frozenset()
    """Hosts whose owners have been told in the current episode."""
    opt_outs: tuple[OptOut, ...] = ()
    """Hosts and pools that people keep out for now."""
    incidents: tuple[Incident, ...] = ()
    """What hosts that fail have in common, the most telling first."""
    now: datetime | None = None
    """The moment of deciding, which telemetry and predictions are aged by; null: `asof_at`."""
    rest: "Rest | None" = None
    """What is told of the hosts that `risks` and `vms` leave out; null: they tell of all."""


@dataclass(frozen=True)
class Breaker:
    """A breaker that is open: which scope, how many of how many, and the sentence for a person."""

    scope: str
    flagged: int
    actionable: int
    limit: int
    sentence: str


@dataclass(frozen=True)
class Placement:
    """How well the VMs of a cycle were placed, in expected VM interruptions."""

    vms: int
    """VMs that needed a target."""
    placed: int
    objective: float
    """What the targets cost, and what the VMs cost that were left behind."""
    bound: float
    """What no assignment can go below."""
    method: str
    """`exact`, `fast`, `exact and fast` where clusters differ, or `none` without VMs."""

    @property
    def gap(self) -> float:
        """By what share of the bound the objective may be above the least that is possible."""
        return self.objective / self.bound - 1.0 if self.bound > 0 else 0.0


@dataclass(frozen=True)
class Verdict:
    """What `decide` answers: proposals, how often each guardrail bit, and the breakers that are open."""

    asof_at: datetime
    policy_version: str
    model_version: str
    proposals: tuple[Proposal, ...]
    blocked: Mapping[str, int]
    breakers: tuple[Breaker, ...]
    incidents: tuple[Incident, ...] = ()
    placement: Placement | None = None
    """How well VMs were placed; null where the verdict is read back from the ledger."""


@dataclass(frozen=True)
class Order:
    """A decision on its way to the executor. `order_id` is the idempotency key."""

    order_id: str
    proposal_id: str
    host_id: str
    action: Action
    vms: tuple[VmPlan, ...]
    not_before: datetime
    expires_at: datetime
    reasons: tuple[str, ...]
    policy_version: str
    model_version: str
    remedy: Change | None = None
    """What cures or services the host; null where it is only emptied or watched."""


class OrderState(StrEnum):
    """Where an order stands."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


UNDER_WAY: Final = (OrderState.ACCEPTED, OrderState.STARTED)
"""Where an order stands that the executor has taken and not ended."""


@dataclass(frozen=True)
class VmOutcome:
    """What became of one VM.

    `moved`, `redeployed`, `chosen` (redeployed at its owner's moment), `paused` (in memory, while the host was
    serviced), `stayed`, `failed` (interrupted by a failed move) or `lost`.
    """

    vm_id: str
    result: str
    target_host_id: str | None
    pause_seconds: float
    interrupted: bool


@dataclass(frozen=True)
class Answer:
    """What the executor says of an order at a moment."""

    order_id: str
    state: OrderState
    at: datetime
    reason: str | None = None
    vms: tuple[VmOutcome, ...] = ()
    host_state: str | None = None
    """How the order left its host, once it has ended, if the executor says: `blocked`, `empty`, `repair`, ..."""


@dataclass(frozen=True)
class BadAnswer:
    """What the executor said that is of no use, and why."""

    order_id: str | None
    """The order that it is about; null: that cannot be read."""
    why: str
