"""Write the JSON Schemas that ship: `python -m pipelines.contract`."""

from pathlib import Path

from pipelines.contract import messages

for name in messages.SCHEMAS:
    Path(__file__).with_name("schemas").joinpath(f"{name}.json").write_text(messages.schema(name), encoding="utf-8")
