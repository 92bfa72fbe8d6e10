"""A host's risk from its parts': causes are counted once."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import HORIZON_DAYS
from decisions.domain import EntityRisk, Factor
from decisions.risk import host_risks

ASOF = datetime(2016, 1, 2, tzinfo=UTC)


def part(name: str, chance: float, *, component: str = "disk", because: str | None = None) -> EntityRisk:
    """One part of host h, with the same chance at every horizon."""
    factors = (Factor(because, 1.0, 1.0),) if because else ()
    curve = dict.fromkeys(HORIZON_DAYS, chance)
    return EntityRisk(name, component, "h", ASOF, "1", "ok", None, curve, factors)


def chance(*parts: EntityRisk) -> float:
    """The host's risk within the longest horizon."""
    return host_risks(parts)["h"].curve[HORIZON_DAYS[-1]]


def test_parts_that_fail_by_themselves_add_up() -> None:
    """Two drives with bad sectors of their own are two causes."""
    two = [part(name, 0.5, because="smart_197_rise_7d") for name in "ab"]
    assert chance(*two) == pytest.approx(0.75)


def test_parts_at_risk_for_what_they_share_count_once() -> None:
    """Four drives behind one cable are one cause, as likely as the riskiest; a fifth with bad sectors is its own."""
    behind = [
        part(name, at, because="smart_199_rise_1d") for name, at in {"a": 0.2, "b": 0.3, "c": 0.1, "d": 0.3}.items()
    ]
    assert chance(*behind) == pytest.approx(0.3)
    assert chance(*behind, part("e", 0.5, because="smart_197")) == pytest.approx(1 - 0.7 * 0.5)


def test_the_node_as_a_whole_already_counts_its_parts() -> None:
    """Of the node's own risk and that by its parts, the larger stands."""
    assert chance(part("h", 0.4, component="node"), part("a", 0.3)) == pytest.approx(0.4)
    assert chance(part("h", 0.2, component="node"), part("a", 0.3)) == pytest.approx(0.3)


def test_a_part_whose_reasons_nobody_worked_out_is_a_cause_of_its_own() -> None:
    """Without reasons nothing is known to be shared."""
    assert chance(part("a", 0.5), part("b", 0.5)) == pytest.approx(0.75)


REASONS = st.sampled_from([None, "smart_197", "smart_199_rise_1d", "smart_190"])
PARTS = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["disk", "gpu", "node"]), REASONS), min_size=1, max_size=8)


@given(PARTS)
def test_a_host_is_never_safer_than_its_riskiest_part_nor_riskier_than_all_by_themselves(
    parts: list[tuple[float, str, str | None]],
) -> None:
    """The host's risk lies between the largest of its parts' and what independent causes would give."""
    found = [part(str(n), at, component=c, because=why) for n, (at, c, why) in enumerate(parts)]
    independent = 1.0
    for at, _, _ in parts:
        independent *= 1 - at
    assert max(at for at, _, _ in parts) - 1e-9 <= chance(*found) <= 1 - independent + 1e-9


@given(PARTS, st.data())
def test_a_riskier_part_never_makes_a_safer_host(
    parts: list[tuple[float, str, str | None]], data: st.DataObject
) -> None:
    """Raising one part's risk, all else equal, does not lower the host's."""
    which = data.draw(st.integers(0, len(parts) - 1))
    more = data.draw(st.floats(parts[which][0], 1))
    before = [part(str(n), at, component=c, because=why) for n, (at, c, why) in enumerate(parts)]
    after = [part(one.entity_id, more, component=one.component, because=parts[which][2]) if n == which else one
             for n, one in enumerate(before)]  # fmt: skip
    assert chance(*after) >= chance(*before) - 1e-9
