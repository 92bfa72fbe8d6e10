"""The command line: `foreshock`. Commands load when they run, so that help and version answer at once."""

import atexit
import gc
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from cyclopts import App, CycloptsError, Group

from data.errors import ForeshockError, UsageError
from pipelines.output import Output, inert, only_ours_on_stdout, print_json, print_text

FAILED: Final = 1
INTERRUPTED: Final = 130
_LOOK: Final = "`foreshock doctor` says which; put a sound copy of that file in its place."
_OBJECTS_AT_ONCE: Final = 50_000
"""Garbage is looked for when so many objects more are alive: some MiB of them. By default it is 700, and an eighth of
what scoring a small fleet took went into looking through the libraries imported."""
SERVES: Final = frozenset({"review", "executor"})
"""Commands that answer when they begin, not when they end."""


def _version() -> str:
    from importlib.metadata import version

    return version("foreshock")


app = App(
    name="foreshock",
    help="Predicts which hosts are about to fail and moves their virtual machines away first.",
    version=_version,
    help_format="markdown",
    result_action="return_value",
)

_NIGHT: Final = Group("The night", sort_key=1)
_FACTS: Final = Group("Facts", sort_key=2)
_JUDGEMENT: Final = Group("Judgement", sort_key=3)
_PEOPLE: Final = Group("People", sort_key=4)

_COMMANDS: Final = (
    (_NIGHT, "demo", "night:demo", "The whole job on a simulated fleet, from empty."),
    (_NIGHT, "run", "night:run", "One cycle: ingest, settle, score, decide, dispatch, settle. Safe to repeat."),
    (_NIGHT, "incidents", "night:incidents", "What failing hosts have in common, with evidence."),
    (_NIGHT, "decide", "night:decide", "Proposals from risks, fleet and policy."),
    (_NIGHT, "dispatch", "night:dispatch", "Drain the outbox to the executor."),
    (_NIGHT, "settle", "night:settle", "Read outcomes and failures back; close episodes."),
    (_FACTS, "ingest", "facts:ingest", "Load telemetry and inventory; the same file twice loads once."),
    (_FACTS, "sql", "facts:sql", "Show the SQL that makes a component's features."),
    (_FACTS, "doctor", "facts:doctor", "Check the set-up and say what is wrong."),
    (_JUDGEMENT, "train", "judgement:train", "Fit a model on what was known by a date; it becomes the challenger."),
    (_JUDGEMENT, "score", "judgement:score", "Risks of all live entities as of the end of a date."),
    (_JUDGEMENT, "evaluate", "judgement:evaluate", "Champion, challenger and baselines side by side, forward in time."),
    (_JUDGEMENT, "compare", "judgement:compare", "Two models side by side on the same later days."),
    (_JUDGEMENT, "replay", "replay:replay", "A past period once more, through a policy and a model; writes nothing."),
    (
        _JUDGEMENT,
        "value",
        "replay:value",
        "What choices left to chance came to, and what others would have; writes nothing.",
    ),
    (_JUDGEMENT, "drift", "judgement:drift", "Whether a model still knows the fleet, and what came true."),
    (_JUDGEMENT, "watch", "judgement:watch", "Measure the drift of every champion; an alarm trains a challenger."),
    (_NIGHT, "executor", "executor:executor", "Serve the reference executor, which carries orders out."),
    (_JUDGEMENT, "promote", "judgement:promote", "Make a version the champion if the gates pass."),
    (_JUDGEMENT, "rollback", "judgement:rollback", "Give the champion's place back to the one before."),
    (_JUDGEMENT, "bench", "bench:bench", "Speed and memory beside peers, as ratios from one run."),
    (_PEOPLE, "review", "people:review", "Serve the review pages."),
    (_PEOPLE, "vms", "vms:vms", "Which VMs have been moved or serviced, and what their owners are offered."),
    (_PEOPLE, "stop", "people:stop", "Throw the kill switch: no order leaves."),
    (_PEOPLE, "start", "people:start", "Release the kill switch."),
)

_GROUPS: Final = (
    (_FACTS, "simulate", "A seeded fleet, or simulated hosts on top of real drives.", (
        ("fleet", "simulate:fleet", "A seeded fleet with ground truth."),
        ("overlay", "simulate:overlay", "Simulated hosts and VMs on top of the entities held."),
    )),
    (_PEOPLE, "decisions", "What is proposed, and what a person says to it.", (
        ("list", "decisions:list_", "Proposals, newest first."),
        ("show", "decisions:show", "One proposal with its reasons and prices."),
        ("approve", "decisions:approve", "Let it happen."),
        ("veto", "decisions:veto", "Stop it."),
        ("snooze", "decisions:snooze", "Not now; ask again when it changes, or later."),
        ("hand-over", "decisions:hand_over", "Let a named person decide."),
    )),
    (_PEOPLE, "tokens", "Who may look and decide by the review pages and their API.", (
        ("create", "tokens:create", "A new token, shown once."),
        ("list", "tokens:list_", "Whose tokens hold, and until when."),
        ("revoke", "tokens:revoke", "End one before its time."),
    )),
    (_PEOPLE, "orders", "The queue to the executor.", (
        ("list", "orders:list_", "Orders, newest first."),
        ("show", "orders:show", "One order with its history."),
        ("retry", "orders:retry", "Send a dead order again."),
        ("cancel", "orders:cancel", "Call an order back."),
        ("start-vm", "orders:start_vm", "Let a VM begin whose owner was offered a window."),
    )),
    (_PEOPLE, "hosts", "Real hosts that orders have closed to new VMs.", (
        ("list", "hosts:list_", "Which, by which order, and how they were left."),
        ("return", "hosts:return_", "Let one take VMs again."),
    )),
    (_PEOPLE, "opt-out", "Hosts and pools that a person keeps out, for a time.", (
        ("add", "opt_outs:add", "Keep a host or a pool out of actions."),
        ("list", "opt_outs:list_", "Who keeps what out, why and until when."),
        ("remove", "opt_outs:remove", "End one before its time."),
    )),
    (_PEOPLE, "notifications", "What people are told, and who has taken note of it.", (
        ("list", "notifications:list_", "What is told now, and how each channel fares."),
        ("ack", "notifications:ack", "Do not repeat it unless it changes."),
        ("send", "notifications:send", "Tell people what is new now."),
    )),
    (_PEOPLE, "ledger", "The audit chain, and the database that keeps it.", (
        ("verify", "orders:verify", "Check that no record was changed."),
        ("import", "orders:import_", "Take an SQLite ledger over into the database of the settings."),
    )),
)  # fmt: skip

for _group, _name, _target, _help in _COMMANDS:
    app.command(f"pipelines.commands.{_target}", name=_name, help=_help, group=_group)
for _group, _name, _help, _members in _GROUPS:
    _sub = App(name=_name, help=_help, group=_group)
    for _member, _target, _member_help in _members:
        _sub.command(f"pipelines.commands.{_target}", name=_member, help=_member_help)
    app.command(_sub)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 done, 1 failed, 2 wrong usage, 3 refused by a gate or a breaker."""
    atexit.register(_hush)  # first in, so last out
    tokens = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in tokens
    serves = bool(tokens) and tokens[0] in SERVES
    if tokens and not serves:
        gc.set_threshold(_OBJECTS_AT_ONCE)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads cost more than they save beside a server
    said = logging.StreamHandler(sys.stderr)
    said.addFilter(_is_news)
    logging.basicConfig(handlers=[said], level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        with only_ours_on_stdout() if as_json and not serves else nullcontext():
            output = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(UsageError(f"{error} See 'foreshock --help'."), as_json=as_json)
    except (ForeshockError, OSError) as error:
        return _fail(error, as_json=as_json)
    except _database_errors() as error:
        return _fail(error, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    if not isinstance(output, Output):
        return 0
    print_json(output.data) if as_json else print_text(output)
    return output.exit_code


def _is_news(record: logging.LogRecord) -> bool:
    """Whether nobody else says it: an error of ours is said in a sentence at the end, without pages of traceback."""
    ours = record.exc_info is not None and isinstance(record.exc_info[1], ForeshockError)
    return not (ours and record.name.startswith("prefect."))


def _hush() -> None:
    """Nothing more on standard error: DuckDB's binding ends a process with pages about its own reference counts."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _database_errors() -> tuple[type[Exception], ...]:
    """What the databases raise by themselves; one that was never loaded cannot have raised anything."""
    named = (("sqlite3", "Error"), ("sqlalchemy.exc", "SQLAlchemyError"), ("duckdb", "Error"))
    return tuple(getattr(sys.modules[module], name) for module, name in named if module in sys.modules)


def _fail(error: Exception, *, as_json: bool) -> int:
    exit_code = error.exit_code if isinstance(error, ForeshockError) else FAILED
    ours = isinstance(error, ForeshockError | OSError)
    cause = error if ours else f"A database cannot be used: {getattr(error, 'orig', None) or error}. {_LOOK}"
    sentence = " ".join(str(cause).split())
    sys.stderr.write(f"foreshock: {inert(sentence)}\n")
    if as_json:
        print_json({"error": sentence, "exit_code": exit_code})
    return exit_code
