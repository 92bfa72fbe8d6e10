"""People, roles and tokens."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What a person may: see the VMs of owners they speak for; look at all; decide, too; decide in every pool."""

    OWNER = "owner"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """The higher, the more."""
        return list(Role).index(self)

    @property
    def looks(self) -> bool:
        """Whether everything may be looked at; else only what concerns the owners they speak for."""
        return self.rank >= Role.VIEWER.rank

    @property
    def decides(self) -> bool:
        """Whether more than looking is allowed."""
        return self.rank >= Role.OPERATOR.rank


@dataclass(frozen=True)
class Person:
    """Somebody who has shown who they are."""

    name: str
    role: Role
    pools: tuple[str, ...] = ()
    """Clusters whose proposals they may decide on; empty: all."""
    token_id: str | None = None
    """The token they showed; null: an identity provider vouched for them."""
    expires_at: datetime | None = None
    """When what they showed holds no longer."""
    owners: tuple[str, ...] = ()
    """Owners of VMs whom they speak for, in whatever role; empty: none."""

    def speaks_for(self, owner: str | None) -> bool:
        """Whether they may start what the owner was offered."""
        return owner in self.owners

    def may_decide(self, pool: str) -> bool:
        """Whether they may decide on proposals of the pool."""
        return self.role.decides and (not self.pools or pool in self.pools)


@dataclass(frozen=True)
class ListedToken:
    """A token without its secret."""

    token_id: str
    name: str
    role: Role
    pools: tuple[str, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_by: str | None = None
    revoked_at: datetime | None = None
    revoked_because: str | None = None
    owners: tuple[str, ...] = ()

    def holds(self, at: datetime) -> bool:
        """Whether it has neither expired nor been revoked."""
        return self.revoked_at is None and at < self.expires_at

    @property
    def person(self) -> Person:
        """Who shows it."""
        return Person(self.name, self.role, self.pools, self.token_id, self.expires_at, self.owners)


@dataclass(frozen=True)
class Made:
    """A new token, and its secret, which is shown once."""

    token: ListedToken
    secret: str
