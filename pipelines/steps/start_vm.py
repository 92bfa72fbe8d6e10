"""Start: a person lets a VM that its owner was offered a window for begin now, at the owner's word."""

from data.errors import ExecutorError, Refused, SettingsError
from decisions.ledger.starts import Start
from pipelines import ledgers
from pipelines.executors.opened import opened
from pipelines.settings import Settings


def start_vm(settings: Settings, wish: Start) -> Start:
    """The wish as it is held, once the executor has heard it; of several people, that of the first.

    It stands in the history before the executor is told, so a kill in between leaves a wish that can be repeated; the
    executor that has nothing left to begin with has heard it before.

    Raises:
        LedgerError: there is no such order.
        Refused: that VM has no open window, or the executor has nothing left to begin with.
        ExecutorError: the executor cannot be reached; it is written down that nothing began.
    """
    with ledgers.opened(settings) as ledger:
        held, first = ledger.start_vm(wish)
        try:
            with opened(settings, wish.at) as executor:
                executor.start_vm(held.order_id, held.vm_id, f"{held.by}: {held.reason}")
        except (ExecutorError, Refused, SettingsError) as error:
            if not first and isinstance(error, Refused):
                return held
            if first:
                ledger.start_vm_failed(held, str(error), wish.at)
            raise
    return held
