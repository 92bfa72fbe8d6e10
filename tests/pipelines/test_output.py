"""What a person reads on a terminal: text as it is, ids whole."""

import json
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.output import Output, print_text

ODD = "see [/var/log/x] [red]x [/] y :fire: [[notify]]"
ID = "222cc55b-f8d1-535e-9ffa-fc9ceecf5117"
ROWS = [{"proposal_id": ID, "order_id": ID[::-1], "why": "the drive is on its way " * 9, "ended": None}]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is not there yet, by the wall's clock, in which nobody talks by an API."""
    (tmp_path / "foreshock.toml").write_text('[clock]\nsource = "wall"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "home"


@pytest.mark.parametrize("data", [{"reason": ODD}, {"rows": [{ODD: ODD}]}, {ODD: {}}, {ODD: [{"a": "1 " * 60}]}])
def test_text_is_no_markup(
    data: dict[str, object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells, heads and titles show square brackets and colons as they were written."""
    monkeypatch.setenv("COLUMNS", "120")
    print_text(Output(data))
    assert ODD in capsys.readouterr().out


@pytest.mark.parametrize("output", [Output({"a": "x\x1b[2J\x9by\r\x00"}), Output({}, "x\x1b[2J\x9by\r\x00")])
def test_a_terminal_is_told_nothing(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are spelled out, whether in a table or in running text."""
    print_text(output)
    out = capsys.readouterr().out
    assert r"x\x1b[2J\x9by\r\x00" in out
    assert all(letter == "\n" or letter.isprintable() for letter in out)


def test_a_reason_in_brackets_breaks_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kill switch thrown with such a reason is said by `stop` and by the doctor."""
    assert main(["stop", "--reason", ODD, "--by", "ann"]) == 0
    assert ODD in capsys.readouterr().out
    main(["doctor"])
    assert "[[notify]]" in capsys.readouterr().out
    assert home.exists()


@pytest.mark.parametrize("columns", [20, 80, 120, 200, 300])
def test_ids_are_whole(columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However wide the terminal is, an id can be copied from one line, and other text folds."""
    monkeypatch.setenv("COLUMNS", str(columns))
    print_text(Output({"proposals": ROWS}))
    out = capsys.readouterr().out
    assert ID in out
    assert ID[::-1] in out
    assert max(map(len, out.splitlines())) <= max(columns, 60)


def test_what_is_too_narrow_for_a_table_is_blocks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns rows with two ids are lines of name and value, those without a value left out."""
    monkeypatch.setenv("COLUMNS", "80")
    print_text(Output({"proposals": ROWS * 2}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["proposals", "", f"proposal_id: {ID}", f"order_id:    {ID[::-1]}"]
    assert lines[5].startswith("             ")
    assert not any("ended" in line for line in lines)


@pytest.mark.parametrize(
    "argv",
    [
        *(["decide", "--dry-run", "--on", day] for day in ("9999-12-31", "0001-01-01")),
        ["settle", "--on", "0001-01-01"],
        ["train", "disk", "--until", "9999-12-31"],
        *(["decisions", "veto", ID, "--reason", "x", "--hours", hours] for hours in ("nan", "inf", "1e9", "0")),
        *(["tokens", "create", "a", "--role", "viewer", "--days", days] for days in ("nan", "1e300", "1e7", "0")),
        *(["orders", "list", "--limit", limit] for limit in ("9" * 23, "-1")),
        *([group, *name, "--limit", "-1"] for group, *name in (("decisions", "list"), ("vms",))),
    ],
)
def test_odd_numbers_are_wrong_usage(argv: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A day, a time or a number of rows that makes no sense is refused in a sentence, before anything is made."""
    assert main([*argv, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert not home.exists()


@pytest.mark.parametrize("reason", ["", "  "])
@pytest.mark.parametrize(
    "argv", [["stop"], ["opt-out", "remove", ID], ["tokens", "revoke", ID], ["notifications", "ack", "breaker"]]
)
def test_a_reason_says_something(argv: list[str], reason: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason that is needed is not blank, and without one nothing is done."""
    assert main([*argv, "--reason", reason, "--json"]) == 2
    assert "needs a reason" in json.loads(capsys.readouterr().out)["error"]
    assert main(["doctor", "--json"]) == 0
    assert "thrown" not in capsys.readouterr().out
    assert home
