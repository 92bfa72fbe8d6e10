"""Single steps: through Prefect where a server is named, else straight."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pipelines.ephemeral import has_server

P = ParamSpec("P")
R = TypeVar("R")


def call(step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """What the step returns; a named Prefect server sees it as a flow run called like the step."""
    return run(step.__name__, step, *args, **kwargs)


def run(name: str, step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """What the step returns; a named Prefect server sees it as a flow run called `name`."""
    if not has_server():
        return step(*args, **kwargs)
    from pipelines.flows import single

    result: Any = single(name, step)(*args, **kwargs)
    return result  # type: ignore[no-any-return]
