"""What a person reads on a terminal says the important things first."""

from pipelines import summary

DECIDED = {
    "asof_at": "2016-01-04T00:00:00+00:00",
    "model_version": "1",
    "simulated": True,
    "proposals": {"live_migrate": 1, "monitor": 30},
    "blocked": {"unknown_risk": 2},
    "recorded": True,
    "already_decided": False,
    "under_kill_switch": False,
    "breaker": [{"sentence": "rack r1: 5 of 20 hosts would be emptied"}],
    "incidents": [{"sentence": "power feed f1 is shared by what fails", "response": "Hold: a person looks."}],
    "listed": [
        {"action": "live_migrate", "autonomy": "auto", "host_id": "h1", "reasons": ["Host h1 fails soon."]},
        {"action": "monitor", "autonomy": "auto", "host_id": "h2", "reasons": ["Host h2 is watched."]},
    ],
}


def test_a_decision_shows_what_acts_and_counts_the_rest() -> None:
    """Open breakers and acting proposals are named; watched hosts are only counted; simulated is said."""
    text = summary.decided(DECIDED)
    assert "placement of VMs is simulated" in text
    assert "30 monitor, 1 live_migrate; guardrails bit: 2 unknown_risk" in text
    assert "BREAKER OPEN  rack r1" in text
    assert "INCIDENT      power feed f1 is shared by what fails. Hold: a person looks." in text
    assert "Host h1 fails soon." in text
    assert "h2" not in text


def test_a_night_that_was_decided_before_says_so() -> None:
    """A repeat says that it is one, and a night under the kill switch says that nothing comes of it."""
    text = summary.decided({**DECIDED, "recorded": False, "already_decided": True, "under_kill_switch": True})
    assert "already decided" in text
    assert "decided while the kill switch was thrown" in text
    assert "kill switch" not in summary.decided(DECIDED).lower()


def test_a_night_has_a_line_for_each_step() -> None:
    """Every step says what it did, and a thrown kill switch says who threw it."""
    text = summary.cycle(
        {
            "ingest": {"files": 1, "rows_loaded": 1200, "rows_duplicate": 0, "rows_quarantined": 3}
            | {"unreachable": ["http://prom does not answer"]},
            "score": [{"component": "disk", "entities": 5000, "unknown": 7, "model_version": "1"}],
            "decide": DECIDED,
            "dispatch": {"sent": 0, "refused": 0, "expired": 0, "dead": 0, "postponed": 2, "stopped_by": "ana"},
            "settle": {"orders": {"completed": 4}, "outcomes": {"moved": 9}, "why": {}, "unanswered": "nobody is up"}
            | {"bad": [{"order_id": None, "why": "it is in no language"}]},
            "stage_seconds": {"ingest": 1.25, "score": 3.0},
        }
    )
    assert "1,200 rows from 1 files, 0 held already, 3 quarantined" in text
    assert "a source is silent: http://prom does not answer" in text
    assert "5,000 disks by model 1; 7 unknown" in text
    assert "2 postponed" in text
    assert "the kill switch was thrown by ana" in text
    assert "orders: 4 completed; VMs: 9 moved; episodes closed: none" in text
    assert "ingest 1.2 s, score 3.0 s" in text
    assert "answers are missing: nobody is up" in text
    assert "an answer is of no use: it is in no language" in text


def test_an_evaluation_stands_side_by_side_with_intervals() -> None:
    """Each model has a row with intervals, a figure that does not exist is a dash, and the left out are named."""
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    nothing = {"value": None, "low": None, "high": None}
    models = {
        "champion": {"average_precision": figure, "precision_at": {"0.001": figure}, "recall_at": {"0.01": figure}},
        "rule": {"average_precision": nothing, "precision_at": {}, "recall_at": {}},
    }
    band = {"earned": 0.5, "alerts": 60, "calls": 30, "foretold_low": 9, "foretold_high": 21}
    bands = [{**band, "risk_from": 0.2, "hits": 15}, {**band, "risk_from": 0.5, "hits": 3}]
    text = summary.evaluated(
        {
            "component": "disk", "earned": {"champion": bands},
            "rows": 10, "days": ["2016-01-01"], "failing_entities": 2, "horizon_days": 30,
            "models": models, "versions": {"champion": "3"}, "left_out": {"challenger": "it has seen the days"},
        }
    )  # fmt: skip
    assert "champion (version 3)  0.500 [0.400, 0.600]" in text
    assert "  rule                  -" in text
    assert "left out: challenger, it has seen the days" in text
    assert "20%        50.0% of 60  30     15         9 to 21\n" in text
    assert "3          9 to 21 (outside)" in text
