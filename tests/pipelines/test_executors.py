"""Who carries orders out, and where a simulated world may be made."""

import asyncio
import socket
from pathlib import Path

import pyarrow as pa
import pytest

from data.errors import Refused, SettingsError
from data.simulator.fleet import FleetSpec, plan
from data.simulator.overlay import OverlaySpec
from pipelines.check import examine
from pipelines.clock import end_of
from pipelines.executors.dry_run import DryRun
from pipelines.executors.opened import kind_of, opened, world_path
from pipelines.executors.simulated import Simulated
from pipelines.executors.webhook import Webhook
from pipelines.listening import bound
from pipelines.settings import ExecutorSettings, Settings
from pipelines.steps import simulate
from pipelines.steps.ingest import open_warehouse
from tests.decisions.ledgers import NOW

SPEC = FleetSpec(hosts=4, vms=12, days=3)


def test_without_a_word_orders_go_to_the_simulated_world_or_to_nobody(tmp_path: Path) -> None:
    """A home with a simulated world uses it, one without sends orders to nobody, and the doctor says which."""
    settings = Settings(home=tmp_path)
    with opened(settings, NOW) as executor:
        assert isinstance(executor, DryRun)
    simulate.fleet(settings, SPEC)
    with opened(settings, end_of(SPEC.start)) as executor:
        assert isinstance(executor, Simulated)
    assert next(f.says for f in examine(settings) if f.what == "executor").startswith("simulated (auto")


def test_an_executor_that_is_named_is_used(tmp_path: Path) -> None:
    """What the settings name wins over what the home holds."""
    settings = Settings(home=tmp_path).model_copy(update={"executor": ExecutorSettings(kind="simulated")})
    assert kind_of(settings) == "simulated"


def test_nothing_is_simulated_over_real_hosts(tmp_path: Path) -> None:
    """A home whose inventory is real keeps it: fleet and overlay are refused, and no world appears."""
    settings = Settings(home=tmp_path / "home")
    tables = plan(SPEC).tables()
    at = tables["hosts"].schema.get_field_index("simulated")
    tables["hosts"] = tables["hosts"].set_column(at, "simulated", pa.array([False] * tables["hosts"].num_rows))
    with open_warehouse(settings) as warehouse:
        warehouse.put_inventory(**tables, at=NOW)
        warehouse.publish()
    with pytest.raises(Refused, match="4 real hosts"):
        simulate.fleet(settings, SPEC)
    with pytest.raises(Refused, match="4 real hosts"):
        simulate.overlay(settings, SPEC.start, OverlaySpec())
    assert not world_path(settings).exists()


def test_an_executor_elsewhere_needs_its_address_and_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without executor.url, or the secret to sign with, nothing is sent, and the error says what to set."""
    monkeypatch.delenv("FORESHOCK_EXECUTOR_SECRET", raising=False)
    nowhere = Settings(home=tmp_path, executor=ExecutorSettings(kind="webhook"))
    somewhere = Settings(home=tmp_path, executor=ExecutorSettings(kind="webhook", url="http://127.0.0.1:8585"))
    for settings, wanted in ((nowhere, r"executor\.url"), (somewhere, "FORESHOCK_EXECUTOR_SECRET is not set")):
        with pytest.raises(SettingsError, match=wanted), opened(settings, NOW):
            pass
    monkeypatch.setenv("FORESHOCK_EXECUTOR_SECRET", "x" * 32)
    with opened(somewhere, NOW) as executor:
        assert isinstance(executor, Webhook)


def test_answers_of_our_servers_leave_at_once() -> None:
    """Nagle's algorithm is off on what is accepted: no part of an answer waits for the client's acknowledgement."""

    async def nodelay() -> int:
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock = writer.get_extra_info("socket")
            seen.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with bound("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
            async with await asyncio.start_server(connected, sock=listener):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return await seen

    assert asyncio.run(nodelay())
