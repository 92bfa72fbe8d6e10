"""When a fact that a source tells counts as known."""

from datetime import UTC, datetime, time, timedelta
from typing import Literal

Arrival = Literal["published", "now"]


def arrived(observed_at: datetime, arrival: Arrival, moment: datetime) -> datetime:
    """When a fact counts as known: at the end of its day (`published`), or at the moment of loading (`now`)."""
    ends = datetime.combine(observed_at.astimezone(UTC).date(), time(), UTC) + timedelta(days=1)
    return ends if arrival == "published" else moment
