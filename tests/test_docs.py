"""What the docs say of the code is so."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tests_that_techniques_names_exist() -> None:
    """Each technique's row names tests that are there; an ellipsis stands for more of the name."""
    page = (ROOT / "docs" / "techniques.md").read_text(encoding="utf-8")
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "decisions").glob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}
    named = re.findall(r"`(test_\w+?)(_?\.\.\.)?`", page)
    assert len(named) > 15
    for name, more in named:
        known = [one for one in defined if one == name or (more and one.startswith(name))]
        assert known, f"docs/techniques.md names {name}{more}, which is no test"
