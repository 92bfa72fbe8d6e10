"""The service of a host by a command of the operator: a patch, firmware, whatever its remedy is."""

import subprocess
from collections.abc import Callable, Sequence

from decisions.domain import Order
from pipelines.drivers import Impossible


def service_by(command: Sequence[str], timeout_seconds: float = 3_600.0) -> Callable[[Order], None]:
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
