"""What flows add to steps."""

from typing import Any, cast

import pytest
from prefect.states import Failed

from data.errors import EngineError, ExecutorError, LedgerError, SettingsError, WarehouseBusy
from pipelines.flows import is_transient


@pytest.mark.parametrize("error", [WarehouseBusy, ExecutorError, LedgerError, EngineError])
def test_a_step_is_tried_again_where_that_can_mend_it(error: type[Exception]) -> None:
    """A database or a scheduler that starts anew in the night costs a minute, not the night."""
    assert is_transient(cast("Any", None), cast("Any", None), Failed(data=error("out of reach")))


def test_what_stays_wrong_is_told_at_once() -> None:
    """A setting is no better a minute later."""
    assert not is_transient(cast("Any", None), cast("Any", None), Failed(data=SettingsError("unknown key")))
