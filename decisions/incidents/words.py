"""What attributes are called, what they point to, and incidents in sentences for a person at 3 a.m."""

from typing import Final

from decisions.incidents.values import Factor, Kind, Shared, Stance

NAMES: Final = {
    "zone": "zone",
    "cluster": "cluster",
    "rack": "rack",
    "power_feed": "power feed",
    "switch": "switch",
    "hardware_model": "hardware model",
    "firmware": "host firmware",
    "kernel": "kernel",
    "model": "part model",
    "part_firmware": "part firmware",
    "batch": "drive batch",
    "age": "age",
}
"""Every attribute that is looked at, and what a person calls it."""

FACILITY: Final = frozenset({"zone", "cluster", "rack", "power_feed", "switch"})
KINDS: Final = {
    **dict.fromkeys(FACILITY, Kind.FACILITY),
    "firmware": Kind.FIRMWARE,
    "part_firmware": Kind.FIRMWARE,
    "kernel": Kind.SOFTWARE,
}
"""What an attribute points to; all others point to the hardware itself."""
_STRONGEST: Final = (Kind.SOFTWARE, Kind.FIRMWARE, Kind.FACILITY, Kind.HARDWARE)
"""Of a pair, the one that can be mended without taking hardware out names the kind."""

LOOK_FOR: Final = {
    Kind.HARDWARE: "the parts themselves are bad: their moves go on, and the others of their kind come next",
    Kind.FIRMWARE: "look at the firmware's release and its counters before moving host after host",
    Kind.SOFTWARE: "look at what that release changed, and hold its rollout, before moving host after host",
    Kind.FACILITY: "look at power, cooling and network there before moving host after host",
}


def named(shared: Shared) -> str:
    """A factor for a person: `power feed f12`, or two of them."""
    return " with ".join(f"{NAMES[name]} {value}" for name, value in shared)


def kind(shared: Shared) -> Kind:
    """What sort of cause a factor points to."""
    found = {KINDS.get(name, Kind.HARDWARE) for name, _ in shared}
    return next(each for each in _STRONGEST if each in found)


def times(relative_risk: float | None, low: float, high: float | None) -> str:
    """A relative risk with its interval."""
    if relative_risk is None:
        return f"at least {_number(low)} times (95 %)"
    upper = "no bound" if high is None else _number(high)
    return f"{_number(relative_risk)} times (95 % {_number(low)} to {upper})"


def evidence(name: str, counts: tuple[int, int, int, int], risk: str, p_adjusted: float, stance: str) -> str:
    """A factor's sentence: k of n against K of N, how many times as often, and how it stands to the leading one."""
    affected, parts, rest_affected, rest_parts = counts
    return (
        f"{name}: {affected:,} of {parts:,} parts affected, {rest_affected:,} of {rest_parts:,} of the rest; "
        f"{risk} as often, adjusted p {p_text(p_adjusted)}{stance}"
    )


def stance_text(stance: Stance, leading: str, p_given: float, leading_p: float) -> str:
    """Why the leading factor is preferred, or that the data cannot tell."""
    if stance is Stance.EXPLAINED:
        return (
            f"; with {leading} held fixed nothing sure is left of it (p {p_text(p_given)}), "
            f"and {leading} still shows beside it (p {p_text(leading_p)})"
        )
    if stance is Stance.INSEPARABLE:
        return f"; these failures cannot tell it from {leading} (p {p_text(p_given)} and {p_text(leading_p)})"
    return f"; it adds to {leading} (p {p_text(p_given)})"


def sentence(of_kind: Kind, leading: Factor, hosts: int, components: tuple[str, ...], days: float) -> str:
    """The incident for a person at 3 a.m.: what, how many, how sure, and what to look at."""
    where = f" on {hosts:,} hosts" if hosts > 1 else ""
    risk = times(leading.relative_risk, leading.low, leading.high)
    return (
        f"{leading.named} is shared by {leading.affected:,} failing or failed parts ({', '.join(components)}){where} "
        f"of the last {days:g} days, since {leading.first_at:%Y-%m-%d}: {risk} as often as the rest; "
        f"{LOOK_FOR[of_kind]}"
    )


def p_text(p: float) -> str:
    """A p value, never as zero."""
    return "below 1e-12" if p < 1e-12 else f"{p:.2g}"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
