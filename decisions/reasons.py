"""Why an action was chosen, in sentences for the person who may overrule it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from decisions.chance import Choice
from decisions.domain import Action, EntityRisk, HostRisk, Price, Vm
from decisions.guardrails import unknown_reasons
from decisions.load import Load
from decisions.policy import Policy
from decisions.remedies import Service
from features.wording import reason

SHOWN: Final = 3
WORTH_NAMING: Final = 0.1
"""An entity is named when its risk is more than this share of the riskiest one's."""


def explain(
    risk: HostRisk,
    vms: Sequence[Vm],
    choice: Choice,
    priced: Mapping[Action, Price],
    work: Load,
    policy: Policy,
    service: Service | None = None,
    deadline: datetime | None = None,
) -> tuple[str, ...]:
    """The reasons in the order in which people ask: the risk, what carries it, the prices, what stays behind."""
    if not risk.known:
        return (f"Risk of the host is unknown: {unknown_reasons(risk)}.",)
    days = policy.horizon.decision_days
    top = risk.entities[0].curve[30]
    chance = f"fails within {days:g} days with a chance of {risk.within(days):.0%}"
    lines = [f"Host {risk.host_id} {chance}; it runs {len(vms)} VM{'' if len(vms) == 1 else 's'}."]
    lines += [_carrier(entity) for entity in risk.entities[:SHOWN] if entity.curve[30] > WORTH_NAMING * top]
    if risk.unknown:
        lines.append(f"Of {len(risk.unknown)} more entities the risk is unknown: {unknown_reasons(risk)}.")
    if service is not None:
        lines.append(_helps(service))
    lines += _compare(choice, priced)
    return (*lines, *_left(choice.action, work, deadline))


def _helps(service: Service) -> str:
    remedy = service.remedy
    change = f"{remedy.attribute} {remedy.value} to {remedy.becomes}"
    if service.cured:
        return f"{remedy.name} ({change}) takes {service.cured:.0%} of the risk away."
    until = f" until the end of {remedy.due}" if remedy.due is not None else ": hosts like it fail for want of it"
    return f"It is due for {remedy.name} ({change}){until}."


def _carrier(entity: EntityRisk) -> str:
    named = f"{entity.component} {entity.entity_id}" + (f" ({entity.model})" if entity.model else "")
    factors = ", ".join(f"{reason(f.feature, f.value)} ({f.contribution:+.2f})" for f in entity.factors[:SHOWN])
    because = f", because of {factors}" if factors else ""
    return f"{named}: {entity.curve[30]:.0%} within 30 days, {entity.curve[7]:.0%} within 7{because}."


def _compare(choice: Choice, priced: Mapping[Action, Price]) -> list[str]:
    action, best, waiting = choice.action, choice.best, priced[Action.MONITOR].interruptions
    costs = f"Waiting costs {waiting:.2f} expected VM interruptions"
    if action is not best:
        chance = f"An experiment drew {action} ({choice.propensity:.0%}), to learn what each is worth"
        cheapest = "" if best is Action.MONITOR else f", {best} {priced[best].interruptions:.2f}"
        drawn = "" if action is Action.MONITOR else f", {action} {priced[action].interruptions:.2f}"
        return [f"{costs}{cheapest}{drawn}.", f"{chance}: without it this would be {best}."]
    if action is Action.MONITOR:
        return [f"{costs}, and nothing that is allowed costs less."]
    return [f"{costs}, {action} {priced[action].interruptions:.2f}."]


def _left(action: Action, work: Load, deadline: datetime | None) -> tuple[str, ...]:
    """Which VMs the move leaves behind or interrupts."""
    if action is Action.LIVE_MIGRATE:
        left = work.stuck
        return (f"{_named(left)} cannot move live now and stays; the owner is told.",) if left else ()
    if action is Action.EVACUATE:
        again = f"{_named(work.redeploying)} cannot move live and is interrupted once, with notice."
        return (again, f"{_named(work.staying)} has no target and stays.") if work.staying else (again,)
    if action is Action.SELF_SERVICE and deadline is not None:
        until = f"{deadline:%a %-d %b %H:%M} UTC"
        said = f"{_named(work.offered)}: the owner picks the moment until {until}, then it is moved or redeployed."
        return (said, f"{_named(work.staying)} has no target and stays.") if work.staying else (said,)
    return ()


def _named(plans: Sequence[object]) -> str:
    names = [str(getattr(plan, "vm_id", plan)) for plan in plans[:SHOWN]]
    more = f" and {len(plans) - SHOWN} more" if len(plans) > SHOWN else ""
    return f"VM {', '.join(names)}{more}"
