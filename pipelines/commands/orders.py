"""Commands about orders and the ledger: list, show, retry, cancel, start-vm, verify, import.

With `review.url` or `--server`, and a token in `FORESHOCK_TOKEN`, what calls back or starts goes by the API.
"""

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pipelines.commands.common import COMMON, Common, Limit
from pipelines.output import Output

if TYPE_CHECKING:
    from decisions.ledger.values import ListedOrder

_State = Literal["requested", "accepted", "started", "completed", "failed", "refused", "cancelled", "expired"]
_Delivery = Literal["pending", "leased", "sent", "dead"]


def list_(
    *, state: _State | None = None, delivery: _Delivery | None = None, limit: Limit = 50, common: Common = COMMON
) -> Output:
    """Orders, newest first.

    Args:
        state: Only those in that state.
        delivery: Only those whose delivery stands so.
        limit: At most so many.
        common: See every command.
    """
    from decisions.domain import OrderState
    from pipelines.ledgers import copied

    with copied(common.settings()) as ledger:
        wanted = OrderState(state) if state else None
        found = ledger.orders(state=wanted, outbox_state=delivery, limit=limit)
    return Output({"orders": [_line(listed) for listed in found]})


def show(order_id: str, *, common: Common = COMMON) -> Output:
    """One order with its history.

    Args:
        order_id: Which one, as `list` shows it.
        common: See every command.
    """
    from pipelines.ledgers import copied

    with copied(common.settings()) as ledger:
        listed = ledger.order(order_id)
        events, outcomes = ledger.order_events(order_id), ledger.outcomes(order_id)
    return Output({**_line(listed), "order": listed.order, "events": events, "outcomes": outcomes})


def retry(
    order_id: str | None = None,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    by: str | None = None,
    common: Common = COMMON,
) -> Output:
    """Send a dead order again, or all of them.

    Args:
        order_id: Which one.
        all_: All dead letters that have not expired, as after an outage of the executor.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from data.errors import UsageError
    from decisions.domain import OrderState
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened

    if (order_id is None) != all_:
        msg = "Name one order, or say --all: `foreshock orders list --delivery dead` shows them."
        raise UsageError(msg)
    settings, who = common.settings(), by or getpass.getuser()
    now = now_of(settings)
    with opened(settings) as ledger:
        if order_id is not None:
            ledger.retry(order_id, who, now)
            return Output(_line(ledger.order(order_id)))
        dead = (listed.order for listed in ledger.orders(state=OrderState.REQUESTED, outbox_state="dead"))
        again = [order.order_id for order in dead if order.expires_at > now]
        for each in again:
            ledger.retry(each, who, now)
        return Output({"orders": [_line(ledger.order(each)) for each in again]})


def cancel(
    order_id: str, *, reason: str, by: str | None = None, server: str | None = None, common: Common = COMMON
) -> Output:
    """Call an order back, also from the executor where it can still stop it.

    Args:
        order_id: Which one.
        reason: Why.
        by: Who you are; by default the name you are logged in with, by the API the token's.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.remote import asked_for
    from pipelines.steps.cancel import cancel as step

    settings = common.settings()
    if (remote := asked_for(settings, server, by)) is not None:
        with remote:
            return Output(remote.cancel(order_id, reason))
    return Output(_line(step(settings, order_id, by or getpass.getuser(), reason, now_of(settings))))


def start_vm(
    order_id: str, vm_id: str, *, reason: str, by: str | None = None, server: str | None = None, common: Common = COMMON
) -> Output:
    """Let a VM begin now whose owner was offered a window, at the owner's word.

    Args:
        order_id: Which order, as `foreshock vms --json` shows it.
        vm_id: Which of its VMs.
        reason: Why: who asked for it, and how.
        by: Who you are; by default the name you are logged in with, by the API the token's.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    from decisions.ledger.starts import Start
    from pipelines.cycle import now_of
    from pipelines.remote import asked_for
    from pipelines.steps.start_vm import start_vm as step

    settings = common.settings()
    if (remote := asked_for(settings, server, by)) is not None:
        with remote:
            return Output(remote.start_vm(order_id, vm_id, reason))
    wish = Start(order_id, vm_id, by or getpass.getuser(), reason, now_of(settings))
    return Output(asdict(step(settings, wish)))


def verify(*, common: Common = COMMON) -> Output:
    """Check that no record of the ledger was changed.

    Args:
        common: See every command.
    """
    from pipelines.ledgers import copied

    with copied(common.settings()) as ledger:
        found = ledger.verify()
    return Output({"verified": found.ok, **asdict(found)}, exit_code=0 if found.ok else 1)


def import_(file: Path, *, common: Common = COMMON) -> Output:
    """Take an SQLite ledger over into the database that the settings name, which must hold none yet.

    Nothing may write to the file meanwhile; it stays as it was. All is taken over, or nothing.

    Args:
        file: The ledger until now, such as `.foreshock/ledger.db`.
        common: See every command.
    """
    from pipelines.ledgers import taken_over

    found = taken_over(common.settings(), file)
    return Output({"verified": found.ok, "records": found.records, "head": found.head})


def _line(listed: "ListedOrder") -> dict[str, object]:
    from decisions.ledger.values import in_line

    return asdict(in_line(listed))
