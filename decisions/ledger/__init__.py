"""The ledger: every proposal, decision, order and outcome, and an append-only history of how they came about.

SQLite by default, PostgreSQL by URL. Everything that changes it is one transaction, and repeating it changes nothing.
`besides` leaves out what the cycle of that id (`record.cycle_id_of`) has itself recorded, so that a repeated
cycle sees what the first one saw; another policy or model asking about the same moment is another cycle, and sees it.
All moments are aware and come back in UTC.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta

from sqlalchemy import insert, update

from data.errors import LedgerError
from decisions.domain import Action, Answer, OptOut, Order, OrderState, Proposal, Verdict, VmOutcome
from decisions.incidents.values import Incident
from decisions.ledger import chain, counts, listing, opt_outs, orders, queries, record, said, services, starts, tried
from decisions.ledger import schema as tables
from decisions.ledger.chain import Entry, Verified
from decisions.ledger.listing import Selection
from decisions.ledger.notices import Notices
from decisions.ledger.reasoned import reasoned
from decisions.ledger.said import ANYWAY, Condition, Decided, Said
from decisions.ledger.services import Ask
from decisions.ledger.starts import Start
from decisions.ledger.store import Opened, reading, writing
from decisions.ledger.tried import Touched
from decisions.ledger.turns import Still, turn
from decisions.ledger.values import (
    Cycle,
    Episode,
    Guards,
    ListedOptOut,
    ListedOrder,
    ListedProposal,
    OrderEvent,
    Recorded,
    Standing,
    Stop,
)


class Ledger(Opened):
    """A ledger at a SQLAlchemy URL, made and brought up to date when it is opened, if it may be."""

    # Choices

    def record(self, verdict: Verdict, now: datetime) -> Recorded:
        """What was written, all or none: proposals, automatic decisions, orders, outbox, episodes and history.

        A cycle (the verdict's moment, policy and models) is recorded once; the second time nothing changes.
        """
        with writing(self._engine) as con:
            return record.record(con, verdict, now)

    def cycles(self, limit: int = 30) -> list[Cycle]:
        """The newest cycles, by the moment they asked about."""
        with reading(self._engine) as con:
            return queries.cycles(con, limit)

    def holds(self, cycle_id: str) -> bool:
        """Whether the cycle of that id was recorded."""
        with reading(self._engine) as con:
            return bool(queries.cycles(con, 1, [tables.cycle.c.cycle_id == cycle_id]))

    def cycle(self, cycle_id: str) -> Cycle:
        """The recorded verdict of that id.

        Raises:
            LedgerError: There is no such cycle.
        """
        with reading(self._engine) as con:
            found = queries.cycles(con, 1, [tables.cycle.c.cycle_id == cycle_id])
        if not found:
            msg = f"There is no cycle {cycle_id} in the ledger. `foreshock decide` records one."
            raise LedgerError(msg)
        return found[0]

    def left_to_chance(self, until: datetime) -> list[Proposal]:
        """Proposals of questions up to the moment that chance had a part in, the oldest first."""
        with reading(self._engine) as con:
            return tried.proposals(con, until)

    def incidents(self, cycle_id: str) -> list[Incident]:
        """The incidents that were found before the cycle was decided, the most telling first."""
        with reading(self._engine) as con:
            return queries.incidents(con, [tables.incident.c.cycle_id == cycle_id])

    def earlier_incidents(self, before: datetime, days: float) -> list[Incident]:
        """The incidents of questions in the days before that moment, the newest first."""
        asked = tables.incident.c.asof_at
        with reading(self._engine) as con:
            return queries.incidents(con, [asked < before, asked >= before - timedelta(days=days)])

    def proposals(
        self,
        now: datetime,
        *,
        cycle_id: str | None = None,
        host_id: str | None = None,
        action: Action | None = None,
        standing: Standing | None = None,
        limit: int | None = None,
    ) -> list[ListedProposal]:
        """Proposals as they stand `now`, the newest question first, then in the order of the verdict."""
        asked = tables.proposal.c
        wanted = ((asked.cycle_id, cycle_id), (asked.host_id, host_id), (asked.action, action and action.value))
        where = [column == value for column, value in wanted if value is not None]
        with reading(self._engine) as con:
            found = queries.proposals(con, now, where, None if standing is not None else limit)
        return [each for each in found if standing in (None, each.standing)][:limit]

    def listed(self, now: datetime, wanted: Selection, limit: int) -> list[ListedProposal]:
        """Proposals of all cycles that are wanted, as they stand `now`: of the newest cycle first."""
        with reading(self._engine) as con:
            return listing.page(con, now, wanted, None, limit)

    def proposal(self, proposal_id: str, now: datetime) -> ListedProposal:
        """The proposal as it stands `now`.

        Raises:
            LedgerError: There is no such proposal.
        """
        with reading(self._engine) as con:
            found = queries.proposal(con, now, proposal_id)
        if found is None:
            msg = f"There is no proposal {proposal_id}. `foreshock decisions list` shows them."
            raise LedgerError(msg)
        return found

    def say(self, words: Said, on: Condition = ANYWAY) -> Decided:
        """What a person says to a proposal, written down; what `decisions.ledger.said.say` tells and raises."""
        with writing(self._engine) as con:
            return said.say(con, words, on)

    def approve(self, proposal_id: str, by: str, reason: str, at: datetime) -> Order | None:
        """The order that the approval makes; None for actions that no executor carries out. Raises as `say`."""
        with writing(self._engine) as con:
            return said.approve(con, proposal_id, by, reason, at)

    def veto(self, proposal_id: str, by: str, reason: str, at: datetime, until: datetime | None = None) -> None:
        """Say no; the host is left alone until then, or until the proposal expires. Raises as `say`."""
        with writing(self._engine) as con:
            said.refuse(con, proposal_id, Standing.VETOED, by, reason, at, until)

    def snooze(self, proposal_id: str, by: str, reason: str, at: datetime, until: datetime | None = None) -> None:
        """Say not now: until it changes, or then; the proposal can still be approved or vetoed. Raises as `say`."""
        with writing(self._engine) as con:
            said.refuse(con, proposal_id, Standing.SNOOZED, by, reason, at, until)

    # Opt-outs

    def opt_out(self, out: OptOut) -> OptOut:
        """The opt-out as it is held from now on; the very same in force is not written twice."""
        with writing(self._engine) as con:
            return opt_outs.add(con, out)

    def remove_opt_out(self, opt_out_id: str, by: str, reason: str, at: datetime) -> None:
        """End an opt-out before its time.

        Raises:
            UsageError: No reason.
            LedgerError: There is no such opt-out.
            Refused: It has ended already.
        """
        with writing(self._engine) as con:
            opt_outs.remove(con, opt_out_id, by, reason, at)

    def opt_outs(self) -> list[ListedOptOut]:
        """All opt-outs there ever were, the newest first."""
        with reading(self._engine) as con:
            return opt_outs.listed(con)

    def opted_out(self, at: datetime) -> tuple[OptOut, ...]:
        """Opt-outs that hold at the moment."""
        with reading(self._engine) as con:
            return opt_outs.holding(con, at)

    # Orders on their way

    def dead_letters(self) -> int:
        """Orders whose handing over was given up, and that wait for a person."""
        with reading(self._engine) as con:
            return counts.dead_letters(con)

    def bad_answers(self) -> int:
        """Open orders of which the executor's last answer was of no use."""
        with reading(self._engine) as con:
            return counts.bad_answers(con)

    def turn(self) -> AbstractContextManager[Still]:
        """A dispatcher's turn, which no other dispatcher of this ledger has meanwhile; see `turns.turn`."""
        return turn(self._engine)

    def lease(self, now: datetime, limit: int, lease_seconds: float) -> list[Order]:
        """Orders to hand over now, kept from other dispatchers until the lease ends; none while the kill switch is on.

        Expired orders are never among them: `expire` ends those. `not_before` is the executor's to keep.
        """
        with writing(self._engine) as con:
            switch = record.last_control(con)
            if switch is not None and switch.stopped:
                return []
            return orders.lease(con, now, limit, lease_seconds)

    def delay(self, order_id: str, not_before: datetime, at: datetime, reason: str) -> None:
        """Let an order that was not handed over start later than it says."""
        with writing(self._engine) as con:
            orders.delay(con, order_id, not_before, at, reason)

    def mark_sent(self, order_id: str, at: datetime) -> None:
        """The executor has the order."""
        with writing(self._engine) as con:
            orders.mark(con, order_id, at, "sent", last_error=None)

    def mark_retry(self, order_id: str, at: datetime, error: str, next_attempt_at: datetime) -> None:
        """Handing over failed; it is tried again from then on."""
        with writing(self._engine) as con:
            orders.mark(con, order_id, at, "pending", last_error=error, next_attempt_at=next_attempt_at)

    def mark_dead(self, order_id: str, at: datetime, error: str) -> None:
        """Handing over failed too often; only `retry` brings it back."""
        with writing(self._engine) as con:
            orders.mark(con, order_id, at, "dead", last_error=error)

    def mark_refused(self, order_id: str, at: datetime, reason: str) -> bool:
        """Whether the order ended before it was handed over, because its precondition no longer holds."""
        with writing(self._engine) as con:
            return orders.give_up(con, order_id, OrderState.REFUSED, at, reason)

    def expire(self, now: datetime) -> list[str]:
        """The orders that expired before they were handed over; they end here."""
        with writing(self._engine) as con:
            late = orders.overdue(con, now)
            for order_id in late:
                orders.give_up(con, order_id, OrderState.EXPIRED, now, "its prediction expired first")
            return late

    def cancel(self, order_id: str, by: str, reason: str, at: datetime) -> None:
        """End an order that was not handed over; the host is left alone until the order would have expired.

        Raises:
            UsageError: No reason.
            LedgerError: There is no such order.
            Refused: It was handed over (then the executor must cancel it) or has ended.
        """
        with writing(self._engine) as con:
            orders.cancel(con, order_id, by, reason, at)

    def call_back(self, order_id: str, by: str, reason: str, at: datetime) -> None:
        """Write down who wants an order called back that the executor has, before it is asked.

        Raises:
            UsageError: No reason.
            LedgerError: There is no such order.
        """
        with writing(self._engine) as con:
            orders.call_back(con, order_id, by, reason, at)

    def start_vm(self, wish: Start) -> tuple[Start, bool]:
        """The wish to begin with a VM within its owner's window; tells and raises what `starts.ask` does."""
        with writing(self._engine) as con:
            return starts.ask(con, wish)

    def start_vm_failed(self, wish: Start, error: str, at: datetime) -> None:
        """The executor did not begin with the VM."""
        with writing(self._engine) as con:
            starts.fail(con, wish, error, at)

    def retry(self, order_id: str, by: str, at: datetime) -> None:
        """Put a dead letter back into the queue.

        Raises:
            LedgerError: There is no such order.
            Refused: It is not dead, has ended or has expired.
        """
        with writing(self._engine) as con:
            orders.retry(con, order_id, by, at)

    def apply(self, answer: Answer) -> bool:
        """Whether the executor's answer told something new. Orders only go forward; a repeated answer changes nothing.

        Raises:
            LedgerError: There is no such order.
            ExecutorError: The answer tells of VMs that are not in the order; nothing of it is kept.
        """
        with writing(self._engine) as con:
            return orders.apply(con, answer)

    def bad_answer(self, order_id: str, why: str, at: datetime) -> None:
        """The executor's last answer about the order is of no use; the next one that is ends it."""
        with writing(self._engine) as con:
            orders.bad_answer(con, order_id, why, at)

    def orders(
        self, *, state: OrderState | None = None, outbox_state: str | None = None, limit: int | None = None
    ) -> list[ListedOrder]:
        """Orders with where they stand and how their delivery goes, the newest request first."""
        wanted = ((tables.orders.c.state, state and state.value), (tables.outbox.c.state, outbox_state))
        with reading(self._engine) as con:
            return queries.orders(con, [column == value for column, value in wanted if value is not None], limit)

    def order(self, order_id: str) -> ListedOrder:
        """The order with where it stands.

        Raises:
            LedgerError: There is no such order.
        """
        with reading(self._engine) as con:
            orders.require(con, order_id)
            return queries.orders(con, [tables.orders.c.order_id == order_id], 1)[0]

    def unanswered(self, since: datetime) -> list[str]:
        """Orders that the executor may have taken without our hearing of it, changed since then.

        They were handed over at least once, and stand requested, expired, cancelled or refused.
        """
        with reading(self._engine) as con:
            return queries.unanswered(con, since)

    def order_events(self, order_id: str) -> list[OrderEvent]:
        """The states that the order came to, in order."""
        with reading(self._engine) as con:
            return queries.order_events(con, order_id)

    def touched(self, since: datetime, until: datetime) -> list[Touched]:
        """What orders did to VMs after the one moment, up to the other, the oldest first."""
        with reading(self._engine) as con:
            return tried.touched(con, since, until)

    def outcomes(self, order_id: str) -> list[VmOutcome]:
        """What became of each VM of the order."""
        with reading(self._engine) as con:
            return queries.outcomes(con, order_id)

    @contextmanager
    def services(self, since: datetime, host_id: str | None = None) -> Iterator[Ask]:
        """How to ask, while it is held, what orders meant for each VM: of those open, or ended since then."""
        with reading(self._engine) as con:
            yield lambda vms, after: services.services(con, since, host_id=host_id, vms=vms, after=after)

    # What the next decision has to know

    def open_orders(self, besides: str | None = None) -> list[Order]:
        """Orders that have not come to an end, in the order of their start."""
        with reading(self._engine) as con:
            return queries.open_orders(con, besides)

    def owned_hosts(self, now: datetime, besides: str | None = None, without: Sequence[str] = ()) -> frozenset[str]:
        """Hosts with an open order, waiting for a person, or held by a person's veto, snooze or cancellation.

        Proposals `without` hold nothing.
        """
        with reading(self._engine) as con:
            return queries.owned_hosts(con, now, besides, without)

    def put_off(self, now: datetime, besides: str | None = None) -> list[Proposal]:
        """Proposals that a snooze holds, the newest question first."""
        with reading(self._engine) as con:
            return queries.put_off(con, now, besides)

    def recent_actions(self, since: datetime, besides: str | None = None) -> dict[str, datetime]:
        """Hosts that were to be emptied or serviced since then, and when last."""
        with reading(self._engine) as con:
            return queries.recent(con, since, besides, moves_only=False)

    def guards(self, now: datetime, moved_since: datetime | None = None) -> Guards:
        """What an order is held against before it goes; hosts moved since then count only if they are asked for."""
        with reading(self._engine) as con:
            return queries.guards(con, now, moved_since)

    def moves_under_way(self) -> list[Order]:
        """Orders to move VMs that the executor has taken and not ended, in the order of their start."""
        with reading(self._engine) as con:
            return queries.moves_under_way(con)

    def recent_evacuations(self, since: datetime, besides: str | None = None) -> tuple[tuple[str, datetime], ...]:
        """Hosts that were to be emptied since then, in the form that the breakers count."""
        with reading(self._engine) as con:
            return tuple(queries.recent(con, since, besides, moves_only=True).items())

    def attempts(self, besides: str | None = None) -> dict[str, int]:
        """Orders to empty or service each host in its open episode."""
        with reading(self._engine) as con:
            return queries.attempts(con, besides)

    def told_hosts(self, besides: str | None = None) -> frozenset[str]:
        """Hosts whose owners have been told in the open episode."""
        with reading(self._engine) as con:
            return queries.told_hosts(con, besides)

    def episodes(self, *, only_open: bool = False) -> list[Episode]:
        """Hosts' times at risk, the oldest first."""
        with reading(self._engine) as con:
            return queries.episodes(con, only_open=only_open)

    def last_proposed(self) -> dict[str, datetime]:
        """The newest question in which each host with an open episode was proposed for anything."""
        with reading(self._engine) as con:
            return queries.last_proposed(con)

    def questions(self, since: datetime, until: datetime) -> list[datetime]:
        """The moments after `since` and up to `until` that cycles have asked about."""
        with reading(self._engine) as con:
            return queries.questions(con, since, until)

    def close_episode(self, host_id: str, at: datetime, why: str) -> bool:
        """Whether the host had an open episode, which is closed now."""
        spell = tables.episode.c
        with writing(self._engine) as con:
            still = update(tables.episode).where(spell.host_id == host_id, spell.closed_at.is_(None))
            closed = con.execute(still.values(closed_at=at, why=why)).rowcount > 0
            if closed:
                chain.append(con, at, [Entry("episode_closed", host_id, {"why": why})])
            return closed

    @property
    def notices(self) -> Notices:
        """What people are told, and who has taken note of it."""
        return Notices(self._engine)

    # Kill switch and audit

    def stop(self, by: str, reason: str, at: datetime) -> None:
        """Throw the kill switch: nothing is proposed to act, approved or handed over until `start`.

        Raises:
            UsageError: No reason.
        """
        reasoned(reason, "The kill switch")
        self._switch(by, reason, at, stopped=True)

    def start(self, by: str, at: datetime, reason: str = "") -> None:
        """Lift the kill switch. What expired meanwhile stays expired."""
        self._switch(by, reason, at, stopped=False)

    def stopped(self) -> Stop | None:
        """Who threw the kill switch, or None when it is not thrown."""
        with reading(self._engine) as con:
            return queries.stop_of(record.last_control(con))

    def verify(self) -> Verified:
        """Whether the history is whole and unchanged, and the proposals and orders are those it vouches for."""
        with reading(self._engine) as con:
            return chain.verify(con)

    def _switch(self, by: str, reason: str, at: datetime, *, stopped: bool) -> None:
        with writing(self._engine) as con:
            con.execute(insert(tables.control), {"stopped": stopped, "set_by": by, "reason": reason, "at": at})
            entry = Entry("stopped" if stopped else "started", "fleet", {"by": by, "reason": reason})
            chain.append(con, at, [entry])
