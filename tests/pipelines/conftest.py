"""Small fleets that tests of whole nights copy, and never write in."""

import shutil
from pathlib import Path

import pytest

from tests.once import once
from tests.pipelines.nights import TRAIN, build, command


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with ninety days of telemetry."""
    return once(tmp_path_factory, "untrained", build)


@pytest.fixture(scope="session")
def champion(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a champion."""

    def make(home: Path) -> None:
        shutil.copytree(untrained, home)
        command(home, TRAIN)

    return once(tmp_path_factory, "champion", make)
