"""Calling an order back once the executor has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from data.errors import Refused
from decisions.domain import Answer, OrderState
from decisions.ledger import Ledger
from pipelines.settings import LedgerSettings, Settings
from pipelines.steps import cancel
from tests.decisions.ledgers import NOW, answer, automatic


@pytest.mark.parametrize(
    ("told", "refused"),
    [(OrderState.CANCELLED, False), (OrderState.STARTED, False), (OrderState.COMPLETED, True)],
)
def test_an_order_at_work_is_being_stopped_or_it_is_too_late(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: OrderState, refused: bool
) -> None:
    """Aborting takes a while, so an order that is still started is no refusal; one that has ended is, and says so."""

    class Executor:
        def cancel(self, order_id: str, reason: str) -> Answer:
            assert reason == "ada: wrong host"
            return answer(order_id, told, minutes=20)

    @contextmanager
    def opened(settings: Settings, now: datetime) -> Iterator[Executor]:
        del settings, now
        yield Executor()

    monkeypatch.setattr(cancel, "opened", opened)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        order_id = ledger.lease(NOW, 1, 0.0)[0].order_id
        ledger.apply(answer(order_id, OrderState.STARTED))
    settings = Settings(home=tmp_path, ledger=LedgerSettings(url=ledger_url))
    asked = (settings, order_id, "ada", "wrong host", NOW + timedelta(minutes=20))
    if refused:
        with pytest.raises(Refused, match="the executor says it is completed"):
            cancel.cancel(*asked)
    else:
        assert cancel.cancel(*asked).state is told
