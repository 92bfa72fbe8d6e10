"""The service of a host by a command of the operator: a patch, firmware, whatever its remedy is."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from data.errors import ExecutorError
from decisions.domain import Action, Order, VmOutcome
from pipelines.drivers import Driver, Impossible
from pipelines.executors.jobs import Jobs

Service = Callable[[Order], None]
"""Services the order's host, and raises `Impossible` if it cannot."""


def service_by(command: Sequence[str], timeout_seconds: float = 3_600.0) -> Service:
    """A service of hosts by a command, run with the order's id, host, attribute and new value after its own arguments.

    The service it gives raises `Impossible` when the command fails or takes too long.
    """

    def serve(order: Order) -> None:
        change = (order.remedy.attribute, order.remedy.becomes) if order.remedy else ("", "")
        try:
            subprocess.run(
                [*command, order.order_id, order.host_id, *change],
                check=True,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
            )
        except subprocess.CalledProcessError as error:
            msg = f"the service of {order.host_id} ended with {error.returncode}: {error.stderr.strip()[-300:]}"
            raise Impossible(msg) from error
        except (subprocess.TimeoutExpired, OSError) as error:
            msg = f"the service of {order.host_id} did not end well: {error}"
            raise Impossible(msg) from error

    return serve


def serviced(driver: Driver, jobs: Jobs, service: Service, order: Order) -> str | None:
    """Why the service did not go well, or null; under `preserve_memory` the host's VMs stand still meanwhile."""
    why, halted = None, dict[str, float]()
    try:
        if order.action is Action.PRESERVE_MEMORY:
            for vm in order.vms:
                halted[vm.vm_id] = time.monotonic()
                driver.pause(vm.vm_id)
        service(order)
    except ExecutorError as error:
        why = str(error)
    finally:
        failed = wake(driver, jobs, order, halted)
    return why or (f"{failed} VMs did not go on after their pause" if failed else None)


def wake(driver: Driver, jobs: Jobs, order: Order, halted: Mapping[str, float]) -> int:
    """How many VMs do not go on; `halted` says since when (in monotonic seconds) each stands still."""
    failed = 0
    for task in jobs.tasks(order.order_id):
        if order.action is not Action.PRESERVE_MEMORY or task.phase == "done":
            continue
        broken = None
        try:
            driver.resume(task.vm_id)
        except ExecutorError as error:
            failed, broken = failed + 1, str(error)
        pause = time.monotonic() - halted[task.vm_id] if task.vm_id in halted else 0.0
        result = "failed" if broken else "paused"
        jobs.end(task, VmOutcome(task.vm_id, result, task.host_id, pause, broken is not None), broken)
    return failed
