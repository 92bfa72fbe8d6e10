"""Commands about hosts that the executor of real VMs has closed: list, return."""

import getpass
from contextlib import closing
from pathlib import Path

from pipelines.commands.common import COMMON, Common
from pipelines.output import Output


def list_(*, memory: Path | None = None, common: Common = COMMON) -> Output:
    """Hosts that orders have closed to new VMs, and how they were left.

    Args:
        memory: File in which the executor remembers; default `executor.db` in the home.
        common: See every command.
    """
    from pipelines.executors.jobs import Jobs

    with closing(Jobs(_existing(memory, common))) as jobs:
        return Output({"hosts": jobs.hosts()})


def return_(
    host_id: str, *, reason: str, by: str | None = None, memory: Path | None = None, common: Common = COMMON
) -> Output:
    """Let a host that was serviced or repaired take VMs again; run it where the executor runs.

    Args:
        host_id: Which one.
        reason: Why it may, for whoever is on call next.
        by: Who you are; by default the name you are logged in with.
        memory: File in which the executor remembers; default `executor.db` in the home.
        common: See every command.
    """
    from data.errors import UsageError
    from decisions.ledger.reasoned import reasoned
    from pipelines.drivers.opened import opened
    from pipelines.executors.driven import wall
    from pipelines.executors.jobs import Jobs

    reasoned(reason, "Returning a host")
    settings = common.settings()
    with closing(Jobs(_existing(memory, common))) as jobs:
        if jobs.closed(host_id) is None:
            msg = f"No order has closed host {host_id}; `foreshock hosts list` shows which are."
            raise UsageError(msg)
        driver = opened(settings)
        try:
            driver.reopen(host_id)
        finally:
            driver.shut()
        jobs.open_host(host_id, f"{by or getpass.getuser()}: {reason}", wall())
        return Output({"hosts": [host for host in jobs.hosts() if host["host_id"] == host_id]})


def _existing(memory: Path | None, common: Common) -> Path:
    from data.errors import UsageError
    from pipelines.executors.jobs import MEMORY

    file = memory or common.settings().home / MEMORY
    if not file.is_file():
        msg = f"{file}: no executor has worked here. Give --memory the file of the one that has."
        raise UsageError(msg)
    return file
