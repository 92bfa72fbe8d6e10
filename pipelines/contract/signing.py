"""Signatures on requests between Foreshock and an executor, by the Standard Webhooks specification.

HMAC-SHA256 over `id.timestamp.body` with a secret that both sides hold. A signature is good for five minutes, and the
receiver takes each id once, so that a request which somebody recorded can neither be changed nor replayed.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from data.errors import Refused, SettingsError

SECRET: Final = "FORESHOCK_EXECUTOR_SECRET"  # noqa: S105 - the name of the variable, not the secret
LEAST_BYTES: Final = 24
HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


def secret() -> bytes:
    """The shared secret, from the environment only.

    Raises:
        SettingsError: it is not set, or too short to protect anything.
    """
    value = os.environ.get(SECRET, "").encode()
    if len(value) < LEAST_BYTES:
        problem = "is not set" if not value else f"has {len(value)} bytes"
        msg = (
            f"{SECRET} {problem}; orders are signed with it. Set the same random text of at least {LEAST_BYTES} bytes "
            "here and at the executor, for example the output of `openssl rand -base64 32`."
        )
        raise SettingsError(msg)
    return value


def headers(key: bytes, message_id: str, body: bytes, at: datetime) -> dict[str, str]:
    """The headers that sign a request."""
    stamp = at.astimezone(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(stamp.timestamp())),
        "webhook-signature": Webhook(key).sign(message_id, stamp.replace(tzinfo=None), body.decode()),
    }


def check(key: bytes, received: Mapping[str, str], body: bytes) -> str:
    """The id of a request whose signature is good.

    Raises:
        Refused: the signature is missing, wrong, or more than five minutes old, or the body is no UTF-8 text.
    """
    wanted = {
        name: received[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if name in received
    }
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        msg = f"the request's body is no UTF-8 text: {error.reason} at byte {error.start}"
        raise Refused(msg) from error
    try:
        Webhook(key).verify(text, wanted, json_parse=False)
    except (WebhookVerificationError, ValueError) as error:
        msg = f"the request is not signed as it must be: {error}"
        raise Refused(msg) from error
    return wanted["webhook-id"]
