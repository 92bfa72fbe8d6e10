"""Sending through apprise: one message to one channel, whose URL is a secret of the environment and is never shown."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from data.errors import SettingsError
from decisions.ledger.notices import Notice, Severity
from pipelines.notifications.settings import NotifySettings
from pipelines.settings import Settings

if TYPE_CHECKING:
    from apprise import Apprise

_TYPES: Final = {Severity.PAGE: "failure", Severity.WARN: "warning", Severity.INFO: "info"}
_REASON_LENGTH: Final = 200
_SECRET_LENGTH: Final = 12


def send(settings: Settings, channel: NotifySettings, notices: Sequence[Notice]) -> str | None:
    """Why the channel could not take the notices, which are the most severe first; null once it has.

    Raises:
        SettingsError: Its URL is not set, or is none that apprise knows.
    """
    receiver = opened(channel)
    title, body = message(notices, base_url(settings, channel))
    with _said() as lines:
        done = receiver.notify(body=body, title=title, notify_type=_TYPES[notices[0].severity], body_format="text")
    return None if done else _masked(" ".join(lines), channel)[:_REASON_LENGTH] or "the receiver did not take it"


def opened(channel: NotifySettings) -> "Apprise":
    """The channel's receiver; nothing is sent yet.

    Raises:
        SettingsError: Its URL is not set, or is none that apprise knows.
    """
    from apprise import Apprise, AppriseAsset

    url = os.environ.get(channel.url_from, "").strip()
    if not url:
        msg = f"channel {channel.name}: the environment variable {channel.url_from} is not set; put apprise's URL there"
        raise SettingsError(msg)
    asset = AppriseAsset(app_id="Foreshock", app_desc="Foreshock", app_url="", async_mode=False, storage_mode="memory")
    receiver = Apprise(asset=asset)
    with _said():
        known = receiver.add(url)
    if not known or not len(receiver):
        msg = f"channel {channel.name}: what {channel.url_from} holds is no URL that apprise knows; correct it"
        raise SettingsError(msg)
    return receiver


def message(notices: Sequence[Notice], address: str) -> tuple[str, str]:
    """Title and text of one message: each notice with its severity and the link to its page."""
    first, more = notices[0], len(notices) - 1
    title = f"Foreshock {first.severity.value}: {first.title}" + (f" (and {more} more)" if more else "")
    parts = [
        "\n".join([*([f"[{n.severity.value}] {n.title}"] if more else []), n.body, f"{address}{n.path}"])
        for n in notices
    ]
    return title, "\n\n".join(parts)


def base_url(settings: Settings, channel: NotifySettings) -> str:
    """Where the review page is for those whom the channel tells."""
    host = f"[{settings.review.host}]" if ":" in settings.review.host else settings.review.host
    return channel.base_url.rstrip("/") or settings.review.url or f"http://{host}:{settings.review.port}"


def _masked(said: str, channel: NotifySettings) -> str:
    """What was said without any part of the channel's URL that is long enough to be a secret."""
    for part in re.split(r"[/:@?&=]+", os.environ.get(channel.url_from, "")):
        said = said.replace(part, "...") if len(part) >= _SECRET_LENGTH else said
    return said


@contextmanager
def _said() -> Iterator[list[str]]:
    """What apprise logs meanwhile: it says there why it failed, with secrets masked, and nowhere else."""
    lines: list[str] = []
    logger = logging.getLogger("apprise")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    kept = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = kept
