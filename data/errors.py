"""Every error that Foreshock raises on purpose.

ForeshockError
├── UsageError              the request makes no sense as given            (exit 2)
├── InputError              a file or record cannot be read                (exit 1)
├── SettingsError           a setting is missing, unknown or out of bounds (exit 2)
├── HomeError               the home cannot be written                     (exit 1)
├── WarehouseError          the warehouse cannot do what was asked         (exit 1)
│   ├── WarehouseBusy       another process is writing                     (exit 1)
│   └── MigrationError      a migration file was changed after it ran      (exit 1)
├── ModelError              a model is missing or cannot be used           (exit 1)
├── RegistryError           the store of models cannot be reached          (exit 1)
├── EngineError             the cluster cannot be trusted, or lost workers (exit 1)
│   └── EngineUnreachable   the cluster or its storage does not answer     (exit 1)
├── LedgerError             the ledger cannot do what was asked            (exit 1)
│   └── LedgerUnreachable   its database does not answer, or is busy       (exit 1)
├── ExecutorError           the executor cannot be reached or answers badly (exit 1)
└── Refused                 a gate, a guardrail or a breaker said no       (exit 3)
    └── Changed             somebody was faster: it is not as it was seen  (exit 3)

A message says what happened, to what, and what to do next.
"""

import re


def hidden(text: str) -> str:
    """The text without users and passwords of addresses in it."""
    return re.sub(r"://\S*@", "://***@", text)


class ForeshockError(Exception):
    """Root of the tree: catch this to catch everything that is ours."""

    exit_code = 1


class UsageError(ForeshockError):
    """The request makes no sense as given."""

    exit_code = 2


class InputError(ForeshockError):
    """A file or record cannot be read."""


class SettingsError(ForeshockError):
    """A setting is missing, unknown or out of bounds."""

    exit_code = 2


class HomeError(ForeshockError):
    """The home cannot be written."""


class WarehouseError(ForeshockError):
    """The warehouse cannot do what was asked."""


class WarehouseBusy(WarehouseError):
    """Another process is writing to the warehouse."""


class MigrationError(WarehouseError):
    """A migration that already ran was changed afterwards."""


class ModelError(ForeshockError):
    """A model is missing or cannot be used."""


class RegistryError(ForeshockError):
    """The store of models cannot be reached."""


class EngineError(ForeshockError):
    """The cluster that computes cannot be trusted to give the same answers, or lost its workers."""


class EngineUnreachable(EngineError):
    """The cluster that computes, or its storage, does not answer now."""


class LedgerError(ForeshockError):
    """The ledger cannot do what was asked."""


class LedgerUnreachable(LedgerError):
    """The ledger's database does not answer now, or another has been writing for too long."""


class ExecutorError(ForeshockError):
    """The maintenance executor cannot be reached or answers badly."""


class Refused(ForeshockError):
    """A gate, a guardrail or a breaker said no."""

    exit_code = 3


class Changed(Refused):
    """Somebody was faster: what was decided on is not as it was seen."""
