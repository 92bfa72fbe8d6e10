"""How a step is called: straight, or by whoever wants to watch, retry and record it."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Call(Protocol):
    """Calls a step with its arguments and gives back its report."""

    def __call__(self, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the step returns."""
        ...


def straight(step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """What the step returns, called with nothing in between."""
    return step(*args, **kwargs)
