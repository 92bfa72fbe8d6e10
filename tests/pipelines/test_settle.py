"""Settling: what the executor did becomes known, also when its answer was lost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from decisions.domain import Answer, OrderState
from decisions.ledger import Ledger
from pipelines.settings import Settings
from pipelines.steps import settle
from tests.decisions.ledgers import NOW, answer, automatic

LATE = NOW + timedelta(days=2)


def test_an_order_whose_answer_was_lost_becomes_known(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed over, the answer lost, expired here and completed there: settling learns of it, its VMs and its host."""
    asked: list[str] = []

    class Executor:
        def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
            del now
            asked.extend(order_ids)
            return [replace(answer(name, OrderState.COMPLETED), host_state="empty") for name in order_ids]

    @contextmanager
    def opened(settings: Settings, now: datetime) -> Iterator[Executor]:
        del settings, now
        yield Executor()

    monkeypatch.setattr(settle, "opened", opened)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        lost = ledger.lease(NOW, 1, 0.0)[0].order_id
        ledger.expire(LATE)
        answered, outcomes, hosts = settle._answers(Settings(home=tmp_path), ledger, LATE)
        assert asked == [lost]
        assert ledger.order(lost).state is OrderState.COMPLETED
        assert ledger.order(lost).host_state == "empty"
        assert ledger.verify().ok
    assert (dict(answered), dict(outcomes), dict(hosts)) == ({"completed": 1}, {"moved": 1}, {"empty": 1})
