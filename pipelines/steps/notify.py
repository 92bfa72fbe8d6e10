"""Notify: people are told what is new, one message per channel and run.

What is told is worked out from the ledger as it stands, and remembered there. A channel is claimed before it is used
and its success is recorded after, so a run that is killed in between leaves at most one repeat. What a channel could
not take stays news, and the next run tries again, not before the channel's time.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from sqlalchemy.exc import SQLAlchemyError

from data.errors import ForeshockError, SettingsError
from decisions.ledger import Ledger
from decisions.ledger.notices import Notice, Severity
from decisions.policy import load as load_policy
from pipelines import ledgers
from pipelines.calls import Call, P, R, straight
from pipelines.notifications import channels, words
from pipelines.notifications.settings import NotifySettings
from pipelines.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NotifyReport:
    """What holds now, and what became of it: notices that each channel took, and why a channel could not."""

    notices: int = 0
    told: Mapping[str, int] = field(default_factory=dict)
    """By channel; only channels that there was something new for."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Why, by channel."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Of a dry run: what would be sent, by channel."""
    dry_run: bool = False


def notify(
    settings: Settings,
    now: datetime,
    *,
    ran: Collection[str] = (),
    failing: Notice | None = None,
    dry_run: bool = False,
) -> NotifyReport:
    """What people were told; without channels nothing is told, and nothing remembered.

    Args:
        settings: the channels, and where the ledger is.
        now: the moment that is told of.
        ran: steps that have succeeded; that they failed earlier is no longer told.
        failing: that a step of this run failed.
        dry_run: only say what would be sent, and write nothing.
    """
    if not settings.notify:
        return NotifyReport(dry_run=dry_run)
    hours = load_policy(settings.policy.path).freshness.prediction_hours
    soon = timedelta(hours=settings.notifications.page_within_hours)
    over = {words.topic_of(step) for step in ran}
    with (ledgers.scratch if dry_run else ledgers.opened)(settings) as ledger:
        book = ledger.notices
        found = [*words.notices(book.seen(now, hours), soon), *([failing] if failing is not None else [])]
        book.hold(found, lambda topic: words.is_step(topic) and topic not in over, now)
        book.keep_channels([channel.name for channel in settings.notify])
        if dry_run:
            return NotifyReport(len(found), messages=_messages(settings, ledger), dry_run=True)
        told: dict[str, int] = {}
        failed: dict[str, str] = {}
        for channel in settings.notify:
            count, error = _tell(settings, ledger, channel, now)
            told |= {channel.name: count} if count else {}
            failed |= {channel.name: error} if error else {}
    return NotifyReport(len(found), told, failed)


class Trail:
    """Calls steps, and notes their names and how long each took."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._began: list[float] = []
        self.steps: list[str] = []

    def begin(self, step: str) -> None:
        """What comes now belongs to the step."""
        self.steps.append(step)
        self._began.append(time.monotonic())

    @property
    def seconds(self) -> dict[str, float]:
        """How long each step took until now, by name; what lies between two steps belongs to the first."""
        found: dict[str, float] = {}
        for step, (began, ended) in zip(self.steps, pairwise([*self._began, time.monotonic()]), strict=True):
            found[step] = round(found.get(step, 0.0) + ended - began, 3)
        return found

    def __call__(self, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the step returns."""
        self.begin(step.__name__.removesuffix("_with"))
        return self._call(step, *args, **kwargs)


@contextmanager
def telling(settings: Settings, now: datetime, call: Call = straight) -> Iterator[Trail]:
    """Calls steps; if one fails, people are told which and why, and the error goes on."""
    trail = Trail(call)
    try:
        yield trail
    except Exception as error:
        _tell_failure(settings, now, words.failing(trail.steps[-1] if trail.steps else "run", error))
        raise


def and_tell(step: Callable[[Settings, datetime], R], settings: Settings, now: datetime, call: Call = straight) -> R:
    """What the step returns; people are told what is new after it, or that it failed."""
    with telling(settings, now, call) as trail:
        report = trail(step, settings, now)
        if settings.notify:
            trail(notify, settings, now, ran=trail.steps)
    return report


def _tell_failure(settings: Settings, now: datetime, failing: Notice) -> None:
    """Tell that a step failed; where the ledger itself is out of reach, without its memory, and so every time."""
    try:
        notify(settings, now, failing=failing)
    except (ForeshockError, SQLAlchemyError, OSError):
        logger.exception("The ledger cannot say what people have been told; they are told without it")
    else:
        return
    for channel in settings.notify:
        if Severity.PAGE.value in channel.severities and (error := _sent(settings, channel, [failing])):
            logger.error("channel %s: %s", channel.name, error)


def _tell(settings: Settings, ledger: Ledger, channel: NotifySettings, now: datetime) -> tuple[int, str | None]:
    """How many notices the channel took, and why it could not."""
    book, wall, times = ledger.notices, datetime.now(UTC), settings.notifications
    first = timedelta(minutes=times.first_retry_minutes)
    wanted = _severities(channel)
    news = book.news(channel.name, wanted) and book.claim(channel.name, wanted, wall, first)
    if not news:
        return 0, None
    error = _sent(settings, channel, news)
    if error is None:
        book.told(channel.name, news, now, datetime.now(UTC))
        return len(news), None
    failures = next(each.failures for each in book.channels() if each.channel == channel.name)
    later = min(timedelta(minutes=times.longest_retry_minutes), first * 2 ** min(failures, 10))
    book.failed(channel.name, error, datetime.now(UTC) + later)
    logger.error("channel %s: %s; tried again in %s", channel.name, error, later)
    return 0, error


def _sent(settings: Settings, channel: NotifySettings, news: list[Notice]) -> str | None:
    try:
        return channels.send(settings, channel, news)
    except SettingsError as error:
        return str(error)


def _messages(settings: Settings, ledger: Ledger) -> dict[str, str]:
    """What each channel would be sent."""
    found = {}
    for channel in settings.notify:
        news = ledger.notices.news(channel.name, _severities(channel))
        if news:
            found[channel.name] = "\n".join(channels.message(news, channels.base_url(settings, channel)))
    return found


def _severities(channel: NotifySettings) -> list[Severity]:
    return [Severity(name) for name in channel.severities]
