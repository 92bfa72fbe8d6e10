"""A progress line on standard error for people who watch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.output import inert


@contextmanager
def bar(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A function to tell what is being worked on; it shows that, how many came before and the time taken."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as p:
        task = p.add_task("", total=None)
        yield lambda name: p.update(task, description=inert(name), advance=1)
