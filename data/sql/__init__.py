"""SQL of the facts: one file per statement, loops over the catalog's columns, values always bound."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data.catalog import catalog

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 - renders SQL from the project's own files, never from input
)


@cache
def statement(name: str, component: str = "disk", filled: tuple[str, ...] = ()) -> str:
    """The statement in `<name>.sql`, with its loops over the component's columns, or those `filled`, written out."""
    columns = catalog(component)
    return _templates.get_template(f"{name}.sql").render(
        component=component,
        counters=columns.counters,
        gauges=columns.gauges,
        columns=columns.columns,
        filled=filled,
    )
