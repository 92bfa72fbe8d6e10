"""How long moves take and how long VMs pause."""

import pytest

from data.errors import SettingsError
from data.simulator.motion import GBIT, STOP_SECONDS, WorldSpec, chance, precopy, switch_seconds

GIB = 1024**3


def test_idle_vm_is_copied_once() -> None:
    """A VM that dirties nothing takes memory divided by bandwidth, and pauses only to switch over."""
    copying, pause = precopy(32 * GIB, 0, 10 * GBIT)
    assert copying == pytest.approx(32 * GIB / (10 * GBIT))
    assert pause == 0


def test_busier_vm_takes_longer() -> None:
    """The more a VM dirties, the longer the copying."""
    seconds = [precopy(32 * GIB, dirty, 10 * GBIT)[0] for dirty in (0, 10**8, 3 * 10**8, 6 * 10**8)]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == 4


def test_vm_that_outruns_the_link_is_throttled_and_still_moves() -> None:
    """Dirtying faster than the bandwidth does not make a move endless or the pause long."""
    copying, pause = precopy(64 * GIB, 100 * GBIT, 10 * GBIT)
    assert copying < 600
    assert pause <= STOP_SECONDS


def test_pauses_are_nearly_always_under_five_seconds() -> None:
    """Of 10,000 switch-overs, at least 99.5 % take less than 5 s, and half more than 0.35 s."""
    pauses = sorted(switch_seconds(chance(7, "order", str(n))) for n in range(10_000))
    assert pauses[9_949] < 5
    assert 0.35 < pauses[5_000] < 0.45


def test_chance_depends_on_all_names_and_nothing_else() -> None:
    """The same seed and names give the same number in [0, 1); another seed or name another."""
    assert chance(1, "a", "b") == chance(1, "a", "b")
    assert len({chance(1, "a", "b"), chance(2, "a", "b"), chance(1, "b", "a"), chance(1, "ab")}) == 4
    assert all(0 <= chance(n, "x") < 1 for n in range(100))


def test_spec_out_of_bounds_is_refused() -> None:
    """A rate above one is named in the refusal."""
    with pytest.raises(SettingsError, match="live_failure_rate"):
        WorldSpec(live_failure_rate=1.2)
