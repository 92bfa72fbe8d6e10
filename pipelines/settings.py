"""Settings: `foreshock.toml`, overridden by `FORESHOCK__SECTION__KEY`; unknown keys are refused.

The file is the one named by `--config`, else `foreshock.toml` in the current folder, else in `FORESHOCK_HOME`. Paths in
the file are relative to the file. Secrets (a database URL with a password) come from the environment only.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from data.errors import SettingsError, hidden
from models.store import Store
from pipelines.notifications.settings import Channels, NotificationsSettings
from pipelines.secrets import refuse_secrets

FILE_NAME: Final = "foreshock.toml"
PREFIX: Final = "FORESHOCK__"
DEFAULT_HOME: Final = Path(".foreshock")


SourceKind = Literal[
    "backblaze", "smartctl", "smartmem", "rasdaemon", "edac", "lanl", "titan", "infinitehbd", "inventory", "events",
    "failures", "prometheus", "redfish",
]  # fmt: skip


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WarehouseSettings(_Section):
    """How much memory DuckDB may use, and how long to wait for another writer."""

    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")] = "4GB"
    lock_wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = 600


ASKED_KINDS: Final[frozenset[SourceKind]] = frozenset({"prometheus", "redfish"})
"""Sources that are asked over the network, at `urls`; the others read files, at `paths`."""


class SourceSettings(_Section):
    """What to ingest in every cycle: a kind that `foreshock ingest` knows, and paths or patterns, or addresses.

    For `prometheus`: the label that names the host, and how far to go back when it is asked for the first time. For
    `redfish`: how to log in, and how many controllers are asked at the same time.
    """

    kind: SourceKind
    paths: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    arrival: Literal["published", "now"] = "published"
    urls: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://[^\s@]+$")], ...], Field(min_length=1)] = ()
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    host_label: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")] = "instance"
    history_days: Annotated[int, Field(ge=0, le=3_650)] = 30
    auth: Literal["session", "basic"] = "session"
    at_once: Annotated[int, Field(ge=1, le=256)] = 16

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        wanted, other = ("urls", "paths") if self.kind in ASKED_KINDS else ("paths", "urls")
        if not getattr(self, wanted) or getattr(self, other):
            msg = f"kind {self.kind!r} needs {wanted}, at least one, and no {other}"
            raise ValueError(msg)
        return self


class EngineSettings(_Section):
    """Where features are made and models are trained and asked: on this machine, or on the workers of a Dask cluster.

    `dask` takes the `scheduler`'s address, and a `storage` that this machine and all workers reach, as an fsspec URL.
    The telemetry is kept there in `partitions` parts; a worker holds one for each of its threads. Training that loses a
    worker is begun `training_attempts` times in all.
    """

    kind: Literal["local", "dask"] = "local"
    scheduler: Annotated[str, Field(pattern=r"^((tcp|tls)://[^\s@]+)?$")] = ""
    storage: Annotated[str, Field(pattern=r"^([a-z0-9+]+://[^\s@]+)?$")] = ""
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 16
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    training_attempts: Annotated[int, Field(ge=1, le=100)] = 3

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.kind == "dask" and not (self.scheduler and self.storage):
            msg = 'kind "dask" needs scheduler, such as "tcp://127.0.0.1:8786", and storage, such as "file:///srv/foreshock"'
            raise ValueError(msg)
        return self


class ClockSettings(_Section):
    """Whose time it is without `--on`: the wall's, or the end of the last day held (`auto`: that, if simulated)."""

    source: Literal["auto", "wall", "data"] = "auto"


class ModelsSettings(_Section):
    """Whether a challenger newer than the champion is scored beside it in every cycle, for the gates to look at later.

    Nothing is ever decided on its risks.
    """

    shadow: bool = True


class MlflowSettings(_Section):
    """Address of the MLflow server that keeps the models; empty: they are kept in the home.

    Whoever must show who they are sets MLflow's own `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and
    `MLFLOW_TRACKING_PASSWORD`, in the environment.
    """

    tracking_uri: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$")] = ""


class PolicySettings(_Section):
    """The policy file; without one the policy that ships with Foreshock."""

    path: Path | None = None


_Share = Annotated[float, Field(ge=0, le=1)]


class FaultSettings(_Section):
    """Shares of orders that go wrong in the simulated fleet, for drills; which ones is a function of the seed."""

    seed: int = 0
    slow_share: _Share = 0.0
    slow_seconds: Annotated[float, Field(ge=0, le=3_600)] = 5.0
    lost_answer_share: _Share = 0.0
    answered_twice_share: _Share = 0.0
    refused_share: _Share = 0.0
    failed_share: _Share = 0.0


_ADDRESS: Final = re.compile(r"https?://([^\s/?#@]*@)?(\[[\da-fA-F:.]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?(/\S*)?")


def _address(url: str) -> str:
    if url and not _ADDRESS.fullmatch(url):
        msg = "an address is http(s)://HOST:PORT/PATH; in a password write @ / # ? as %40 %2F %23 %3F"
        raise ValueError(msg)
    return url


class ExecutorSettings(_Section):
    """Who carries orders out: the simulated fleet, an executor at `url` (`webhook`), or nobody (`dry_run`).

    `auto` is the simulated fleet in a home that has one, else `dry_run`, which answers and does nothing. What is sent
    to `url` is signed with the secret in `FORESHOCK_EXECUTOR_SECRET`.

    Handing an order over is tried `attempts` times in all, first again after `backoff_seconds`, then twice as long: as
    shipped for most of a minute, in which an executor can be started anew. One that asks for time (`Retry-After`) gets
    it, in all as long again.
    """

    kind: Literal["auto", "simulated", "dry_run", "webhook"] = "auto"
    url: Annotated[str, AfterValidator(_address)] = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 7
    backoff_seconds: Annotated[float, Field(ge=0, le=3_600)] = 1.0
    faults: FaultSettings = FaultSettings()


class LibvirtSettings(_Section):
    """Hosts that `foreshock executor` drives by libvirt: each host's connection URI, as the executor reaches it.

    `peers` are the URIs by which sources reach targets, where they differ. `fence_command` is run with a host's name
    and ends with 0 once that host is surely off; without one, VMs of a host that does not answer are not started anew.
    A host is silent once it has not answered for `connect_seconds`, and fenced once it has been for `silent_seconds`.
    A guest to start anew has `shutdown_seconds` to shut down, before it is switched off.
    """

    hosts: dict[str, str] = {}
    peers: dict[str, str] = {}
    bandwidth_mib_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    downtime_ms_most: Annotated[int, Field(ge=1, le=600_000)] = 300
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    connect_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    shutdown_seconds: Annotated[float, Field(ge=0, le=3_600)] = 60.0
    fence_command: tuple[str, ...] = ()
    fence_seconds: Annotated[float, Field(gt=0, le=3_600)] = 120.0
    silent_seconds: Annotated[float, Field(ge=0, le=3_600)] = 30.0


class NovaSettings(_Section):
    """The cloud that `foreshock executor` drives by Nova's API: its name in `clouds.yaml`; empty: from `OS_...`.

    A server with one of `unmovable_properties` in its flavor or image, or with the tag, is not moved live.
    """

    cloud: str = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    unmovable_properties: tuple[str, ...] = (
        "pci_passthrough:alias",
        "accel:device_profile",
        "hw:mem_encryption",
        "hw_mem_encryption",
    )
    unmovable_tag: str = "foreshock:unmovable"


class KubevirtSettings(_Section):
    """The cluster that `foreshock executor` drives by KubeVirt: a context of the kubeconfig; empty: the current one."""

    context: str = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0


class DriveSettings(_Section):
    """How `foreshock executor` carries orders out: in the home's simulated world, or through a driver of real VMs.

    `service_command` services a host, and gets the order's id, the host, the attribute that changes and its new value.
    """

    kind: Literal["simulated", "libvirt", "nova", "kubevirt"] = "simulated"
    moves_at_once_per_host: Annotated[int, Field(ge=1, le=100)] = 2
    patience_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    tick_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    service_command: tuple[str, ...] = ()
    service_timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3_600.0
    libvirt: LibvirtSettings = LibvirtSettings()
    nova: NovaSettings = NovaSettings()
    kubevirt: KubevirtSettings = KubevirtSettings()


class LedgerSettings(_Section):
    """SQLAlchemy URL of the ledger; empty: `ledger.db` in the home."""

    url: str = ""


class OidcSettings(_Section):
    """An identity provider that people log in to the review pages with, by OpenID Connect; empty `issuer`: none.

    `roles` says which value of the claim gives which role, `owners` for which owner of VMs one speaks; whoever has none
    of them is turned away. The client's secret is in `FORESHOCK_OIDC_SECRET`.
    """

    issuer: Annotated[str, Field(pattern=r"^(https://[^\s]+|http://(127\.0\.0\.1|localhost)(:\d+)?(/[^\s]*)?)?$")] = ""
    client_id: str = ""
    scope: str = "openid profile email"
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    roles: dict[str, Literal["viewer", "operator", "admin"]] = {}
    owners: dict[str, str] = {}


class ReviewSettings(_Section):
    """Where `foreshock review` listens, who may look, and what its address is to those who come by a proxy.

    Deciding always takes a token or a login. `authentication = "required"` asks for one to look as well. Listening
    wider than on loopback takes that, an https `url`, and the addresses of the proxy that ends TLS there.

    With `url` set and a token in `FORESHOCK_TOKEN`, `foreshock decisions` goes by the API at `url`.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8_484
    authentication: Literal["open", "required"] = "open"
    url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+)?$")] = ""
    proxy_addresses: tuple[str, ...] = ()
    session_hours: Annotated[float, Field(gt=0, le=168)] = 12.0
    failed_logins: Annotated[int, Field(ge=1, le=1_000)] = 5
    failed_logins_minutes: Annotated[int, Field(ge=1, le=1_440)] = 15
    oidc: OidcSettings = OidcSettings()


class Settings(BaseSettings):
    """Everything that can be set, after the file and the environment have been read."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    home: Path = DEFAULT_HOME
    warehouse: WarehouseSettings = WarehouseSettings()
    engine: EngineSettings = EngineSettings()
    sources: tuple[SourceSettings, ...] = ()
    clock: ClockSettings = ClockSettings()
    models: ModelsSettings = ModelsSettings()
    mlflow: MlflowSettings = MlflowSettings()
    policy: PolicySettings = PolicySettings()
    executor: ExecutorSettings = ExecutorSettings()
    drive: DriveSettings = DriveSettings()
    ledger: LedgerSettings = LedgerSettings()
    review: ReviewSettings = ReviewSettings()
    notify: Channels = ()
    notifications: NotificationsSettings = NotificationsSettings()

    @property
    def ledger_url(self) -> str:
        """The ledger's URL, with the default filled in."""
        return self.ledger.url or f"sqlite:///{(self.home / 'ledger.db').absolute()}"

    @property
    def model_store(self) -> Store:
        """Where the models are kept."""
        return Store(self.home, self.mlflow.tracking_uri.rstrip("/"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file, whose content arrives as arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        assert isinstance(init_settings, InitSettingsSource)  # noqa: S101 - narrows the type
        return env_settings, init_settings


def load(config: Path | None = None, *, home: Path | None = None) -> Settings:
    """Settings from the file and the environment; `home`, where given, wins over both.

    Raises:
        SettingsError: a file that cannot be read, an unknown key, or a value out of bounds.
    """
    file = _find(config)
    content = _read(file) if file else {}
    _refuse_unknown_variables()
    if variable := os.environ.get("FORESHOCK_HOME"):
        content["home"] = variable
    try:
        settings = Settings(**content)
    except ValidationError as error:
        raise SettingsError(_describe(error, file)) from error
    return settings.model_copy(update={"home": home}) if home else settings


def _find(config: Path | None) -> Path | None:
    if config is not None:
        if not config.is_file():
            msg = f"{config}: there is no such settings file. Give --config a file that exists, or leave it out."
            raise SettingsError(msg)
        return config
    homes = (Path(), Path(os.environ.get("FORESHOCK_HOME", DEFAULT_HOME)))
    return next((folder / FILE_NAME for folder in homes if (folder / FILE_NAME).is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file} is not valid TOML: {error}. Correct that line."
        raise SettingsError(msg) from error
    refuse_secrets(content, file)
    return _anchored(content, file.parent)


def _anchored(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The content with its paths made relative to the file's folder; what is no path is left to validation."""
    if isinstance(home := content.get("home"), str):
        content["home"] = folder / home
    match content.get("policy"):
        case {"path": str(path)}:
            content["policy"]["path"] = folder / path
    sources = content.get("sources")
    for source in sources if isinstance(sources, list) else ():
        match source:
            case {"paths": [*paths]}:
                source["paths"] = [str(folder / path) if isinstance(path, str) else path for path in paths]
            case {"ca_file": str(path)}:
                source["ca_file"] = folder / path
    return content


def _refuse_unknown_variables() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX).split("__")[0].upper() not in known:
            msg = f"environment variable {variable}: there is no such section. Known: {', '.join(sorted(known))}."
            raise SettingsError(msg)


def _describe(error: ValidationError, file: Path | None) -> str:
    return " ".join(_sentence(detail, file) for detail in error.errors())


def _sentence(detail: ErrorDetails, file: Path | None) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    names = [str(part).upper() for part in detail["loc"]]
    variables = ["__".join([PREFIX.rstrip("_"), *names[:depth]]) for depth in range(1, len(names) + 1)]
    variable = next((v for v in variables if v in {name.upper() for name in os.environ}), None)
    where = f"environment variable {variable}" if variable else str(file or "settings")
    if detail["type"] == "extra_forbidden":
        return f"{where}: {key} is no setting that Foreshock knows. Correct its name or take it out."
    bounds = _bounds(detail["loc"])
    allowed = f" Allowed: {bounds}." if bounds else ""
    told, ours = hidden(repr(detail["input"])), detail["type"] == "value_error"
    why = str(detail["ctx"]["error"]) if ours else detail["msg"].lower()
    return f"{where}: {key} = {told} is refused: {why}.{allowed}"


def _bounds(loc: tuple[int | str, ...]) -> str:
    """What the field at `loc` allows, for a person: `1 to 65535`, or nothing where its type says it all."""
    model: type[BaseModel] = Settings
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            return ""
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
            continue
        low = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
        high = next((m.le for m in field.metadata if hasattr(m, "le")), None)
        return f"{low} to {high}" if low is not None and high is not None else ""
    return ""
