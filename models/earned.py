"""How good calls of one risk band have been: what training measures, and what decisions may act on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Earned:
    """How good calls of one risk band have been: precision with its 95 % interval, on data later than training."""

    risk_from: float
    """The band holds 30-day risks from this one, inclusive, to where the next band begins, exclusive."""
    precision: float
    precision_low: float
    precision_high: float
    alerts: int
    """Distinct entities called in the band; where there is none, nothing has been measured."""
    next_calls: int | None = None
    """Calls expected within the next 30 days, from those measured; null: an older version did not say."""
    next_low: int | None = None
    """At least so many of them come true, and at most `next_high`, in 95 of 100 cases (`prediction_interval`)."""
    next_high: int | None = None
