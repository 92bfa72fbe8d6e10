"""What the docs say of the code is so."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from data.warehouse import Warehouse

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


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync here: apt-get install rsync")
def test_the_command_that_copies_a_snapshot_copies_it(tmp_path: Path) -> None:
    """As written, but for the places: rsync leaves a link out, and ends well."""
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (options,) = re.findall(r"^\$ rsync (.*) /srv/foreshock/published.duckdb \S+$", page, re.MULTILINE)
    with Warehouse.open(tmp_path / "home") as warehouse:
        published = warehouse.publish()
    copy = tmp_path / "review" / published.name
    copy.parent.mkdir()
    subprocess.run(["rsync", *shlex.split(options), str(published), str(copy.parent)], check=True)
    assert copy.read_bytes() == published.read_bytes()
