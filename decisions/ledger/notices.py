"""What people are told, as the ledger remembers it: what holds now, who has heard it, and who has taken note of it.

A notice is about a topic and tells of items. A channel hears of a topic again when there is an item that it has not
been told of, or when it has become more severe. A person's acknowledgement silences a topic until a subject is new. A
topic that holds no longer is forgotten, so that it is news when it comes back.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from data.errors import LedgerError
from decisions.ledger import chain
from decisions.ledger.reasoned import reasoned
from decisions.ledger.schema import notification, notification_channel, notification_told
from decisions.ledger.seen import Seen, look
from decisions.ledger.store import reading, writing

Item = tuple[str, str]
"""Its subject, which a person can take note of (`evacuate h1`), and what makes this occurrence unlike the last."""


class Severity(StrEnum):
    """How urgent a notice is: wants a person now, within the day, or nobody in particular."""

    PAGE = "page"
    WARN = "warn"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 is the most severe."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Notice:
    """One message: about a topic, with its items, and the path of its review page."""

    topic: str
    severity: Severity
    title: str
    body: str
    path: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Acknowledged:
    """A person has taken note: who, why, when, and whether it still holds, with nothing new since."""

    by: str
    reason: str
    at: datetime
    holds: bool


@dataclass(frozen=True)
class ListedNotice:
    """A notice that holds, since when, who has taken note of it, and when which channel heard of it last."""

    notice: Notice
    first_at: datetime
    acknowledged: Acknowledged | None
    told: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True)
class ListedChannel:
    """How a channel fares: failures in a row, the last one's reason, and when it is tried again at the earliest."""

    channel: str
    failures: int
    last_error: str | None
    next_attempt_at: datetime
    told_at: datetime | None


@dataclass(frozen=True)
class Notices:
    """The ledger's memory of what people are told. Each method that changes it is one transaction."""

    engine: Engine

    def seen(self, now: datetime, prediction_hours: float) -> Seen:
        """What there is to tell of at the moment; see `decisions.ledger.seen.look`."""
        with reading(self.engine) as con:
            return look(con, now, prediction_hours)

    def hold(self, notices: Sequence[Notice], kept: Callable[[str], bool], at: datetime) -> None:
        """Remember what holds now, besides topics that are `kept`; what holds no longer is forgotten."""
        with writing(self.engine) as con:
            held = {row.topic: row for row in con.execute(select(notification))}
            for notice in notices:
                _hold(con, notice, held.get(notice.topic), at)
            gone = held.keys() - {notice.topic for notice in notices}
            _forget(con, [topic for topic in gone if not kept(topic)])

    def news(self, channel: str, severities: Collection[Severity]) -> list[Notice]:
        """What the channel has not been told yet, the most severe first."""
        with reading(self.engine) as con:
            return _news(con, channel, severities)

    def claim(self, channel: str, severities: Collection[Severity], wall: datetime, lease: timedelta) -> list[Notice]:
        """The channel's news, if the caller alone may use it now; it is not tried again before the lease ends."""
        held = notification_channel.c
        with writing(self.engine) as con:
            row = con.execute(select(held.next_attempt_at).where(held.channel == channel)).first()
            news = _news(con, channel, severities)
            if not news or (row is not None and row.next_attempt_at > wall):
                return []
            if row is None:
                fresh = {"channel": channel, "failures": 0, "next_attempt_at": wall + lease}
                con.execute(insert(notification_channel), fresh)
            else:
                again = update(notification_channel).where(held.channel == channel)
                con.execute(again.values(next_attempt_at=wall + lease))
            return news

    def told(self, channel: str, notices: Iterable[Notice], at: datetime, wall: datetime) -> None:
        """The channel has taken the notices; it may be used again at once."""
        heard, held = notification_told.c, notification_channel.c
        with writing(self.engine) as con:
            holding = set(con.execute(select(notification.c.topic)).scalars())
            for notice in notices:
                if notice.topic in holding:
                    con.execute(delete(notification_told).where(heard.topic == notice.topic, heard.channel == channel))
                    row = {"topic": notice.topic, "channel": channel, "severity": notice.severity.value, "at": at}
                    con.execute(insert(notification_told), {**row, "about": _dump(notice.items)})
            well = update(notification_channel).where(held.channel == channel)
            con.execute(well.values(failures=0, last_error=None, next_attempt_at=wall, told_at=wall))

    def failed(self, channel: str, error: str, next_attempt_at: datetime) -> None:
        """The channel could not be used; it is tried again from then on."""
        held = notification_channel.c
        ill = update(notification_channel).where(held.channel == channel)
        with writing(self.engine) as con:
            con.execute(ill.values(failures=held.failures + 1, last_error=error, next_attempt_at=next_attempt_at))

    def acknowledge(self, topic: str, by: str, reason: str, at: datetime) -> None:
        """Do not repeat the topic unless a subject is new; the history says who said so, and why.

        Raises:
            UsageError: No reason.
            LedgerError: Nothing is told about such a topic now.
        """
        reasoned(reason, "Taking note")
        held = notification.c
        with writing(self.engine) as con:
            row = con.execute(select(held.about).where(held.topic == topic)).first()
            if row is None:
                msg = f"Nothing is told about {topic} now. `foreshock notifications list` shows the topics."
                raise LedgerError(msg)
            said = {"acknowledged_by": by, "acknowledged_reason": reason, "acknowledged_at": at}
            noted = update(notification).where(held.topic == topic)
            con.execute(noted.values(acknowledged_about=row.about, **said))
            chain.append(con, at, [chain.Entry("acknowledged", topic, {"by": by, "reason": reason})])

    def listed(self) -> list[ListedNotice]:
        """What holds now, the most severe first."""
        told = notification_told.c
        with reading(self.engine) as con:
            rows = con.execute(select(notification)).all()
            heard = con.execute(select(told.topic, told.channel, told.at).order_by(told.channel)).all()
        found = [
            ListedNotice(
                _notice(row),
                row.first_at,
                _acknowledged(row),
                tuple((each.channel, each.at) for each in heard if each.topic == row.topic),
            )
            for row in rows
        ]
        return sorted(found, key=lambda each: (each.notice.severity.rank, each.notice.topic))

    def channels(self) -> list[ListedChannel]:
        """How each channel that was ever used fares."""
        with reading(self.engine) as con:
            return channels(con)

    def keep_channels(self, names: Collection[str]) -> None:
        """Forget channels that are no longer configured."""
        with writing(self.engine) as con:
            con.execute(delete(notification_told).where(notification_told.c.channel.not_in(names)))
            con.execute(delete(notification_channel).where(notification_channel.c.channel.not_in(names)))


def channels(con: Connection) -> list[ListedChannel]:
    """How each channel fares, by name."""
    rows = con.execute(select(notification_channel).order_by(notification_channel.c.channel))
    return [ListedChannel(r.channel, r.failures, r.last_error, r.next_attempt_at, r.told_at) for r in rows]


def _news(con: Connection, channel: str, severities: Collection[Severity]) -> list[Notice]:
    told = notification_told.c
    heard = {row.topic: row for row in con.execute(select(notification_told).where(told.channel == channel))}
    wanted = notification.c.severity.in_([each.value for each in severities])
    rows = con.execute(select(notification).where(wanted)).all()
    found = [_notice(row) for row in rows if not _is_silenced(row) and _is_news(row, heard.get(row.topic))]
    return sorted(found, key=lambda notice: (notice.severity.rank, notice.topic))


def _hold(con: Connection, notice: Notice, held: Row[Any] | None, at: datetime) -> None:
    row = {
        "topic": notice.topic,
        "severity": notice.severity.value,
        "title": notice.title,
        "body": notice.body,
        "path": notice.path,
        "about": _dump(notice.items),
    }
    if held is None:
        con.execute(insert(notification), {**row, "first_at": at})
        return
    if held.acknowledged_about is not None:  # a subject that went and comes back later is news
        here = {subject for subject, _ in notice.items}
        still = [item for item in _load(held.acknowledged_about) if item[0] in here]
        row["acknowledged_about"] = _dump(still)
    con.execute(update(notification).where(notification.c.topic == notice.topic).values(**row))
    heard = notification_told.c
    for told in con.execute(select(notification_told).where(heard.topic == notice.topic)).all():
        still = [item for item in _load(told.about) if item in notice.items]
        its = update(notification_told).where(heard.topic == notice.topic, heard.channel == told.channel)
        con.execute(its.values(about=_dump(still)))


def _forget(con: Connection, topics: Collection[str]) -> None:
    con.execute(delete(notification_told).where(notification_told.c.topic.in_(topics)))
    con.execute(delete(notification).where(notification.c.topic.in_(topics)))


def _is_news(row: Row[Any], heard: Row[Any] | None) -> bool:
    if heard is None:
        return True
    louder = Severity(row.severity).rank < Severity(heard.severity).rank
    return louder or not set(_load(row.about)) <= set(_load(heard.about))


def _is_silenced(row: Row[Any]) -> bool:
    acknowledged = _acknowledged(row)
    return acknowledged is not None and acknowledged.holds


def _acknowledged(row: Row[Any]) -> Acknowledged | None:
    if row.acknowledged_about is None:
        return None
    noted = {subject for subject, _ in _load(row.acknowledged_about)}
    holds = all(subject in noted for subject, _ in _load(row.about))
    return Acknowledged(row.acknowledged_by, row.acknowledged_reason, row.acknowledged_at, holds)


def _notice(row: Row[Any]) -> Notice:
    return Notice(row.topic, Severity(row.severity), row.title, row.body, row.path, tuple(_load(row.about)))


def _dump(items: Iterable[Item]) -> str:
    return chain.canonical(sorted(items))


def _load(text: str) -> list[Item]:
    return [(subject, detail) for subject, detail in json.loads(text)]
