"""What choosing loads: values and functions only."""

import subprocess
import sys


def test_deciding_loads_no_database() -> None:
    """A replay or a page that only decides does not pay for SQLAlchemy, Alembic or pydantic."""
    code = "import sys, decisions.decide; print({'sqlalchemy', 'alembic', 'pydantic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_opening_an_up_to_date_ledger_loads_no_migrations() -> None:
    """Alembic is loaded only when there is something to migrate."""
    code = "import sys, decisions.ledger; print({'alembic', 'pydantic'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
