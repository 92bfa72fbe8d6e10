"""Commands for people: review, stop, start."""

import getpass

from pipelines.commands.common import COMMON, Common
from pipelines.output import Output, print_json


def review(*, host: str | None = None, port: int | None = None, common: Common = COMMON) -> None:
    """Serve the review pages until interrupted.

    Args:
        host: Address to listen on; by default loopback.
        port: Port to listen on.
        common: See every command.
    """
    import sys
    from datetime import UTC, datetime
    from importlib import import_module

    from pipelines.cycle import now_of

    settings = common.settings()

    def announce(url: str) -> None:
        if common.json:
            print_json({"url": url, "home": settings.home})
        else:
            sys.stderr.write(f"Review pages of {settings.home} at {url} (Ctrl-C ends)\n")

    serve = import_module("dashboards.serve").serve  # the floor above: known here by its name alone
    address, number = host or settings.review.host, settings.review.port if port is None else port
    clocks = {"auto": None, "wall": lambda: datetime.now(UTC), "data": lambda: now_of(settings)}
    clock = clocks[settings.clock.source]
    serve(settings.home, settings.ledger_url, address, number, clock=clock, settings=settings, announce=announce)


def stop(*, reason: str, by: str | None = None, common: Common = COMMON) -> Output:
    """Throw the kill switch: no order leaves until `start`; those not begun, or waiting for owners, are called back.

    Args:
        reason: Why, for everybody who finds it thrown.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened
    from pipelines.steps.dispatch import CalledBack, call_back

    settings, name = common.settings(), by or getpass.getuser()
    now = now_of(settings)
    with opened(settings) as ledger:
        ledger.stop(name, reason, now)
    done = call_back(settings, now)
    told = {"called_back": done} if done != CalledBack(0) else {}
    return Output({"stopped": True, "by": name, "reason": reason, **told})


def start(*, reason: str = "", by: str | None = None, common: Common = COMMON) -> Output:
    """Release the kill switch. What expired meanwhile stays expired.

    Args:
        reason: Why.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened

    settings, name = common.settings(), by or getpass.getuser()
    with opened(settings) as ledger:
        ledger.start(name, now_of(settings), reason)
    return Output({"stopped": False, "by": name, "reason": reason})
