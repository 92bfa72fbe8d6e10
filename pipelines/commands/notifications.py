"""Commands about notifications: list, ack, send."""

import getpass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pipelines.commands.common import COMMON, Common
from pipelines.output import Output, as_object

if TYPE_CHECKING:
    from decisions.ledger.notices import ListedNotice


def list_(*, common: Common = COMMON) -> Output:
    """What people are told now, who has taken note of it, and how each channel fares.

    Args:
        common: See every command.
    """
    from pipelines.ledgers import copied

    with copied(common.settings()) as ledger:
        listed, channels = ledger.notices.listed(), ledger.notices.channels()
    return Output({"notifications": [_line(each) for each in listed], "channels": channels})


def ack(topic: str, *, reason: str, by: str | None = None, common: Common = COMMON) -> Output:
    """Take note: the topic is not repeated unless something about it is new.

    Args:
        topic: Which one, as `list` shows it.
        reason: Why, for whoever is on call next.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened

    settings, name = common.settings(), by or getpass.getuser()
    with opened(settings) as ledger:
        ledger.notices.acknowledge(topic, name, reason, now_of(settings))
    return Output({"acknowledged": topic, "by": name, "reason": reason})


def send(*, dry_run: Annotated[bool, Parameter(negative="")] = False, common: Common = COMMON) -> Output:
    """Tell people what is new, as every cycle, dispatch and settle does at its end.

    Args:
        dry_run: Say what would be sent, send nothing and write nothing.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.steps.notify import notify

    settings = common.settings()
    return Output(as_object(notify(settings, now_of(settings), dry_run=dry_run)))


def _line(each: "ListedNotice") -> dict[str, object]:
    noted = each.acknowledged
    return {
        "topic": each.notice.topic,
        "severity": each.notice.severity,
        "title": each.notice.title,
        "path": each.notice.path,
        "since": each.first_at,
        "told": [f"{channel} {at:%Y-%m-%d %H:%M} UTC" for channel, at in each.told],
        "acknowledged_by": noted.by if noted else None,
        "acknowledged_at": noted.at if noted else None,
        "acknowledged_because": noted.reason if noted else None,
        "changed_since": not noted.holds if noted else None,
    }
