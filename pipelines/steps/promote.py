"""Promote: a version becomes champion if its gates pass, those of the nights it was scored in the shadow among them."""

from typing import TYPE_CHECKING

from data.errors import ModelError
from pipelines.clock import moment
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    from models.gates import Gate
    from models.registry import Promotion


def promote(settings: Settings, component: str, which: str) -> "Promotion":
    """The new champion.

    Raises:
        ModelError: there is no such version.
        Refused: a gate failed.
    """
    from models import registry

    return registry.promote(settings.model_store, component, which, seen=shadowed(settings, component, which))


def gates(settings: Settings, component: str, which: str) -> "tuple[Gate, ...]":
    """Every gate of a version, as promotion would ask them."""
    from models import registry

    return (*registry.gates_of(settings.model_store, component, which), *shadowed(settings, component, which))


def shadowed(settings: Settings, component: str, which: str) -> "tuple[Gate, ...]":
    """The gate of the nights on which the version was scored beside the champion; none without another champion."""
    from models import registry
    from models.shadow import gate, shadow

    one = registry.load(settings.model_store, component, which)
    try:
        champion = registry.load(settings.model_store, component)
    except ModelError:
        return ()
    if champion.version == one.version:
        return ()
    with snapshot(settings) as con:
        seen = shadow(con, one.spec, (one.version, champion.version), moment(settings, con, None))
    return (gate(seen, one.spec),)
