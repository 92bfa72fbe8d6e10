"""The whole drive history through the command line, as its user would: ingest, train, evaluate, three nights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.real, pytest.mark.timeout(2400)]

FORESHOCK = Path(sys.executable).with_name("foreshock")
SIX_GIB = 6 * 2**20
"""In KiB, as `ru_maxrss` counts on Linux."""


@pytest.fixture(scope="module")
def history(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with all 38.9 million drive-days, loaded by the command that a user would give."""
    folder = tmp_path_factory.mktemp("history")
    subprocess.run([sys.executable, real / "disk" / "expand.py", folder / "days"], check=True, capture_output=True)
    home = folder / "home"
    loaded, peak_kib = measured(home, "ingest", "backblaze", str(folder / "days"))
    assert (loaded["rows_loaded"], loaded["rows_quarantined"]) == (38_902_546, 0)
    assert peak_kib < SIX_GIB
    return home


def foreshock(home: Path, *arguments: str) -> dict[str, Any]:
    """What the command answered in JSON."""
    return measured(home, *arguments)[0]


def measured(home: Path, *arguments: str) -> tuple[dict[str, Any], int]:
    """What the command answered, and its largest resident size in KiB."""
    environment = {**os.environ, "FORESHOCK_HOME": str(home)}
    command = subprocess.Popen(
        [FORESHOCK, *arguments, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout
    assert command.stderr
    answer = command.stdout.read()
    said = command.stderr.read()
    _, status, usage = os.wait4(command.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said + answer
    command.returncode = 0
    return json.loads(answer), usage.ru_maxrss


def test_the_model_beats_the_rule_on_days_it_has_never_seen(history: Path) -> None:
    """Trained on labels known by November 2015, average precision in early 2016 is at least twice the rule's."""
    trained = foreshock(history, "train", "disk", "--until", "2015-11-30")
    assert trained["champion"] == trained["version"]
    report = foreshock(history, "evaluate", "disk", "--from", "2016-01-01", "--to", "2016-03-01")
    precision = {name: figures["average_precision"] for name, figures in report["models"].items()}
    print(json.dumps(precision))  # noqa: T201 - the figures are the point
    assert precision["champion"]["low"] > 2 * precision["rule"]["high"]
    assert precision["champion"]["value"] > 2 * precision["rule_count"]["value"]


def test_three_nights_over_real_drives(history: Path) -> None:
    """Proposals, orders and outcomes for three days of real failures, simulated VMs; a second run changes nothing."""
    placed = foreshock(history, "simulate", "overlay", "--on", "2015-12-31")
    assert placed["simulated"]
    nights = [foreshock(history, "run", "--on", f"2016-01-0{day}") for day in (1, 2, 3)]
    assert all(sum(night["decide"]["proposals"].values()) for night in nights)
    assert sum(night["dispatch"]["sent"] for night in nights) > 0
    assert sum(sum(night["settle"]["outcomes"].values()) for night in nights) > 0
    again = foreshock(history, "run", "--on", "2016-01-03")
    assert not again["decide"]["recorded"]
    assert again["dispatch"]["sent"] == 0
    assert again["settle"]["outcomes"] == {}
    assert foreshock(history, "ledger", "verify")["verified"]


def test_the_bad_model_of_2014_is_named_unprompted(history: Path) -> None:
    """Shown the drives alone, the incidents of July 2014 begin with ST3000DM001, and its own risk is many times."""
    leading = foreshock(history, "incidents", "--on", "2014-07-31", "--component", "disk")["incidents"][0]["factors"][0]
    assert leading["shared"] == [["model", "ST3000DM001"]]
    assert leading["low"] > 10
