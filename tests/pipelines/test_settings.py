"""What Foreshock makes of its settings file and environment."""

from pathlib import Path

import pytest

from data.errors import SettingsError
from pipelines.settings import ExecutorSettings, Settings, load


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and no Foreshock variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORESHOCK_HOME", raising=False)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "foreshock.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_hold() -> None:
    """No file and no variable: the home is `.foreshock` here, and the review pages stay on loopback."""
    settings = load()
    assert settings.home == Path(".foreshock")
    assert settings.review.host == "127.0.0.1"
    assert settings.ledger_url == f"sqlite:///{Path('.foreshock/ledger.db').absolute()}"


def test_the_file_here_is_read(bare: Path) -> None:
    """`foreshock.toml` in the current folder sets what it names and leaves the rest alone."""
    write(bare, '[warehouse]\nmemory_limit = "2GB"\n')
    assert load().warehouse.memory_limit == "2GB"
    assert load().warehouse.lock_wait_seconds == Settings().warehouse.lock_wait_seconds


def test_the_file_in_the_home_is_read_when_none_is_here(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`FORESHOCK_HOME` is both the home and the second place where the file is looked for."""
    write(bare / "elsewhere", "[review]\nport = 9000\n")
    monkeypatch.setenv("FORESHOCK_HOME", str(bare / "elsewhere"))
    assert load().review.port == 9000
    assert load().home == bare / "elsewhere"


def test_the_named_file_wins(bare: Path) -> None:
    """`--config` beats the file in the current folder."""
    write(bare, "[review]\nport = 9000\n")
    assert load(write(bare / "other", "[review]\nport = 9001\n")).review.port == 9001


def test_the_environment_wins_over_the_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`FORESHOCK__SECTION__KEY` replaces that key and leaves its neighbours as the file has them."""
    write(bare, '[warehouse]\nmemory_limit = "2GB"\nlock_wait_seconds = 5\n')
    monkeypatch.setenv("FORESHOCK__WAREHOUSE__MEMORY_LIMIT", "3GB")
    assert load().warehouse.memory_limit == "3GB"
    assert load().warehouse.lock_wait_seconds == 5


def test_paths_in_the_file_are_relative_to_it(bare: Path) -> None:
    """A file elsewhere names its home, policy and sources from where it stands."""
    text = 'home = "state"\n[policy]\npath = "p.toml"\n[[sources]]\nkind = "backblaze"\npaths = ["in/*.zip"]\n'
    settings = load(write(bare / "etc", text))
    assert settings.home == bare / "etc" / "state"
    assert settings.policy.path == bare / "etc" / "p.toml"
    assert settings.sources[0].paths == (str(bare / "etc" / "in" / "*.zip"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[review]\nport = 70000\n", ["foreshock.toml", "review.port", "70000", "1 to 65535"]),
        ("[warehouse]\nmemory = 1\n", ["foreshock.toml", "warehouse.memory", "no setting"]),
        ("[wharehouse]\nmemory_limit = '1GB'\n", ["foreshock.toml", "wharehouse", "no setting"]),
        ("[warehouse]\nmemory_limit = 'lots'\n", ["warehouse.memory_limit", "lots"]),
        ("[clock]\nsource = 'sundial'\n", ["clock.source", "sundial", "'auto', 'wall' or 'data'"]),
        ("[[sources]]\nkind = 'backblaze'\npaths = []\n", ["sources.0.paths"]),
        ("sources = 3\n", ["sources", "3"]),
        ("[[sources]]\nkind = 'prometheus'\npaths = ['x']\n", ["sources.0", "'prometheus' needs urls"]),
        ("[[sources]]\nkind = 'smartctl'\nurls = ['http://x']\n", ["sources.0", "'smartctl' needs paths"]),
        ("[[sources]]\nkind = 'prometheus'\nurls = ['ftp://x']\n", ["sources.0.urls.0", "ftp://x"]),
        ("[review\n", ["foreshock.toml", "not valid TOML"]),
        ("[ledger]\nurl = 'postgresql://me:hush@db/x'\n", ["ledger.url", "FORESHOCK__LEDGER__URL"]),
        ("[ledger]\nurl = 'postgresql://me@/x?password=hush'\n", ["ledger.url", "PGPASSWORD"]),
        ("[mlflow]\ntracking_uri = 'https://me:hush@x'\n", ["mlflow.tracking_uri", "MLFLOW_TRACKING_PASSWORD"]),
        ("[mlflow]\ntracking_uri = 'postgresql://x'\n", ["mlflow.tracking_uri", "postgresql://x"]),
    ],
)
def test_a_bad_file_is_refused_by_name_key_and_bounds(bare: Path, text: str, words: list[str]) -> None:
    """What is wrong, where it stands and what is allowed are all in the one sentence."""
    write(bare, text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "text",
    [
        "[ledger]\nurl = 'postgresql://me:hush@db/x'\n",
        "[ledger]\nurl = 'postgresql://me@/x?password=hush'\n",
        "[mlflow]\ntracking_uri = 'https://me:hush@x'\n",
        "[[sources]]\nkind = 'redfish'\nurls = ['https://bmc', 'https://me:hush@bmc']\n",
        "[executor]\nurl = 'https://me:no#hush@host'\n",
        "[executor]\nurl = 'https://me:no@hush@host'\n",
    ],
)
def test_a_password_in_a_refused_file_is_not_repeated(bare: Path, text: str) -> None:
    """The sentence about a secret does not hold the secret."""
    write(bare, text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert "hush" not in str(caught.value)


def test_what_we_refuse_ourselves_is_said_in_our_words(bare: Path) -> None:
    """The sentence says what to write, letter by letter."""
    write(bare, "[executor]\nurl = 'host:8585'\n")
    with pytest.raises(
        SettingsError, match=r"is refused: an address is http\(s\)://HOST:PORT/PATH; in a password write"
    ):
        load()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8585", "http://[::1]:8585/x", "https://me:p%40w@host.example:8443/api"]
)
def test_an_executors_address_is_a_usual_one(url: str) -> None:
    """A port, a path, IPv6 and a name with a password are let through."""
    assert ExecutorSettings(kind="webhook", url=url).url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FORESHOCK__REVIEW__PORT", "0"), ("FORESHOCK__REVIEW__PROT", "80"), ("FORESHOCK__REVEIW__PORT", "80")],
)
def test_a_bad_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A variable out of bounds or misspelt is named, not ignored."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load()


def test_the_authorities_of_a_source_stand_beside_the_file(bare: Path) -> None:
    """A CA file is found from where the settings stand; an address is left as it is."""
    text = "[[sources]]\nkind = 'redfish'\nurls = ['https://{host}-bmc.test']\nca_file = 'ca.pem'\n"
    (source,) = load(write(bare / "etc", text)).sources
    assert (source.ca_file, source.urls) == (bare / "etc" / "ca.pem", ("https://{host}-bmc.test",))


def test_a_named_file_must_exist(bare: Path) -> None:
    """`--config` with no such file is an error, not a silent default."""
    with pytest.raises(SettingsError, match=r"gone\.toml"):
        load(bare / "gone.toml")


def test_a_password_in_a_refused_variable_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is refused by its variable's name, without the user and password in it."""
    monkeypatch.setenv("FORESHOCK__MLFLOW__TRACKING_URI", "https://me:hu/sh@mlflow.test")
    with pytest.raises(SettingsError, match="FORESHOCK__MLFLOW__TRACKING_URI") as caught:
        load()
    assert "sh@" not in str(caught.value)
