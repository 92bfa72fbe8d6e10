"""Say: what a person says to a proposal, by the command line, by the API or on the page, is written down here."""

from datetime import timedelta

from data.errors import UsageError
from decisions.ledger.said import ANYWAY, Condition, Decided, Said
from decisions.policy import load as load_policy
from pipelines import ledgers
from pipelines.settings import Settings


def say(settings: Settings, said: Said, on: Condition = ANYWAY) -> Decided:
    """The decision as it stands in the ledger.

    Raises:
        UsageError: it would hold for longer than policy lets people keep a host out, or makes no sense otherwise.
        LedgerError: there is no such proposal.
        Refused: it has expired, is decided, is not as it was seen, or may not be approved.
    """
    longest = load_policy(settings.policy.path).opt_outs.longest_days
    if said.until is not None and said.until > said.at + timedelta(days=longest):
        msg = f"A decision holds for at most {longest:g} days (opt_outs.longest_days). Name an earlier end."
        raise UsageError(msg)
    with ledgers.opened(settings) as ledger:
        return ledger.say(said, on)
