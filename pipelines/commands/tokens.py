"""Commands about tokens: create, list, revoke."""

import getpass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pipelines.commands.common import COMMON, Common, Days
from pipelines.output import Output

if TYPE_CHECKING:
    from decisions.access.values import ListedToken

_Role = Literal["owner", "viewer", "operator", "admin"]
_OPEN = (
    "Without it everything can be read here: set review.authentication to required to keep the rest from its holder."
)


def create(
    name: str,
    *,
    role: _Role,
    days: Days,
    pool: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    owner: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    by: str | None = None,
    common: Common = COMMON,
) -> Output:
    """A new token, shown once: whoever has it decides under its name.

    Args:
        name: Whose it is, as decisions and history shall have it.
        role: owner sees VMs of the owners named, no more; viewer looks; operator decides; admin does so in every pool.
        days: For how long it holds.
        pool: An operator decides only on proposals of this pool (a cluster); may be given several times.
        owner: Starts what this owner of VMs was offered, in any role; may be given several times.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from data.errors import UsageError
    from decisions.access import Access
    from decisions.access.values import Person, Role
    from pipelines.named import require

    if pool and role != "operator":
        msg = f"--pool bounds what an operator may decide, and the role is {role}. Leave it out."
        raise UsageError(msg)
    if not all(each.strip() for each in owner) or (role == "owner" and not owner):
        msg = "A token of the role owner sees the VMs of owners that are named. Name each: --owner OWNER."
        raise UsageError(msg)
    now, settings = datetime.now(UTC), common.settings()
    for each in pool:
        require(settings, "pool", each, now)
    with Access(settings.ledger_url) as access:
        person = Person(name, Role(role), pool, expires_at=now + timedelta(days=days), owners=owner)
        made = access.create(person, by or getpass.getuser(), now)
    text = f"{made.secret}\n\nThis is shown once. It holds until {made.token.expires_at:%Y-%m-%d %H:%M} UTC."
    if role == "owner" and settings.review.authentication == "open":
        text += f"\n{_OPEN}"
    return Output({"token": made.secret, **_line(made.token, now)}, text)


def list_(*, ended: Annotated[bool, Parameter(negative="")] = False, common: Common = COMMON) -> Output:
    """Whose tokens hold, and until when; never the tokens themselves.

    Args:
        ended: Also those that have expired or were revoked.
        common: See every command.
    """
    from decisions.access import Access

    now = datetime.now(UTC)
    with Access(common.settings().ledger_url) as access:
        found = access.tokens()
    return Output({"tokens": [_line(each, now) for each in found if ended or each.holds(now)]})


def revoke(token_id: str, *, reason: str, by: str | None = None, common: Common = COMMON) -> Output:
    """End a token before its time, and every session that began with it.

    Args:
        token_id: Which one, as `list` shows it.
        reason: Why.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from decisions.access import Access

    now = datetime.now(UTC)
    with Access(common.settings().ledger_url) as access:
        return Output(_line(access.revoke(token_id, by or getpass.getuser(), reason, now), now))


def _line(each: "ListedToken", now: datetime) -> dict[str, object]:
    return {
        "token_id": each.token_id,
        "name": each.name,
        "role": each.role,
        "pools": list(each.pools) or "all",
        "owners": list(each.owners),
        "holds": each.holds(now),
        "created_by": each.created_by,
        "created_at": each.created_at,
        "expires_at": each.expires_at,
        "revoked_by": each.revoked_by,
        "revoked_at": each.revoked_at,
        "revoked_because": each.revoked_because,
    }
