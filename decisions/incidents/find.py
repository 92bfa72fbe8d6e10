"""The search: every factor and pair of factors is tested, the most telling one leads, and is then held fixed.

1. Each value of each attribute, and each pair of values of what is inside a host, is a factor. Parts of each kind are
   strata of their own, so that unlike base rates prove nothing; a kind by itself is looked at too. The p value is the
   smallest of these times their number.
2. Benjamini-Hochberg over all factors, single ones and pairs apart with half the share each.
3. Of what is left the factor with the largest deviance leads. A pair leads only if each half still shows while the
   other is held fixed, and neither shows outside the pair. The others that the same parts have are tested with the
   leading one held fixed, and the other way round.
4. The leading factor becomes a stratum, and the search goes on for causes besides it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import combinations
from typing import Final
from uuid import UUID, uuid5

import numpy as np
from scipy.stats import false_discovery_control

from decisions.incidents import words
from decisions.incidents.population import Flags, Floats, Ints, Population, codes
from decisions.incidents.rates import Group, p_value, ratio
from decisions.incidents.values import Factor, Incident, Shared, Stance
from decisions.sections import Incidents

NAMESPACE: Final = UUID("0f0a4a86-9c0b-5e53-9f0a-3d1f5d6f7b21")
PAIRED: Final = ("hardware_model", "firmware", "kernel", "model", "part_firmware", "batch", "age")
"""Attributes of which two at a time are looked at."""
SHOWN_FACTORS: Final = 6
OVERLAP: Final = 0.5
"""Of the affected parts of the smaller of two factors, those that must have both for one to tell of the other."""
_NOBODY: Final = Group(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 0)
PARTS_PER_AFFECTED: Final = 2
"""A factor that holds fewer parts than this times the fewest affected is not looked at."""


@dataclass(frozen=True)
class _Found:
    """A factor that was tested: in which strata it was most telling, and how."""

    shared: Shared
    scope: int
    """Position among the kinds of parts, or -1: all of them together."""
    group: Group
    p: float
    """The smallest over its scopes, times their number."""
    p_adjusted: float = 1.0


def find(population: Population, policy: Incidents, known: Iterable[Incident] = ()) -> tuple[Incident, ...]:
    """The incidents that the population shows, the most telling first; the same arguments, the same answer.

    Args:
        population: parts, and what they and their hosts were.
        policy: what counts as an incident.
        known: incidents of earlier nights, newest first; one that is found again keeps its id and its beginning.
    """
    study = _Study(population, policy)
    earlier = list(known)
    found: list[Incident] = []
    held = study.components
    while len(found) < policy.most:
        telling = _telling(study, held, policy)
        leading = next((each for each in telling if _leads(study, each, held, policy)), None)
        if leading is None:
            break
        found.append(_incident(study, leading, telling, held, earlier))
        held = _split(held, study.mask(leading.shared))
    return tuple(found)


class _Study:
    """A population with its columns as codes. An event counts once a host and kind of part: one cause can hit many."""

    def __init__(self, population: Population, policy: Incidents) -> None:
        self.population, self.policy = population, policy
        self.components, self.kinds = codes(population.component)
        self.hit = _first_of_each(population)
        self.columns = {name: codes(values) for name, values in population.attributes.items()}

    @cached_property
    def part(self) -> Ints:
        """Each stay's part as a number."""
        words_ = np.char.add(np.char.add(self.population.component.astype(str), "/"), self.population.part.astype(str))
        inverse: Ints = np.unique(words_, return_inverse=True)[1]
        return inverse

    def place(self, pair: tuple[str, str]) -> int:
        """The value's code in its column."""
        return self._places[pair[0]][pair[1]]

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        return {name: {value: n for n, value in enumerate(values)} for name, (_, values) in self.columns.items()}

    def mask(self, shared: Shared) -> Flags:
        """The stays that have all of it."""
        inside = np.ones(len(self.population), dtype=np.bool_)
        for name, value in shared:
            inside &= self.columns[name][0] == self.place((name, value))
        return inside

    def told(self, shared: Shared) -> Flags:
        """The stays of which it is known whether they have it."""
        known = np.ones(len(self.population), dtype=np.bool_)
        for name, _ in shared:
            known &= self.columns[name][0] >= 0
        return known

    def group(self, shared: Shared, strata: Ints, among: Flags) -> Group:
        """The factor against the rest of `among`, within strata."""
        inside, count = self.mask(shared) & among, int(strata.max(initial=0)) + 1
        days, hit = self.population.days, self.hit & among
        return Group(
            events=np.bincount(strata[hit], minlength=count),
            inside=_summed(strata[inside], days[inside], count),
            outside=_summed(strata[among & ~inside], days[among & ~inside], count),
            hits=int((hit & inside).sum()),
        )

    def scoped(self, scope: int) -> Flags:
        """The stays of one kind of part, or of all."""
        return np.ones(len(self.population), dtype=np.bool_) if scope < 0 else self.components == scope


def _summed(cells: Ints, days: Floats, count: int) -> Floats:
    """The days of each cell."""
    return np.bincount(cells, days, minlength=count).astype(np.float64)


def _first_of_each(population: Population) -> Flags:
    """The stays whose event is the first of its host and kind of part."""
    hit = ~np.isnat(population.event_at)
    rows = np.nonzero(hit)[0]
    whose = [
        f"{population.component[row]}/{population.host[row] or population.part[row]}"
        for row in rows[np.argsort(population.event_at[rows], kind="stable")].tolist()
    ]
    first = np.unique(np.array(whose, dtype=object).astype(str), return_index=True)[1]
    counted = np.zeros(len(population), dtype=np.bool_)
    counted[rows[np.argsort(population.event_at[rows], kind="stable")][first]] = True
    return counted


def _split(held: Ints, inside: Flags) -> Ints:
    """Strata in which what is inside stands apart."""
    finer: Ints = np.unique(held * 2 + inside, return_inverse=True)[1]
    return finer


def _telling(study: _Study, held: Ints, policy: Incidents) -> list[_Found]:
    """Factors that chance does not explain, with adjusted p values, the largest deviance first."""
    singles = [(name,) for name in study.columns]
    pairs = list(combinations([name for name in PAIRED if name in study.columns], 2))
    found = [
        each
        for family in (singles, pairs)
        for each in _adjusted(
            [tested for names in family for tested in _tested(study, names, held, policy)],
            policy.false_discovery_share / 2,
        )
    ]
    strong = [each for each in found if (ratio(each.group)[0] or np.inf) >= policy.minimum_relative_risk]
    order = list(words.NAMES)
    return sorted(
        strong, key=lambda each: (-each.group.deviance, len(each.shared), [order.index(n) for n, _ in each.shared])
    )


def _adjusted(tested: list[_Found], share: float) -> list[_Found]:
    """Those of a family that may be named, so that no more than `share` of what is named is chance."""
    if not tested:
        return []
    adjusted = false_discovery_control([each.p for each in tested], method="bh")
    return [replace(each, p_adjusted=float(p)) for each, p in zip(tested, adjusted, strict=True) if p <= share]


def _tested(study: _Study, names: tuple[str, ...], held: Ints, policy: Incidents) -> Iterator[_Found]:
    """Yield every factor of these attributes that is large enough; those with few affected have p = 1."""
    combined, values = _combined(study, names)
    told = combined >= 0
    strata, count = int(held.max(initial=0)) + 1, len(values)
    if count == 0:
        return
    cell = held[told] * count + combined[told]
    size = strata * count
    days = _summed(cell, study.population.days[told], size).reshape(strata, count)
    hits = np.bincount(cell[study.hit[told]], minlength=size).reshape(strata, count)
    parts = np.bincount(combined[told], minlength=count)
    halves = [np.bincount(study.columns[name][0] + 1)[1:] for name in names] if len(names) > 1 else []
    kind_of = np.zeros(strata, dtype=np.int64)
    kind_of[held] = study.components
    by_kind = np.bincount(kind_of, hits.sum(axis=1), minlength=len(study.kinds))
    enough = np.nonzero(by_kind >= policy.minimum_affected)[0].tolist()
    scopes = [-1, *enough] if len(enough) > 1 else [-1]
    for nth in np.nonzero(parts >= PARTS_PER_AFFECTED * policy.minimum_affected)[0].tolist():
        if any(parts[nth] == half[study.place(pair)] for half, pair in zip(halves, values[nth], strict=False)):
            continue  # all that have this half have the other one too: no more than the half by itself
        if hits[:, nth].sum() < policy.minimum_affected:
            yield _Found(values[nth], -1, _NOBODY, 1.0)
            continue
        groups = [_group(days, hits, nth, kind_of, scope) for scope in scopes]
        p, scope, group = min(
            (
                (p_value(group), scope, group)
                for scope, group in zip(scopes, groups, strict=True)
                if group.hits >= policy.minimum_affected
            ),
            key=lambda each: (each[0], -each[2].deviance, each[1]),
        )
        yield _Found(values[nth], scope, group, min(1.0, p * len(scopes)))


def _group(days: Floats, hits: Ints, nth: int, kind_of: Ints, scope: int) -> Group:
    rows = slice(None) if scope < 0 else kind_of == scope
    inside, whole = days[rows, nth], days[rows].sum(axis=1)
    return Group(events=hits[rows].sum(axis=1), inside=inside, outside=whole - inside, hits=int(hits[rows, nth].sum()))


def _combined(study: _Study, names: tuple[str, ...]) -> tuple[Ints, list[Shared]]:
    """One code per stay for the values of the attributes together, and what each code stands for."""
    if len(names) == 1:
        column, values = study.columns[names[0]]
        return column, [((names[0], value),) for value in values]
    (one, ones), (other, others) = study.columns[names[0]], study.columns[names[1]]
    told = (one >= 0) & (other >= 0)
    both = np.where(told, one * len(others) + other, -1)
    kept, inverse = np.unique(both[told], return_inverse=True)
    combined = np.full(len(both), -1, dtype=np.int64)
    combined[told] = inverse
    pairs: list[Shared] = [
        ((names[0], ones[code // len(others)]), (names[1], others[code % len(others)]))
        for code in (int(each) for each in kept)
    ]
    return combined, pairs


def _leads(study: _Study, found: _Found, held: Ints, policy: Incidents) -> bool:
    """Whether a factor may lead. A pair only if it is the pair that matters, and not a half of it.

    Each half must show while the other is held fixed, and neither may still show outside the pair: a make that fails
    at any age, and most when it is old, is a bad make.
    """
    if len(found.shared) == 1:
        return True
    among = study.scoped(found.scope) & study.told(found.shared)
    apart = _split(held, study.mask(found.shared))
    for half in found.shared:
        matters = p_value(study.group(found.shared, held, among & study.mask((half,))))
        outside = p_value(study.group((half,), apart, among))
        if matters > policy.separate_below / 2 or outside <= policy.separate_below:
            return False
    return True


def _incident(study: _Study, leading: _Found, telling: list[_Found], held: Ints, earlier: list[Incident]) -> Incident:
    population = study.population
    inside = study.mask(leading.shared)
    components = _components(study, leading, held)
    about = inside & np.isin(population.component, components)
    hit = about & ~np.isnat(population.event_at)
    first = _factor(study, leading, leading, held)
    others = [each for each in telling if _about_the_same(study, each, leading)]
    factors = (first, *(_factor(study, each, leading, held) for each in others[: SHOWN_FACTORS - 1]))
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


def _about_the_same(study: _Study, found: _Found, leading: _Found) -> bool:
    """Whether a factor is worth telling beside the leading one: another, of much the same affected parts."""
    if set(found.shared) >= set(leading.shared):
        return False
    both = int((study.hit & study.mask(found.shared) & study.mask(leading.shared)).sum())
    return both >= OVERLAP * min(found.group.hits, leading.group.hits)


def _onset(study: _Study, leading: _Found) -> datetime:
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


def _components(study: _Study, found: _Found, held: Ints) -> tuple[str, ...]:
    """The kinds of parts that the factor hits more often than expected."""
    if found.scope >= 0:
        return (study.kinds[found.scope],)
    told = study.told(found.shared)
    groups = {kind: study.group(found.shared, held, told & study.scoped(n)) for n, kind in enumerate(study.kinds)}
    return tuple(kind for kind, group in groups.items() if group.hits > group.expected)


def _factor(study: _Study, found: _Found, leading: _Found, held: Ints) -> Factor:
    """A factor with its evidence, beside the leading one."""
    population = study.population
    among = study.scoped(found.scope) & study.told(found.shared)
    inside = study.mask(found.shared) & among
    hit = inside & study.hit
    counts = (
        len(np.unique(study.part[hit])),
        len(np.unique(study.part[inside])),
        len(np.unique(study.part[among & ~inside & study.hit])),
        len(np.unique(study.part[among & ~inside])),
    )
    risk, low, high = ratio(found.group)
    stance, p_given, leading_p = _stance(study, found, leading, held)
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


def _stance(study: _Study, found: _Found, leading: _Found, held: Ints) -> tuple[Stance, float | None, float | None]:
    """How a factor stands to the leading one, its p with that held fixed, and the other way round."""
    if found is leading:
        return Stance.LEADING, None, None
    among = study.scoped(leading.scope) & study.told(found.shared) & study.told(leading.shared)
    given = p_value(study.group(found.shared, _split(held, study.mask(leading.shared)), among))
    turned = p_value(study.group(leading.shared, _split(held, study.mask(found.shared)), among))
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
