"""The command line: one JSON object, exit codes, errors that a person can act on, and nothing loaded in vain."""

import errno
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from drives import START, Reading, put
from facts import events
from sqlalchemy.exc import SQLAlchemyError

from data.errors import HomeError, Refused
from data.warehouse import Warehouse
from models import registry
from pipelines import ephemeral
from pipelines.cli import app, main
from pipelines.output import Output, plain
from pipelines.reference import page
from pipelines.steps import promote

HEAVY = ("duckdb", "lightgbm", "mlflow", "numpy", "pandas", "prefect", "pyarrow", "pydantic", "sqlalchemy")
COMMANDS = (
    *(
        "demo",
        "run",
        "incidents",
        "decide",
        "dispatch",
        "settle",
        "ingest",
        "sql",
        "doctor",
        "train",
        "score",
        "evaluate",
    ),
    *("compare", "drift", "watch", "promote", "rollback", "review", "stop", "start"),
)
GROUPS = {
    "simulate": ["fleet", "overlay"],
    "decisions": ["list", "show", "approve", "veto", "snooze", "hand-over"],
    "tokens": ["create", "list", "revoke"],
    "orders": ["list", "show", "retry", "cancel"],
    "opt-out": ["add", "list", "remove"],
    "ledger": ["verify"],
}


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a home that is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path / "home"))
    return tmp_path


def answer(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, object], str]:
    """Exit code, the one JSON object on standard output, and standard error."""
    code = main([*argv, "--json"])
    out, err = capfd.readouterr()
    data = json.loads(out)
    assert isinstance(data, dict)
    return code, data, err


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["decisions", "--help"]])
def test_help_and_version_load_nothing_heavy(argv: list[str]) -> None:
    """What answers at once must not import what takes seconds."""
    program = (
        "import sys; from pipelines.cli import main; main(sys.argv[1:]); "
        f"print('loaded:', *[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
    assert "loaded:\n" in done.stderr
    assert done.stdout


def test_every_command_of_the_design_is_there() -> None:
    """The names that other people's scripts call."""
    assert [name for name in COMMANDS if name not in app] == []
    assert [(group, name) for group, names in GROUPS.items() for name in names if name not in app[group]] == []


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_every_command_has_help_and_json(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Each command explains itself, and each takes `--json` and `--config`."""
    argv = [name, GROUPS[name][0]] if name in GROUPS else [name]
    assert main([*argv, "--help"]) == 0
    out = capfd.readouterr().out
    assert "--json" in out
    assert "--config" in out


def test_the_reference_is_current() -> None:
    """docs/cli.md is what the commands say of themselves."""
    kept = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    assert kept.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("argv", [["nope"], ["sql"], ["ingest"], ["decide", "--on", "yesterday"], ["orders", "lits"]])
def test_wrong_usage_is_exit_code_2(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """A name that is not there, a value that is missing or makes no sense: one paragraph and the same in JSON."""
    code, data, err = answer(capfd, *argv)
    assert (code, data["exit_code"]) == (2, 2)
    assert err.startswith("foreshock: ")
    assert err.strip() == f"foreshock: {data['error']}"


def test_bad_settings_are_exit_code_2(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A key that is not known stops the command before it does anything."""
    (bare / "foreshock.toml").write_text("[review]\nprot = 1\n", encoding="utf-8")
    code, data, _ = answer(capfd, "doctor")
    assert code == 2
    assert "review.prot" in str(data["error"])


def test_a_failure_is_exit_code_1(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is published yet: said in one sentence with what to do next."""
    code, data, _ = answer(capfd, "evaluate", "disk", "--from", "2026-01-01", "--to", "2026-02-01")
    assert code == 1
    assert "ingest" in str(data["error"])


@pytest.mark.parametrize("argv", [["decide", "--dry-run", "--on", "2026-01-01"], ["score", "disk"]])
def test_asking_for_a_model_makes_nothing(bare: Path, argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """In an empty home there is no model, and nothing is written to say so."""
    code, data, _ = answer(capfd, *argv)
    assert code == 1, data
    assert list(bare.iterdir()) == []


@pytest.mark.parametrize("argv", [["orders", "list"], ["stop", "--reason", "storm"]])
def test_a_damaged_ledger_is_said(bare: Path, argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """A file that is no database: one sentence and the same in JSON, and the doctor finds it."""
    (bare / "home").mkdir()
    (bare / "home" / "ledger.db").write_bytes(b"damaged " * 1_000)
    code, data, err = answer(capfd, *argv)
    assert (code, data["exit_code"]) == (1, 1)
    assert err.strip() == f"foreshock: {data['error']}"
    assert answer(capfd, "doctor")[1]["ok"] is False


@pytest.mark.parametrize("error", [sqlite3.DatabaseError("torn page"), SQLAlchemyError("torn page")])
def test_a_databases_own_error_is_said(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a database raises in the middle of a command is no traceback."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("models.registry.rollback", fail)
    code, data, _ = answer(capfd, "rollback", "disk")
    assert code == 1
    assert "torn page" in str(data["error"])


@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_home_that_cannot_be_written_is_said_at_once(
    command: str, bare: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything starts: which folder it is, and why, as the system says it."""
    (bare / "file").touch()
    monkeypatch.setenv("FORESHOCK_HOME", str(bare / "file" / "home"))
    code, data, _ = answer(capfd, command)
    assert code == 1
    assert str(bare / "file" / "home") in str(data["error"])
    assert "cannot be written: Not a directory" in str(data["error"])


def test_a_full_disk_is_said_before_a_server_starts(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that takes no file is no home to run in, and one that does is left as it was."""
    ephemeral._try(bare / "home")
    assert list((bare / "home").iterdir()) == []

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ephemeral, "TemporaryFile", full)
    with pytest.raises(HomeError, match="No space left on device"):
        ephemeral._try(bare / "home")


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [
        ("Timed out while attempting to connect to ephemeral Prefect API server.", HomeError, "did not start"),
        ("another", RuntimeError, "another"),
    ],
)
def test_a_temporary_server_that_does_not_start_is_said(error: str, told: type[Exception], words: str) -> None:
    """Prefect's own error becomes a sentence; any other goes on as it is."""
    with pytest.raises(told, match=words), ephemeral.started():
        raise RuntimeError(error)


def test_review_says_its_address_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The one JSON line comes when the pages are served, where a script reads it."""

    def serve(*_: object, announce: Callable[[str], None], **__: object) -> None:
        announce("http://here")

    monkeypatch.setattr("dashboards.serve.serve", serve)
    assert main(["review", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["url"] == "http://here"


@pytest.mark.parametrize("command", ["sql", "score"])
def test_an_unknown_component_is_wrong_usage(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The known components are listed."""
    code, data, _ = answer(capfd, command, "toaster")
    assert code == 2
    assert "disk" in str(data["error"])


def test_a_refused_promotion_names_the_champion_that_stays(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A script learns which version goes on being believed."""

    def refuse(*_: object) -> None:
        msg = "no"
        raise Refused(msg)

    held = (registry.Entry("2", "b", ("challenger",), "", 0, ""), registry.Entry("1", "a", ("champion",), "", 0, ""))
    monkeypatch.setattr(promote, "promote", refuse)
    monkeypatch.setattr(promote, "gates", lambda *_: ())
    monkeypatch.setattr(registry, "versions", lambda *_: held)
    code, data, _ = answer(capfd, "promote", "disk", "2")
    assert (code, data["champion"]) == (3, "1")


def test_an_unknown_source_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    """The known sources are listed."""
    code, data, _ = answer(capfd, "ingest", "punchcards", "x.csv")
    assert code == 2
    assert "backblaze" in str(data["error"])


def test_a_refusal_is_exit_code_3(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A gate that says no is neither success nor failure."""

    def refuse(*_: object) -> None:
        msg = "no"
        raise Refused(msg)

    monkeypatch.setattr("models.registry.rollback", refuse)
    code, data, _ = answer(capfd, "rollback", "disk")
    assert (code, data) == (3, {"error": "no", "exit_code": 3})


def test_libraries_cannot_spoil_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What Python code and child processes print goes to standard error while a JSON answer is made."""

    def noisy(component: str) -> str:
        print("from Python")  # noqa: T201
        subprocess.run(["echo", "from a child"], check=True)
        return component

    monkeypatch.setattr("features.build.statements", noisy)
    code, data, err = answer(capfd, "sql", "disk")
    assert (code, data["sql"]) == (0, "disk")
    assert "from Python" in err
    assert "from a child" in err


def test_people_get_tables(capfd: pytest.CaptureFixture[str]) -> None:
    """Without `--json` the same answer is laid out to be read."""
    assert main(["doctor"]) == 0
    out = capfd.readouterr().out
    assert "snapshot" in out
    assert not out.startswith("{")


def test_the_doctor_writes_nothing(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """On an empty folder the doctor says what is missing and makes no home."""
    code, data, _ = answer(capfd, "doctor")
    assert (code, data["ok"]) == (0, True)
    assert list(bare.iterdir()) == []


def test_the_doctor_says_which_facts_contradict_each_other(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Facts that cannot all be true are wrong, with an example; what is only unlikely is told and passes."""
    told = [Reading("A", START + timedelta(days=n), value, 0) for n, value in enumerate((5, 5, 2))]
    with Warehouse.open(bare / "home") as warehouse:
        put(warehouse.con, told)
        warehouse.publish()
    facts = [one for one in answer(capfd, "doctor")[1]["findings"] if one["what"] == "facts"]
    assert [one["state"] for one in facts] == ["ok", "ok"]
    assert "sectors shrank" in facts[0]["says"]
    with Warehouse.open(bare / "home") as warehouse:
        warehouse.con.execute("update disk_superseded set until_day = until_day + 1")
        warehouse.publish()
    code, data, _ = answer(capfd, "doctor")
    assert (code, data["ok"]) == (1, False)
    (wrong,) = [one for one in data["findings"] if one["state"] == "wrong"]
    assert "does not end where the next one of its drive begins (superseded_until: 1), such as" in wrong["says"]


def test_the_doctor_says_what_to_do_about_facts_of_an_earlier_shape(
    bare: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """After an upgrade the snapshot is wrong until the next ingest, and the rest is looked at all the same."""
    with Warehouse.open(bare / "home") as warehouse:
        warehouse.con.execute("drop view disk_change; drop table disk_current; drop table disk_superseded")
        warehouse.publish()
    code, data, _ = answer(capfd, "doctor")
    assert code == 1
    says = {one["what"]: one["says"] for one in data["findings"]}
    assert "another version of Foreshock" in says["snapshot"]
    assert "foreshock ingest" in says["snapshot"]
    assert "ledger" in says


@pytest.mark.slow
def test_a_night_that_fails_says_so_in_sentences(bare: Path) -> None:
    """What went wrong is one sentence, not pages of where in the libraries it was noticed."""
    env = {**os.environ, "FORESHOCK_HOME": str(bare / "home")}
    command = [str(Path(sys.executable).with_name("foreshock")), "run"]
    done = subprocess.run(command, env=env, cwd=bare, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("foreshock: Nothing is published in ")
    assert "Traceback" not in done.stderr


def test_the_doctor_says_that_no_drive_has_been_read(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A home that holds other facts has no last day of readings, and says how far the others go."""
    with Warehouse.open(bare / "home") as warehouse:
        warehouse.publish()
    says = {one["what"]: one["says"] for one in answer(capfd, "doctor")[1]["findings"]}
    assert says["snapshot"].startswith("no readings of drives, 0 hosts")
    with Warehouse.open(bare / "home") as warehouse:
        warehouse.put_events(events(1.0))
        warehouse.publish()
    says = {one["what"]: one["says"] for one in answer(capfd, "doctor")[1]["findings"]}
    assert says["snapshot"].startswith("no readings of drives, events until 2026-01-01 00:00 UTC, 0 hosts")


def test_the_doctor_says_whether_the_executor_accepts_connections(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An executor that listens is sent nothing and is ok; one that refuses is wrong, with its address and a way out."""
    monkeypatch.setenv("FORESHOCK_EXECUTOR_SECRET", "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    def found() -> dict[str, str]:
        (one,) = [one for one in answer(capfd, "doctor")[1]["findings"] if one["what"] == "executor"]
        return one

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        (bare / "foreshock.toml").write_text(f'[executor]\nkind = "webhook"\nurl = "{url}"\n', encoding="utf-8")
        assert found()["state"] == "ok"
        with server.accept()[0] as heard:
            assert heard.recv(1) == b""
    refused = found()
    assert refused["state"] == "wrong"
    assert f"orders go to {url}, which accepts no connection" in refused["says"]
    assert "start the executor" in refused["says"]
    monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url.replace("://", "://foreshock:hunter2@"))
    assert "hunter2" not in found()["says"]


def test_plain_values_are_json() -> None:
    """Not-a-number becomes null, since JSON has none, and nested reports become objects."""
    made = plain({"a": float("nan"), "b": Output({"c": (1, 2)}), "d": {3}})
    assert made == {"a": None, "b": {"data": {"c": [1, 2]}, "text": "", "exit_code": 0}, "d": [3]}


def test_a_fleet_is_simulated_once(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`simulate fleet` fills a home; a second one is refused and leaves the first alone."""
    argv = ["simulate", "fleet", "--hosts", "4", "--vms", "12", "--days", "3"]
    code, data, _ = answer(capfd, *argv)
    assert code == 0
    assert {"hosts", "vms", "entities", "days", "simulated"} <= data.keys()
    assert (data["hosts"], data["days"], data["simulated"]) == (4, 3, True)
    before = (bare / "home" / "world.db").stat().st_mtime_ns
    assert answer(capfd, *argv)[0] == 2
    assert (bare / "home" / "world.db").stat().st_mtime_ns == before


def test_files_are_ingested_and_counted(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The written telemetry goes in through the ordinary sources; a second time all of it is duplicate."""
    answer(capfd, "simulate", "fleet", "--hosts", "4", "--vms", "12", "--days", "2")
    disk = str(bare / "home" / "simulated" / "telemetry" / "disk")
    code, first, _ = answer(capfd, "ingest", "backblaze", disk)
    assert {"files", "rows_read", "rows_loaded", "rows_duplicate", "rows_quarantined", "seconds"} <= first.keys()
    _, second, _ = answer(capfd, "ingest", "backblaze", disk)
    assert (code, first["files"], first["rows_duplicate"]) == (0, 2, 0)
    assert (second["rows_loaded"], second["rows_duplicate"]) == (0, first["rows_loaded"])


def test_what_is_set_aside_is_reported_by_reason(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`ingest` says how many entries are new in quarantine for each reason, and that a repeat adds none."""
    header = "date,serial_number,model,capacity_bytes,failure,smart_5_raw,smart_9_raw,smart_194_raw,smart_197_raw"
    rows = ["2013-04-10,A,M,1000,0,0,10,25,0", "2013-04-10,B,M,1000,0,oops,10,25,0", "2099-04-10,C,M,1000,0,0,10,25,0"]
    (bare / "2013-04-10.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    _, first, _ = answer(capfd, "ingest", "backblaze", str(bare / "2013-04-10.csv"))
    assert (first["rows_loaded"], first["rows_quarantined"]) == (1, 2)
    assert {"bad_value": 1, "future_date": 1}.items() <= first["quarantine"].items()
    _, second, _ = answer(capfd, "ingest", "backblaze", str(bare / "2013-04-10.csv"))
    assert (second["rows_duplicate"], second["rows_quarantined"], second["quarantine"]) == (1, 2, {})


def test_the_kill_switch_is_thrown_and_released(capfd: pytest.CaptureFixture[str], bare: Path) -> None:
    """`stop` needs a reason, says who did it, and `start` takes it back."""
    (bare / "foreshock.toml").write_text('[clock]\nsource = "wall"\n', encoding="utf-8")
    assert answer(capfd, "stop")[0] == 2
    code, data, _ = answer(capfd, "stop", "--reason", "storm", "--by", "ann")
    assert (code, data) == (0, {"stopped": True, "by": "ann", "reason": "storm"})
    _, doctor, _ = answer(capfd, "doctor")
    assert "thrown by ann" in json.dumps(doctor)
    assert answer(capfd, "start", "--by", "ann")[1]["stopped"] is False
    assert answer(capfd, "ledger", "verify")[1]["verified"] is True
