"""A population as codes: who has what, in which strata, and what is hit."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from decisions.incidents.population import Flags, Floats, Ints, Population, codes
from decisions.incidents.rates import Group
from decisions.incidents.values import Shared
from decisions.sections import Incidents

PARTS_PER_AFFECTED: Final = 2
"""A factor that holds fewer parts than this times the fewest affected is not looked at."""


@dataclass(frozen=True)
class Factors:
    """The values of one attribute, or of two together."""

    codes: Ints
    """Each stay's value, by its place in `values`; -1: not told."""
    values: list[Shared]
    usable: Flags
    """Of the values, those that are looked at."""


class Study:
    """A population with its columns as codes. An event counts once a host and kind of part: one cause can hit many."""

    def __init__(self, population: Population, policy: Incidents) -> None:
        self.population, self.policy = population, policy
        self.components, self.kinds = codes(population.component)
        self.hit = _first_of_each(population)
        self.days = _until_first(population, self.hit)
        self.columns = {name: codes(values) for name, values in population.attributes.items()}
        self._factors: dict[tuple[str, ...], Factors] = {}

    @cached_property
    def order(self) -> Ints:
        """The stays in an order that depends on what they are, and not on how they came."""
        return np.lexsort([codes for codes, _ in self.columns.values()] + [self.days, self.components])

    @cached_property
    def told_of(self) -> Ints:
        """Which attributes are told of each stay: a number with a bit for each."""
        bits = (np.left_shift(codes >= 0, nth) for nth, (codes, _) in enumerate(self.columns.values()))
        return sum(bits, np.zeros(len(self.population), dtype=np.int64))

    def factors(self, names: tuple[str, ...]) -> Factors:
        """The values of these attributes, one or two of them."""
        if names not in self._factors:
            codes, values = self._combined(names)
            sizes = np.bincount(codes[codes >= 0], minlength=len(values))
            usable = sizes >= PARTS_PER_AFFECTED * self.policy.minimum_affected
            if len(names) > 1:  # all that have a half have the other one too: no more than the half by itself
                halves = [np.bincount(self.columns[name][0] + 1)[1:] for name in names]
                whole = [
                    any(n == half[self.place(pair)] for half, pair in zip(halves, value, strict=True))
                    for n, value in zip(sizes.tolist(), values, strict=True)
                ]
                usable &= ~np.array(whole, dtype=np.bool_)
            self._factors[names] = Factors(codes, values, usable)
        return self._factors[names]

    def _combined(self, names: tuple[str, ...]) -> tuple[Ints, list[Shared]]:
        if len(names) == 1:
            column, values = self.columns[names[0]]
            return column, [((names[0], value),) for value in values]
        (one, ones), (other, others) = self.columns[names[0]], self.columns[names[1]]
        told = (one >= 0) & (other >= 0)
        kept, inverse = np.unique(one[told] * len(others) + other[told], return_inverse=True)
        combined = np.full(len(told), -1, dtype=np.int64)
        combined[told] = inverse
        pairs: list[Shared] = [
            ((names[0], ones[code // len(others)]), (names[1], others[code % len(others)])) for code in kept.tolist()
        ]
        return combined, pairs

    def parts(self, among: Flags) -> int:
        """How many parts have a stay among these."""
        seen = np.zeros(len(self.kinds) * self._named[1], dtype=np.bool_)
        seen[self._named[0][among]] = True
        return int(seen.sum())

    @cached_property
    def _named(self) -> tuple[Ints, int]:
        """Each stay's part as a number, and how many there may be of a kind."""
        numbers, names = codes(self.population.part)
        return self.components * len(names) + numbers, len(names)

    def place(self, pair: tuple[str, str]) -> int:
        """The value's code in its column."""
        return self._places[pair[0]][pair[1]]

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        return {name: {value: n for n, value in enumerate(values)} for name, (_, values) in self.columns.items()}

    def mask(self, shared: Shared) -> Flags:
        """The stays that have all of it."""
        return self._having(shared, slice(None))

    def hit_mask(self, shared: Shared) -> Flags:
        """Of the stays that are hit, those that have all of it: far fewer to look at."""
        return self._having(shared, self._hit_rows)

    def _having(self, shared: Shared, rows: Ints | slice) -> Flags:
        """Which of the rows have all of it."""
        inside = np.ones(len(self.days[rows]), dtype=np.bool_)
        for name, value in shared:
            inside &= self.columns[name][0][rows] == self.place((name, value))
        return inside

    @cached_property
    def _hit_rows(self) -> Ints:
        return np.flatnonzero(self.hit)

    def told(self, shared: Shared) -> Flags:
        """The stays of which it is known whether they have it."""
        known = np.ones(len(self.population), dtype=np.bool_)
        for name, _ in shared:
            known &= self.columns[name][0] >= 0
        return known

    def group(self, shared: Shared, strata: Ints, among: Flags) -> Group:
        """The factor against the rest of `among`, within strata."""
        inside, count = self.mask(shared) & among, int(strata.max(initial=0)) + 1
        days, hit = self.days, self.hit & among
        return Group(
            events=np.bincount(strata[hit], minlength=count),
            inside=summed(strata[inside], days[inside], count),
            outside=summed(strata[among & ~inside], days[among & ~inside], count),
            hits=int((hit & inside).sum()),
        )

    def scoped(self, scope: int) -> Flags:
        """The stays of one kind of part, or of all."""
        return np.ones(len(self.population), dtype=np.bool_) if scope < 0 else self.components == scope


def summed(cells: Ints, days: Floats, count: int) -> Floats:
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


def _until_first(population: Population, first: Flags) -> Floats:
    """How long each stay was watched for what counts: not after the first event of its host and kind of part.

    A day of it counts always, because risks are told once a day.
    """
    kinds, _ = codes(population.component)
    whose, names = codes(np.where(population.host == None, population.part, population.host))  # noqa: E711
    cell = kinds * len(names) + whose
    began = np.full(int(cell.max(initial=0)) + 1, np.datetime64("NaT"), dtype="datetime64[us]")
    began[cell[first]] = population.event_at[first]
    since, asof_at = began[cell], np.datetime64(population.asof_at.replace(tzinfo=None))
    until = np.where(population.current, asof_at, population.event_at)
    after = np.nan_to_num((until - since) / np.timedelta64(1, "D"))
    days: Floats = np.maximum(population.days - np.maximum(after, 0.0), np.minimum(population.days, 1.0))
    return days


def split(held: Ints, inside: Flags) -> Ints:
    """Strata in which what is inside stands apart."""
    cells = held * 2 + inside
    finer: Ints = np.cumsum(np.bincount(cells) > 0) - 1
    return finer[cells]
