"""The spec: what ships is valid, and every mistake is named."""

import json
from pathlib import Path

import pytest

from data.errors import SettingsError
from models import spec

SHIPPED = Path(spec.__file__).with_name("disk.toml").read_text(encoding="utf-8")


def _with(tmp_path: Path, old: str, new: str) -> Path:
    assert old in SHIPPED
    path = tmp_path / "disk.toml"
    path.write_text(SHIPPED.replace(old, new), encoding="utf-8")
    return path


def test_the_shipped_disk_spec_is_valid_and_survives_json() -> None:
    """The file beside the module loads, and JSON brings it back equal."""
    disk = spec.load("disk")
    assert disk.horizon_days == (1, 3, 7, 14, 30)
    assert spec.parse(json.loads(json.dumps(spec.as_mapping(disk))), "JSON") == disk


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("negative_share = 0.1", "negative_share = 2", r"negative_share = 2\.0 is out of bounds; .* 0\.0001 to 1"),
        ("rounds = 200", "rounds = -200", "rounds = -.* from 1 to 20000"),
        ("seed = 20140101", "", "key seed is missing"),
        ("seed = 20140101", 'seed = "x"', "seed = 'x' must be a whole number"),
        ("threads = 2", "threads = true", "threads = True must be a whole number"),
        ("seed = 20140101", "seed = 1\nsede = 2", "unknown key sede"),
        ("trees = 100", "trees = 100\nleaves = 2", r"unknown key raw\.leaves"),
        ("least_positives = 10", "least_positives = -1", r"gates\.least_positives = -1"),
        ("[1, 3, 7, 14, 30]", "[1, 30]", r"horizon_days = \[1, 30\] must be \[1, 3, 7, 14, 30\]"),
        ('component = "disk"', 'component = "gpu"', "component is 'gpu', but 'disk'"),
        ("not_before = 2014-01-01", 'not_before = "soon"', "not_before = 'soon' must be a day"),
        ("minimum_lead_days = 0", "minimum_lead_days = 20", "minimum_lead_days = 20.* must be below rank_horizon_days"),
        ("rounds =", "rounds ==", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_bounds(tmp_path: Path, old: str, new: str, said: str) -> None:
    """The message is enough to correct the file."""
    with pytest.raises(SettingsError, match=rf"disk\.toml.*{said}"):
        spec.load("disk", _with(tmp_path, old, new))


def test_not_before_may_be_left_out(tmp_path: Path) -> None:
    """Without it all history counts."""
    assert spec.load("disk", _with(tmp_path, "not_before = 2014-01-01", "")).not_before is None


def test_a_component_without_a_spec_says_so(tmp_path: Path) -> None:
    """The message names the file to write."""
    with pytest.raises(SettingsError, match=r"gpu\.toml does not exist"):
        spec.load("gpu", tmp_path / "gpu.toml")
