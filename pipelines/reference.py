"""The command reference, made from the commands themselves: `python -m pipelines.reference > docs/cli.md`."""

import sys
from typing import Final

_HEAD: Final = "<!-- Made by `python -m pipelines.reference > docs/cli.md`: change the commands, not this page. -->\n\n"


def page() -> str:
    """The whole of `docs/cli.md`."""
    from pipelines.cli import app

    body = app.generate_docs(output_format="markdown", usage_name="foreshock")
    lines = (line.rstrip() for line in body.splitlines())
    return _HEAD + "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
