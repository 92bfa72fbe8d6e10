"""Settings of who is told what: `[[notify]]` and `[notifications]`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class NotifySettings(BaseModel):
    """A channel that people are told by: its URL, in apprise's form, stands in the environment variable `url_from`.

    It gets notices of these `severities`. Links go to `base_url`; else to `review.url`, or where
    `[review]` listens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    url_from: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
    severities: Annotated[tuple[Literal["page", "warn", "info"], ...], Field(min_length=1)] = ("page", "warn")
    base_url: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = ""


class NotificationsSettings(BaseModel):
    """What counts as urgent, and how a channel that fails is tried again: first soon, then twice as late each time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page_within_hours: Annotated[float, Field(ge=0, le=168)] = 6.0
    first_retry_minutes: Annotated[float, Field(gt=0, le=1_440)] = 5.0
    longest_retry_minutes: Annotated[float, Field(gt=0, le=1_440)] = 60.0


def _named_apart(channels: tuple[NotifySettings, ...]) -> tuple[NotifySettings, ...]:
    if len({channel.name for channel in channels}) < len(channels):
        msg = "two channels have the same name"
        raise ValueError(msg)
    return channels


Channels = Annotated[tuple[NotifySettings, ...], AfterValidator(_named_apart)]
"""Channels, each with a name of its own."""
