"""What flows add to steps."""

from typing import Any, cast

import pytest
from prefect import Task
from prefect.states import Failed

from data.errors import (
    EngineError,
    EngineUnreachable,
    ExecutorError,
    LedgerError,
    LedgerUnreachable,
    SettingsError,
    WarehouseBusy,
)
from decisions.ledger import Ledger
from pipelines.flows import _tried_again, is_transient


@pytest.mark.parametrize("error", [WarehouseBusy, ExecutorError, LedgerUnreachable, EngineUnreachable])
def test_a_step_is_tried_again_where_that_can_mend_it(error: type[Exception]) -> None:
    """A database or a scheduler that starts anew in the night costs a minute, not the night."""
    assert is_transient(cast("Any", None), cast("Any", None), Failed(data=error("out of reach")))


def test_another_try_is_said_before_it_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks at a night that stands still reads why, and not only once all tries are used up."""
    task = Task(fn=is_transient, name="score")
    assert _tried_again(task, cast("Any", None), Failed(data=EngineUnreachable("no workers")))
    assert not _tried_again(task, cast("Any", None), Failed(data=EngineError("no workers left")))
    assert [record.getMessage() for record in caplog.records] == ["score is tried again: no workers"]


@pytest.mark.parametrize("error", [SettingsError, LedgerError, EngineError])
def test_what_stays_wrong_is_told_at_once(error: type[Exception]) -> None:
    """A setting is no better a minute later, nor is a training that has lost its workers as often as it may."""
    assert not is_transient(cast("Any", None), cast("Any", None), Failed(data=error("unknown key")))


@pytest.mark.parametrize(
    ("url", "again"),
    [("postgresql+psycopg://ana@127.0.0.1:9/ledger", True), ("postgresql+asyncpg://ana@127.0.0.1:9/ledger", False)],
)
def test_a_ledger_is_looked_for_again_where_its_address_makes_sense(url: str, again: bool) -> None:
    """A server that refuses the connection may be back soon; a driver that cannot be used is told at once."""
    with pytest.raises(LedgerError) as told:
        Ledger(url)
    assert is_transient(cast("Any", None), cast("Any", None), Failed(data=told.value)) == again
