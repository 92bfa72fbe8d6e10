"""What the page shows and the API answers: the same values, in the order in which people ask for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dashboards.words import Section
from decisions.incidents.values import Incident
from decisions.ledger.values import Decision


@dataclass(frozen=True)
class FactorView:
    """One reason for an entity's risk; `contribution` is what it adds to the log-odds."""

    feature: str
    said: str
    value: float | None
    contribution: float


@dataclass(frozen=True)
class EntityView:
    """One thing in the host that may fail; `risk` maps a horizon in days to a probability, empty: unknown."""

    component: str
    entity_id: str
    model: str | None
    model_version: str
    asof_at: datetime
    status: str
    reason: str | None
    risk: Mapping[int, float]
    factors: tuple[FactorView, ...]


@dataclass(frozen=True)
class PriceView:
    """Expected VM interruptions of one action, and its parts."""

    action: str
    named: str
    chosen: bool
    interruptions: float
    failing_first: float
    interrupted: float
    failed_moves: float
    overhead: float
    blocked_by: str | None


@dataclass(frozen=True)
class VmView:
    """What becomes of one VM, and what became of it once the order is done."""

    vm_id: str
    owner: str | None
    series: str | None
    memory_bytes: int | None
    technique: str
    said: str
    target_host_id: str | None
    seconds: float
    outcome: str | None
    interrupted: bool | None
    pause_seconds: float | None


@dataclass(frozen=True)
class GuardrailView:
    """A guardrail that forbade a cheaper action, and why."""

    name: str
    sentence: str


@dataclass(frozen=True)
class CommandView:
    """What to type to decide on a proposal."""

    does: str
    line: str


@dataclass(frozen=True)
class StateView:
    """Where a proposal stands: which part of the page, one word, and a sentence."""

    section: Section
    word: str
    sentence: str


@dataclass(frozen=True)
class Card:
    """One host, one action, and what a person needs to choose what to look at."""

    proposal_id: str
    asof_at: datetime
    host_id: str
    rack: str | None
    zone: str | None
    cluster: str | None
    hardware_model: str | None
    action: str
    action_said: str
    state: StateView
    autonomy: str
    standing: str
    starts_at: datetime
    expires_at: datetime
    risk_said: str
    vms_on_host: int | None
    vms_said: str
    outcome_said: str | None
    price_said: str
    by_chance: str | None
    """That an experiment drew the action, and which one it would be otherwise."""
    earned_said: tuple[str, ...]
    """How good calls of such a risk have been, a sentence from each model that has measured it."""
    guardrails: tuple[GuardrailView, ...]
    reasons: tuple[str, ...]
    steps: tuple[str, ...]
    """The whole plan, a sentence for each step."""
    order_id: str | None
    order_state: str | None
    incident_id: str | None
    commands: tuple[CommandView, ...]
    policy_version: str
    model_version: str
    simulated: bool
    pool: str


@dataclass(frozen=True)
class ProposalView(Card):
    """One host, one action, and everything a person needs to trust it or stop it."""

    risk: Mapping[int, float]
    prices: tuple[PriceView, ...]
    entities: tuple[EntityView, ...]
    vms: tuple[VmView, ...]
    decision: Decision | None
    """The last one; policy's own, where policy lets it happen by itself."""
    etag: str
    """For `If-Match`: changes with every decision and every state of the order."""


@dataclass(frozen=True)
class BreakerView:
    """A breaker that was open when the cycle decided."""

    scope: str
    flagged: int
    actionable: int
    limit: int
    sentence: str


@dataclass(frozen=True)
class StopView:
    """The kill switch, thrown."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class OpenView:
    """An order of another night that has not come to an end."""

    order_id: str
    host_id: str
    action_said: str
    starts_at: datetime


@dataclass(frozen=True)
class CycleView:
    """The question that the proposals answer."""

    cycle_id: str
    asof_at: datetime
    recorded_at: datetime
    policy_version: str
    model_version: str
    proposals: int
    blocked: Mapping[str, int]
    """How often each guardrail bit."""


@dataclass(frozen=True)
class StandingView:
    """What holds for the whole fleet, shown above all proposals."""

    now: datetime
    clock: str
    """`wall`, or `data`: the end of the last day held."""
    cycle: CycleView | None
    published_at: datetime | None
    telemetry_at: datetime | None
    telemetry_stale: bool
    simulated: bool
    hosts: int
    vms: int
    stopped: StopView | None
    breakers: tuple[BreakerView, ...]
    incidents: tuple[Incident, ...]
    """What hosts that fail have in common, the most telling first."""
    notices: tuple[str, ...]
    """What a person should know before anything else, such as a cycle that is overdue."""


@dataclass(frozen=True)
class Group:
    """Proposals of one part of the queue that share an incident, or one that stands alone."""

    incident_id: str | None
    count: int
    cards: tuple[Card, ...]
    """Those that are shown, what starts next first."""


@dataclass(frozen=True)
class Part:
    """One part of the queue, or a page of it."""

    section: Section
    count: int
    """Proposals in all."""
    groups: tuple[Group, ...]
    """Those that are shown, the most urgent first."""
    hidden: int
    """Proposals that are a link away."""


@dataclass(frozen=True)
class Queue:
    """The page: the fleet's standing, and the proposals of one cycle."""

    standing: StandingView
    counts: Mapping[Section, int]
    """How many proposals each part of the page has."""
    parts: tuple[Part, ...]
    """Those that are shown."""
    open_besides: tuple[OpenView, ...]
    nights: tuple[datetime, ...]
    """Moments that other cycles asked about, the newest first."""


@dataclass(frozen=True)
class HazardView:
    """Something that could go wrong, and what is known of it."""

    name: str
    sentence: str


@dataclass(frozen=True)
class EndView:
    """An end that is offered for a veto or a snooze; without hours the proposal's own."""

    hours: float | None
    said: str


@dataclass(frozen=True)
class DeskView:
    """A proposal on the desk of a person who decides."""

    proposal: ProposalView
    now: datetime
    stopped: StopView | None
    ticks: bool
    """Whether time passes as on the wall, so that a countdown may run."""
    coming: str
    """What comes next, and when, in a sentence."""
    deadline: datetime | None
    """What the countdown runs to."""
    deadline_said: str
    hazards: tuple[HazardView, ...]
    decidable: bool
    approvable: bool
    stoppable: bool
    """Its order has not come to an end."""
    ends: tuple[EndView, ...]
    simulated: bool
