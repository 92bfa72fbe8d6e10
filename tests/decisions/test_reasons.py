"""Reasons are sentences for the person who may overrule them."""

from dataclasses import replace

from decisions.decide import decide
from decisions.domain import Factor
from decisions.policy import load
from tests.decisions.fleets import host, risk, situation, vm


def test_evidence_is_said_in_words() -> None:
    """What carries the risk is named by what was seen on it, not by the column it is kept in."""
    factors = (Factor("smart_197_rise_7d", 8.0, 1.5), Factor("smart_5_days_since_change", None, -0.2))
    carrier = replace(risk(risk_30d=0.6), factors=factors)
    (proposal,) = decide(situation([host()], [vm()], [carrier]), load()).proposals
    said = " ".join(proposal.reasons)
    assert "because of 8 more pending sectors than a week ago (+1.50), no change seen in reallocated sectors" in said
    assert "smart_" not in said
