"""What a replayed arm remembers between its nights: the ledger's memory of orders and episodes, without the ledger.

Nobody reads the thousands of proposals of a replayed arm, so nothing is written down but what the next night has to
know. `tests/pipelines/test_replay.py` holds this against the ledger itself, night by night.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from decisions.actions import MOVES, SERVICES, ladder
from decisions.domain import UNDER_WAY, Action, Answer, Autonomy, Order, OrderState, Situation, Verdict
from decisions.ledger.record import order_of
from decisions.policy import Policy
from pipelines.steps.settle import QUIET_DAYS, WATCH_DAYS

LET_GO: Final = frozenset({Autonomy.AUTO, Autonomy.APPROVE})
"""What policy or a stand-in for a person lets happen."""
NOTHING: Final = frozenset({OrderState.REFUSED, OrderState.CANCELLED, OrderState.EXPIRED})
"""Ends of orders that never took effect."""


@dataclass
class Episode:
    """A host's time at risk."""

    opened_at: datetime
    proposed_at: datetime
    attempts: int = 0
    emptied_at: datetime | None = None


@dataclass
class Memory:
    """Open orders, when hosts were last ordered off, and episodes."""

    orders: dict[str, Order] = field(default_factory=dict)
    """By id; those that have not come to an end."""
    moved_at: dict[str, datetime] = field(default_factory=dict)
    """By host, the last order to move VMs that took effect."""
    episodes: dict[str, Episode] = field(default_factory=dict)
    """By host; those that are open."""
    told: set[str] = field(default_factory=set)
    """Hosts whose owners an order has told in the open episode."""
    moves: int = 0
    """Orders to move a host's VMs that were taken."""
    actions: Counter[str] = field(default_factory=Counter)
    """Proposals so far, by action."""

    def about(self, seen: Situation, policy: Policy) -> Situation:
        """The situation with what is remembered of other nights."""
        asof_at = seen.asof_at
        cooling = asof_at - timedelta(hours=policy.limits.cool_down_hours)
        window = asof_at - timedelta(hours=policy.breaker.hours)
        return replace(
            seen,
            owned_hosts=frozenset(order.host_id for order in self.orders.values()),
            open_orders=tuple(sorted(self.orders.values(), key=lambda order: (order.not_before, order.order_id))),
            recent_actions={host_id: at for host_id, at in self.moved_at.items() if at >= cooling},
            told_hosts=frozenset(self.told),
            attempts={host_id: one.attempts for host_id, one in self.episodes.items() if one.attempts},
            recent_evacuations=tuple(sorted((h, at) for h, at in self.moved_at.items() if at >= window)),
        )

    def carry_out(
        self, verdict: Verdict, submit: Callable[[Order], Answer], most_moves: int | None = None
    ) -> list[Order]:
        """The orders that the verdict makes and the executor takes, each let go by the policy or a person at once.

        Args:
            verdict: what was decided.
            submit: hands an order to the executor.
            most_moves: hosts that may be emptied tonight, those that gain most first; null: as many as were decided.
        """
        taken, moving = [], 0
        busy = {order.host_id for order in self.orders.values()}
        for proposal in verdict.proposals:
            self.actions[proposal.action.value] += 1
            if proposal.risk.known:
                spell = self.episodes.setdefault(proposal.host_id, Episode(verdict.asof_at, verdict.asof_at))
                spell.proposed_at = verdict.asof_at
            elif proposal.host_id in self.episodes:
                self.episodes[proposal.host_id].proposed_at = verdict.asof_at
            sent = ladder()[proposal.action].sent_to_executor and proposal.autonomy in LET_GO
            if not sent or proposal.host_id in busy:
                continue
            moves = proposal.action in MOVES
            if moves and most_moves is not None and moving >= most_moves:
                continue
            moving += moves
            order = order_of(proposal, verdict.asof_at)
            if self._take(order, submit(order), verdict.asof_at):
                taken.append(order)
        return taken

    def settle(self, answers: Iterable[Answer], failed: Mapping[str, datetime], now: datetime) -> None:
        """Take in what the executor says of open orders and which hosts failed since the last night; end episodes."""
        for answer in answers:
            order = self.orders[answer.order_id]
            if answer.state in UNDER_WAY:
                continue
            del self.orders[answer.order_id]
            if order.action not in MOVES:
                continue
            if answer.state in NOTHING:
                self._undo(order, counted=answer.state is OrderState.REFUSED)
            elif spell := self.episodes.get(order.host_id):
                spell.emptied_at = answer.at
        self._close(failed, now)

    def _take(self, order: Order, answer: Answer, now: datetime) -> bool:
        moves, taken = order.action in MOVES, answer.state not in NOTHING
        if moves and answer.state is not OrderState.EXPIRED and order.host_id in self.episodes:
            self.episodes[order.host_id].attempts += 1
        if taken:
            self.orders[order.order_id] = order
            self.moves += moves
            if order.action in MOVES | SERVICES:
                self.moved_at[order.host_id] = now
            if order.action is Action.NOTIFY:
                self.told.add(order.host_id)
        return taken

    def _undo(self, order: Order, *, counted: bool) -> None:
        """The order came to nothing after it was taken: it did not move its host, and counts as tried if refused."""
        self.moved_at.pop(order.host_id, None)
        self.moves -= 1
        if not counted and order.host_id in self.episodes:
            self.episodes[order.host_id].attempts -= 1

    def _close(self, failed: Mapping[str, datetime], now: datetime) -> None:
        busy = {order.host_id for order in self.orders.values()}
        for host_id, spell in list(self.episodes.items()):
            if host_id in failed and failed[host_id] > spell.opened_at:
                over = True
            elif spell.emptied_at is not None:
                over = spell.emptied_at + timedelta(days=WATCH_DAYS) <= now
            else:
                over = host_id not in busy and spell.proposed_at + timedelta(days=QUIET_DAYS) <= now
            if over:
                del self.episodes[host_id]
                self.told.discard(host_id)
