"""Ledgers for a dry run: a copy to do things to, or nothing at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UsageError
from decisions.ledger import Ledger
from pipelines import ledgers
from pipelines.settings import LedgerSettings, Settings
from pipelines.steps import decide, dispatch
from tests.decisions.ledgers import NOW, automatic


def settings_of(home: Path, url: str) -> Settings:
    """Settings of that home with that ledger."""
    return Settings(home=home).model_copy(update={"ledger": LedgerSettings(url=url)})


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite"])
def test_a_scratch_ledger_leaves_the_real_one_alone(tmp_path: Path, scheme: str) -> None:
    """However the URL of an SQLite file is written, what is done to the scratch ledger reaches the copy only."""
    settings = settings_of(tmp_path, f"{scheme}:///{tmp_path / 'ledger.db'}")
    with Ledger(settings.ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        with ledgers.scratch(settings) as copy:
            assert len(copy.lease(NOW, 10, 60)) == 2
        assert {listed.outbox_state for listed in ledger.orders()} == {"pending"}


@pytest.mark.parametrize(
    "dry_run",
    [
        lambda settings: dispatch.dispatch(settings, NOW, dry_run=True),
        lambda settings: decide.decide(settings, NOW, {}, dry_run=True),
    ],
)
def test_a_dry_run_on_a_server_is_refused(tmp_path: Path, dry_run: Callable[[Settings], object]) -> None:
    """A ledger that cannot be copied is not even opened for a dry run."""
    with pytest.raises(UsageError, match="copy of the ledger"):
        dry_run(settings_of(tmp_path, "postgresql+psycopg://nobody@127.0.0.1:1/none"))
