"""What is told of what was seen: every host once, and as severe as what will happen."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from decisions.domain import Action, Autonomy, Proposal
from decisions.ledger.notices import Severity
from decisions.ledger.seen import Seen
from decisions.ledger.values import ListedProposal, Standing
from pipelines.notifications.words import LINES, TOLD, notices
from tests.dashboards.conftest import ASOF, proposal
from tests.decisions.populations import feed_incident

INCIDENT = feed_incident()
SOON = timedelta(hours=6)
ACTIONS = (Action.EVACUATE, Action.HOT_PATCH, Action.DECOMMISSION)

asks = st.lists(
    st.builds(
        lambda host, action, hours, incident: proposal(
            host, action, Autonomy.APPROVE, expires_at=ASOF + timedelta(hours=hours), incident_id=incident
        ),
        st.integers(0, 99).map("h{:02d}".format),
        st.sampled_from(ACTIONS),
        st.integers(1, 30),
        st.sampled_from((None, INCIDENT.incident_id, "an incident of another night")),
    ),
    max_size=30,
    unique_by=lambda each: each.host_id,
)


def told(proposals: Sequence[Proposal], *, named: bool = True) -> Seen:
    """Proposals that wait for an answer, with the incident that some of them belong to."""
    waiting = tuple(ListedProposal(each, Standing.WAITING, None, None, None) for each in proposals)
    return Seen(ASOF, incidents=(INCIDENT,) if named else (), waiting=waiting)


@given(asks)
def test_every_question_is_told_once(proposals: list[Proposal]) -> None:
    """With its incident where that is known, else with the others; never twice, never not at all."""
    found = notices(told(proposals), SOON)
    items = [detail for notice in found for _, detail in notice.items if detail]
    assert sorted(items) == sorted(each.proposal_id for each in proposals)
    assert len({notice.topic for notice in found}) == len(found) <= 2


@given(asks)
def test_it_pages_if_and_only_if_vms_are_at_stake_soon(proposals: list[Proposal]) -> None:
    """A page where an answer about VMs is due within six hours; a warning where there is time, or no VM."""
    urgent = any(each.action in TOLD and each.expires_at <= ASOF + SOON for each in proposals)
    found = notices(told(proposals, named=False), SOON)
    assert [notice.severity for notice in found] == ([Severity.PAGE if urgent else Severity.WARN] if proposals else [])


@given(asks)
def test_a_long_list_is_cut_and_says_so(proposals: list[Proposal]) -> None:
    """Ten hosts are named, and how many more there are; no message grows with the fleet."""
    for notice in notices(told(proposals, named=False), SOON):
        lines = notice.body.splitlines()
        assert len(lines) == min(len(proposals), LINES + 1)
        if len(proposals) > LINES:
            assert lines[-1] == f"and {len(proposals) - LINES} more"


def test_one_host_links_to_its_proposal_and_more_to_the_queue() -> None:
    """From the message it is one step to what has to be decided."""
    one, two = (proposal(host, Action.EVACUATE, Autonomy.APPROVE) for host in ("h1", "h2"))
    assert notices(told([one], named=False), SOON)[0].path == "/proposals/id-h1"
    assert notices(told([one, two], named=False), SOON)[0].path == "/?show=approval"
