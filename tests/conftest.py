"""What every test may use: a home of its own, and the real telemetry where it is present."""

import atexit
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # how long one example takes says how busy the machine is
settings.load_profile("no deadline")

# DuckDB's binding ends a process with pages about its own reference counts, after the runner's closing line.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line has it: spinning threads starve each other

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty state folder."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real telemetry; skips the test, saying so, where it is absent."""
    if not REAL.is_dir():
        pytest.skip(f"no real telemetry at {REAL}")
    return REAL
