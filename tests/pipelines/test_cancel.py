"""What people do to orders: one is called back once the executor has it, dead letters are sent again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from data.errors import Refused
from decisions.domain import Answer, OrderState
from decisions.ledger import Ledger
from pipelines.cli import main
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


def test_all_dead_letters_are_sent_again_at_once(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an outage `orders retry --all` frees every dead letter there is, and nothing that has ended."""
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path))
    monkeypatch.setenv("FORESHOCK__LEDGER__URL", ledger_url)
    monkeypatch.setattr("pipelines.cycle.now_of", lambda _: NOW)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        dead, ended = (order.order_id for order in ledger.lease(NOW, 10, 600))
        ledger.mark_dead(dead, NOW, "no answer")
        ledger.mark_refused(ended, NOW, "recovered")
    assert main(["orders", "retry", "--all", "--by", "ada", "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)["orders"]
    assert (again["order_id"], again["delivery"]) == (dead, "pending")
    assert main(["orders", "retry", "--json"]) == main(["orders", "retry", dead, "--all", "--json"]) == 2
    with Ledger(ledger_url) as ledger:
        assert [order.order_id for order in ledger.lease(NOW, 10, 600)] == [dead]
        assert ledger.verify().ok
