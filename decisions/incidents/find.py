"""The search: every factor and pair of factors is tested, the most telling one leads, and is then held fixed.

1. Each value of each attribute, and each pair of values of what is inside a host, is a factor. Parts of each kind are
   strata of their own, so that unlike base rates prove nothing; a kind by itself is looked at too.
2. `search` keeps those that chance does not explain, and orders them by how much likelier they make the failures.
3. The first one leads. Of a pair and a half of it, the pair does only if it shows within the half and the half not
   outside it; otherwise the half does, and the pair is told beside it unless the half explains it. The others that the
   same parts have are tested with the leading one held fixed, and the other way round.
4. The leading factor becomes a stratum, and the search goes on for causes besides it. What shows only among the parts
   of an incident is told there and not named again.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid5

import numpy as np

from decisions.incidents import words
from decisions.incidents.population import Ints, Population
from decisions.incidents.rates import p_value, ratio
from decisions.incidents.search import Found, telling
from decisions.incidents.study import Study, split
from decisions.incidents.values import Factor, Incident, Shared, Stance
from decisions.sections import Incidents

Stood = tuple[Stance, float | None, float | None]
"""How a factor stands to the leading one, its p with that held fixed, and the other way round."""

NAMESPACE: Final = UUID("0f0a4a86-9c0b-5e53-9f0a-3d1f5d6f7b21")
SHOWN_FACTORS: Final = 6
OVERLAP: Final = 0.5
"""Of the affected parts of the smaller of two factors, those that must have both for one to tell of the other."""


def find(population: Population, policy: Incidents, known: Iterable[Incident] = ()) -> tuple[Incident, ...]:
    """The incidents that the population shows, the most telling first; the same arguments, the same answer.

    Args:
        population: parts, and what they and their hosts were.
        policy: what counts as an incident.
        known: incidents of earlier nights, newest first; one that is found again keeps its id and its beginning.
    """
    study = Study(population, policy)
    earlier = list(known)
    found: list[Incident] = []
    held = study.components
    explained = np.zeros(len(population), dtype=np.bool_)
    while len(found) < policy.most:
        candidates = telling(study, held, policy)
        leading = next((each for each in candidates if _leads(study, each, candidates, held)), None)
        if leading is None:
            break
        elsewhere = study.scoped(leading.scope) & study.told(leading.shared) & ~explained
        if p_value(study.group(leading.shared, held, elsewhere)) <= policy.separate_below:
            found.append(_incident(study, leading, candidates, held, earlier))
        inside = study.mask(leading.shared)
        held, explained = split(held, inside), explained | inside
    return tuple(found)


def _leads(study: Study, found: Found, candidates: list[Found], held: Ints) -> bool:
    """Whether a factor may lead. Of a pair and a half of it, the half does unless the failures tell them apart.

    A make that fails at any age, and most when it is old, is a bad make.
    """
    if len(found.shared) == 1:
        return True
    below = study.policy.separate_below
    among = study.scoped(found.scope) & study.told(found.shared)
    apart = split(held, study.mask(found.shared))
    if any(p_value(study.group((half,), apart, among)) <= below for half in found.shared):
        return False
    halves = [each.shared for each in candidates if set(each.shared) < set(found.shared)]
    return all(p_value(study.group(found.shared, held, among & study.mask(half))) <= below for half in halves)


def _incident(study: Study, leading: Found, candidates: list[Found], held: Ints, earlier: list[Incident]) -> Incident:
    population = study.population
    inside = study.mask(leading.shared)
    components = _components(study, leading, held)
    about = inside & np.isin(population.component, components)
    hit = about & ~np.isnat(population.event_at)
    first = _factor(study, leading, leading, (Stance.LEADING, None, None))
    factors = (first, *_others(study, leading, candidates, held))
    again = next((each for each in earlier if each.leading.shared == leading.shared), None)
    began = again.first_at if again else _onset(study, leading)
    affected = _names(population.host[hit])
    now = about & population.current
    kind = words.kind(leading.shared)
    return Incident(
        incident_id=again.incident_id if again else _id(leading.shared, began),
        kind=kind,
        components=components,
        factors=factors,
        first_at=began,
        last_at=first.last_at,
        hosts_affected=affected,
        parts_at_risk=_names(population.part[hit & ~population.failed]),
        parts_failed=_names(population.part[hit & population.failed]),
        hosts_at_stake=tuple(sorted(set(_names(population.host[now])) - set(affected))),
        parts_at_stake=len(set(population.part[now & ~hit].tolist())),
        sentence=words.sentence(
            kind, replace(first, first_at=began), len(affected), components, study.policy.window_days
        ),
        simulated=population.simulated,
    )


def _others(study: Study, leading: Found, candidates: list[Found], held: Ints) -> list[Factor]:
    """The factors told beside the leading one, what it explains last; a pair that narrows it only if it does not."""
    told: list[tuple[Found, Stood]] = []
    seen = [leading]
    for each in candidates:
        if not _about_the_same(study, each, leading) or any(_twice(study, each, other) for other in seen):
            continue
        stood = _stance(study, each, leading, held)
        if stood[0] is not Stance.EXPLAINED or not set(each.shared) > set(leading.shared):
            told.append((each, stood))
            seen.append(each)
    shown = sorted(told, key=lambda one: one[1][0] is Stance.EXPLAINED)[: SHOWN_FACTORS - 1]
    return [_factor(study, each, leading, stood) for each, stood in shown]


def _about_the_same(study: Study, found: Found, leading: Found) -> bool:
    """Whether a factor is worth telling beside the leading one: another, of much the same affected parts."""
    if found.shared == leading.shared:
        return False
    both = int((study.hit_mask(found.shared) & study.hit_mask(leading.shared)).sum())
    return both >= OVERLAP * min(found.group.hits, leading.group.hits)


def _twice(study: Study, found: Found, other: Found) -> bool:
    """Whether two pairs are the same parts by other names."""
    if len(found.shared) == 1 or len(other.shared) == 1:
        return False
    if not np.array_equal(study.hit_mask(found.shared), study.hit_mask(other.shared)):
        return False
    return bool(np.array_equal(study.mask(found.shared), study.mask(other.shared)))


def _onset(study: Study, leading: Found) -> datetime:
    """The event from which on the factor's parts have exceeded what is expected the most, by deviance."""
    population = study.population
    inside = study.mask(leading.shared) & study.scoped(leading.scope) & study.hit
    moments = np.sort(population.event_at[inside])
    window = np.timedelta64(round(study.policy.window_days * 86_400), "s")
    left = (np.datetime64(population.asof_at.replace(tzinfo=None)) - moments + np.timedelta64(1, "D")) / window
    count, expected = np.arange(len(moments), 0, -1), leading.group.expected * left
    return _moment(moments[int(np.argmax(count * np.log(count / expected) - (count - expected)))])


def _id(shared: Shared, began: datetime) -> str:
    named = "&".join(f"{name}={value}" for name, value in shared)
    return str(uuid5(NAMESPACE, f"{named}|{began.date().isoformat()}"))


def _names(words_: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted({str(each) for each in words_.tolist() if each is not None}))


def _components(study: Study, found: Found, held: Ints) -> tuple[str, ...]:
    """The kinds of parts that the factor hits more often than expected."""
    if found.scope >= 0:
        return (study.kinds[found.scope],)
    told = study.told(found.shared)
    groups = {kind: study.group(found.shared, held, told & study.scoped(n)) for n, kind in enumerate(study.kinds)}
    return tuple(kind for kind, group in groups.items() if group.hits > group.expected)


def _factor(study: Study, found: Found, leading: Found, stood: Stood) -> Factor:
    """A factor with its evidence, as it stands to the leading one."""
    population = study.population
    among = study.scoped(found.scope) & study.told(found.shared)
    inside = study.mask(found.shared) & among
    hit = inside & study.hit
    counts = (
        study.parts(hit),
        study.parts(inside),
        study.parts(among & ~inside & study.hit),
        study.parts(among & ~inside),
    )
    risk, low, high = ratio(found.group)
    stance, p_given, leading_p = stood
    named = words.named(found.shared)
    told = (
        ""
        if p_given is None or leading_p is None
        else words.stance_text(stance, words.named(leading.shared), p_given, leading_p)
    )
    return Factor(
        shared=found.shared,
        named=named,
        stance=stance,
        affected=counts[0],
        parts=counts[1],
        rest_affected=counts[2],
        rest_parts=counts[3],
        expected=found.group.expected,
        relative_risk=risk,
        low=low,
        high=high,
        p_adjusted=found.p_adjusted,
        p_given_leading=p_given,
        leading_p_given=leading_p,
        since=_since(population, found.shared),
        first_at=_moment(population.event_at[hit].min()),
        last_at=_moment(population.event_at[hit].max()),
        sentence=words.evidence(named, counts, words.times(risk, low, high), found.p_adjusted, told),
    )


def _stance(study: Study, found: Found, leading: Found, held: Ints) -> Stood:
    """How another factor stands to the leading one."""
    among = study.scoped(leading.scope) & study.told(found.shared) & study.told(leading.shared)
    given = p_value(study.group(found.shared, split(held, study.mask(leading.shared)), among))
    turned = p_value(study.group(leading.shared, split(held, study.mask(found.shared)), among))
    below = study.policy.separate_below
    if given <= below:
        return Stance.BESIDES, given, turned
    return (Stance.EXPLAINED if turned <= below else Stance.INSEPARABLE), given, turned


def _since(population: Population, shared: Shared) -> datetime | None:
    known = [population.since[pair] for pair in shared if pair in population.since]
    return max(known) if known else None


def _moment(at: np.datetime64) -> datetime:
    moment: datetime = at.astype("datetime64[us]").astype(datetime)
    return moment.replace(tzinfo=UTC)
