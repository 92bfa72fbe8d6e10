"""Answers that are kept: worked out once, never older than the question, and no more than there is room for."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event, Thread
from time import monotonic, sleep

from hypothesis import given
from hypothesis import strategies as st

from dashboards.answers import Answers, Known
from dashboards.turns import Together, Turns


def test_of_all_who_ask_at_once_one_works_it_out() -> None:
    """Twenty readers cost one computation."""
    answers, asked = Answers(10), count(1)

    def ask() -> int:
        sleep(0.05)
        return next(asked)

    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda _: answers.current("page", lambda: 1, ask), range(20)))
    assert told == [1] * 20


def test_who_asks_while_somebody_looks_is_not_told_what_was_before() -> None:
    """What changes during a look is in the next answer, which all share who asked meanwhile: two looks for them all."""
    answers, began, go_on, state, looks = Answers(10), Event(), Event(), ["old"], count(1)

    def look() -> tuple[int, str]:
        seen = next(looks), state[0]
        began.set()
        go_on.wait(10)
        return seen

    def ask(_: int) -> tuple[int, str]:
        return answers.current("page", lambda: state[0], look)

    with ThreadPoolExecutor(11) as pool:
        first = pool.submit(ask, 0)
        began.wait(10)
        state[0] = "new"
        later = [pool.submit(ask, n) for n in range(10)]
        sleep(0.05)
        go_on.set()
        assert first.result() == (1, "old")
        assert {each.result() for each in later} == {(2, "new")}


def test_an_error_is_told_and_not_kept() -> None:
    """A look that fails is tried again by whoever asks next."""
    answers, tries = Answers(10), iter([ZeroDivisionError, None])

    def ask() -> str:
        failed = next(tries)
        if failed:
            raise failed
        return "well"

    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(answers.get, "page", ask).exception(), ZeroDivisionError)
    assert answers.get("page", ask) == "well"


def test_an_aged_answer_is_told_while_it_is_worked_out_anew() -> None:
    """Nobody waits for the second answer, and it comes."""
    answers, go_on = Answers(10), Event()

    def renew() -> int:
        go_on.wait(10)
        return 2

    assert [answers.aged("weeks", lambda: 1, renew, 0.0) for _ in range(3)] == [1, 1, 1]
    go_on.set()
    ended = monotonic() + 10
    while answers.aged("weeks", lambda: 1, renew, 60.0) != 2:
        assert monotonic() < ended
        sleep(0.01)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=40))
def test_there_is_never_more_kept_than_there_is_room_for(asked: list[tuple[int, int]]) -> None:
    """Whatever is asked in whatever order, every answer is right, and the sizes of what is kept stay within bounds."""
    answers = Answers(100, len)
    for question, size in asked:
        assert answers.get((question, size), lambda size=size: "x" * size) == "x" * size  # type: ignore[misc]
        kept = [len(value) for each in answers._answers.values() for value in each.values]
        assert sum(kept) == answers._held <= 100


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=12), st.integers(1, 12))
def test_only_the_unknown_is_asked_about(asked: list[list[int]], most: int) -> None:
    """Names get the right answers, those without one are left out, and a name is asked about again only for room."""
    known, told = Known(most), list[int]()

    def ask(names: Sequence[int]) -> Mapping[int, str]:
        told.extend(names)
        return {name: str(name) for name in names if name % 3}

    for names in asked:
        assert known.of(names, ask) == {name: str(name) for name in names if name % 3}
    if most >= 10:
        assert len(told) == len(set(told))


def test_whoever_came_first_goes_first() -> None:
    """While the places are taken all wait, and they are let in in the order in which they came."""
    turns, let_in, waiting = Turns(1), list[int](), list[Thread]()

    def come(number: int) -> None:
        with turns:
            let_in.append(number)

    with turns:
        for number in range(8):
            waiting.append(Thread(target=come, args=(number,)))
            waiting[-1].start()
            while len(turns._waiting) <= number:
                sleep(0.001)
        assert let_in == []
    for one in waiting:
        one.join()
    assert let_in == list(range(8))
    with turns:
        assert turns._free == 0


def test_one_goes_for_all_who_come_meanwhile() -> None:
    """While somebody is on an errand the others wait, and one of them goes for all; nobody goes in vain."""
    errands, together, gone, go_on = list[list[int]](), Together[int](), Event(), Event()

    def errand(numbers: Sequence[int]) -> None:
        errands.append(sorted(numbers))
        gone.set()
        go_on.wait(20)

    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(together.run, 0, errand)
        gone.wait(20)
        others = [pool.submit(together.run, number, errand) for number in (3, 1, 2, 3)]
        while len(together._next.names) < len(others):
            sleep(0.001)
        go_on.set()
        for one in (first, *others):
            one.result(20)
    assert errands == [[0], [1, 2, 3]]


def test_who_waits_for_an_errand_that_fails_goes_again() -> None:
    """Only whoever went is told of the error."""
    together, times = Together[int](), count(1)

    def errand(_numbers: Sequence[int]) -> None:
        gone.set()
        go_on.wait(20)
        if next(times) == 1:
            raise OSError

    gone, go_on = Event(), Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(together.run, 0, errand)
        gone.wait(20)
        second = pool.submit(together.run, 1, errand)
        go_on.set()
        assert isinstance(first.exception(20), OSError)
        assert second.exception(20) is None
