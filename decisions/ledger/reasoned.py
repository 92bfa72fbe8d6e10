"""A person says why."""

from data.errors import UsageError


def reasoned(reason: str, what: str) -> None:
    """Nothing, where there is a reason.

    Raises:
        UsageError: There is none.
    """
    if not reason.strip():
        msg = f"{what} needs a reason, for whoever is on call next. Say why."
        raise UsageError(msg)
