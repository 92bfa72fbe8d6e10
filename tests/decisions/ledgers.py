"""What the tests of the ledger share: verdicts that make orders, and a dump of every table."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import create_engine, select, text

from decisions.decide import decide
from decisions.domain import Action, Answer, Autonomy, OrderState, Verdict, VmOutcome
from decisions.ledger.schema import METADATA
from decisions.policy import load
from tests.decisions.fleets import ASOF, fleet

NOW = ASOF + timedelta(minutes=5)
POLICY = load()
BY_HAND = replace(POLICY, autonomy={**POLICY.autonomy, Action.LIVE_MIGRATE: Autonomy.APPROVE}, version="by-hand")


def automatic() -> Verdict:
    """Two hosts whose moves policy lets happen by itself."""
    return decide(fleet(50, {"h001": 0.8, "h022": 0.6}), POLICY)


def by_hand() -> Verdict:
    """One host whose move a person must approve."""
    return decide(fleet(50, {"h001": 0.8}), BY_HAND)


def answer(order_id: str, state: OrderState, minutes: float = 10, vm: str = "h001-v0") -> Answer:
    """The executor's answer, with one VM's outcome when the order is completed."""
    moved = (VmOutcome(vm, "moved", "h002", 0.4, interrupted=False),) if state is OrderState.COMPLETED else ()
    return Answer(order_id, state, ASOF + timedelta(minutes=minutes), None, moved)


def change(url: str, statement: str) -> None:
    """Change the database past the ledger."""
    engine = create_engine(url)
    with engine.begin() as con:
        con.execute(text(statement))
    engine.dispose()


def dump(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, in order."""
    engine = create_engine(url)
    with engine.connect() as con:
        rows = {t.name: sorted(map(tuple, con.execute(select(t))), key=repr) for t in METADATA.sorted_tables}
    engine.dispose()
    return rows
