"""What the decision page shows of a proposal's riskiest part."""

import shutil
from pathlib import Path

import pytest

from dashboards.evidence import evidence
from dashboards.ledger_view import LedgerView
from dashboards.pages import page
from dashboards.queue import Room
from tests.dashboards.conftest import SCRIPT, Night
from tests.dashboards.test_looking import NOW, tell


@pytest.fixture
def room(made: Night, tmp_path: Path) -> Room:
    """The night with a past."""
    for name in ("ledger.db", "warehouse.duckdb"):
        shutil.copyfile(made.home / name, tmp_path / name)
    tell(tmp_path)
    return Room(tmp_path, LedgerView(Night(tmp_path).url), lambda: NOW)


def test_three_reasons_come_with_their_history_and_peers(room: Room) -> None:
    """The strongest factors, each once by the reading behind it, with 90 days of it and a place among live peers."""
    with room.look() as look:
        assert look.book is not None
        listed = look.book.proposal("id-r06-03", NOW)
        assert listed is not None
        found = evidence(look, listed.proposal)
    assert found is not None
    assert [reason.said for reason in found.reasons] == [
        "8 more pending sectors than a week ago",
        "2 uncorrectable errors reported",
        "a change in reallocated sectors 3 days ago",
    ]
    pending = found.reasons[0].chart
    assert pending is not None
    assert [value for _, value in pending.series[0].points][-2:] == [0.0, 8.0]
    assert found.reasons[0].peers.startswith("8: the highest of 9 live drives")
    assert found.peers.startswith("31\N{NO-BREAK SPACE}%: the highest of 9")


def test_a_part_that_the_snapshot_does_not_know_has_no_evidence(room: Room) -> None:
    """A hostile name in the ledger finds nothing in the warehouse, and nothing is made up."""
    with room.look() as look:
        assert look.book is not None
        listed = look.book.proposal("id-r12-07", NOW)
        assert listed is not None
        assert listed.proposal.risk.entities[0].entity_id == SCRIPT
        assert evidence(look, listed.proposal) is None


def test_the_fragment_stands_by_itself(room: Room) -> None:
    """With the one variable that it asks for, the fragment is complete; without it, empty."""
    with room.look() as look:
        assert look.book is not None
        listed = look.book.proposal("id-r06-03", NOW)
        assert listed is not None
        found = evidence(look, listed.proposal)
    shown = page("evidence.html", exhibit=found)
    assert shown.count("<figure") == 4
    assert "pushes the risk by +1.84" in shown
    assert page("evidence.html").strip() == ""
