"""A decision that is told of most hosts only as a whole is the decision that is told everything."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decisions.cases import concerned
from decisions.decide import decide
from decisions.domain import Situation
from decisions.policy import load
from decisions.rest import Rest, Summary, residents
from decisions.risk import host_risks
from tests.decisions.fleets import ASOF, situations

POLICY = load()


def told_of_few(whole: Situation) -> Situation:
    """The same situation, with parts and VMs of the hosts that may have to do with something alone."""
    risks = host_risks(whole.risks)
    quiet = {h: Summary(h, r.asof_at, r.curve, (), (), r.makes) for h, r in risks.items() if r.known and not r.unknown}
    hosts = (risks.keys() - quiet.keys()) | concerned(whole, POLICY, quiet)
    versions = frozenset(risk.model_version for risk in whole.risks)
    rest = Rest(residents(whole.vms), {h: risk for h, risk in quiet.items() if h not in hosts}, versions)
    vms = {host_id: members for host_id, members in whole.vms.items() if host_id in hosts}
    return replace(whole, vms=vms, risks=tuple(r for r in whole.risks if r.host_id in hosts), rest=rest)


@given(situations(), st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_hosts_told_of_as_a_whole_change_no_verdict(whole: Situation, every: int) -> None:
    """Full and tight fleets, with sets, unknown risks and hosts emptied lately: the same verdict to the last bit."""
    lately = tuple((host_id, ASOF) for host_id in sorted(whole.hosts)[::every])
    asked = replace(whole, recent_evacuations=lately)
    assert decide(told_of_few(asked), POLICY) == decide(asked, POLICY)
