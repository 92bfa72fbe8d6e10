"""Signatures as somebody else writes them: by the Standard Webhooks specification, over bytes of any kind."""

import base64
import hashlib
import hmac
import time
from uuid import uuid4


def signatures(key: bytes, body: bytes, *, message_id: str | None = None, at: float | None = None) -> dict[str, str]:
    """The three headers, of now and with an id of their own unless told otherwise."""
    name, stamp = message_id or str(uuid4()), str(int(time.time() if at is None else at))
    digest = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
