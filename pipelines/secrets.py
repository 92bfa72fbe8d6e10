"""What may not stand in a settings file: secrets come from the environment only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data.errors import SettingsError


def refuse_secrets(content: Mapping[str, Any], file: Path) -> None:
    """Nothing, where the file's content holds no secret.

    Raises:
        SettingsError: It holds one; the message says which variable to set instead.
    """
    match content.get("ledger"):
        case {"url": str(url)} if urlsplit(url).password or "password=" in url:
            msg = (
                f"{file}: ledger.url holds a password. Secrets come from the environment only: "
                f"take it out of the file and set FORESHOCK__LEDGER__URL, or PGPASSWORD."
            )
            raise SettingsError(msg)
    match content.get("mlflow"):
        case {"tracking_uri": str(url)} if "@" in url:
            msg = (
                f"{file}: mlflow.tracking_uri names a user or password. Secrets come from the environment only: "
                "take it out of the file and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )
            raise SettingsError(msg)
    sources = content.get("sources")
    for number, source in enumerate(sources if isinstance(sources, list) else ()):
        match source:
            case {"urls": [*urls]} if any("@" in str(url) for url in urls):
                msg = (
                    f"{file}: an address in sources.{number}.urls names a user or password. Secrets come from the "
                    "environment only: take it out of the file and set FORESHOCK_PROMETHEUS_TOKEN, or "
                    "FORESHOCK_REDFISH_USER and FORESHOCK_REDFISH_PASSWORD."
                )
                raise SettingsError(msg)
