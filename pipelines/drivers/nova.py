"""OpenStack Nova as what moves VMs: a VM is a server, a host is a compute service's host.

Who is asked and as whom stands in the SDK's own configuration (`clouds.yaml`, or `OS_` variables); the role must be an
administrator's, for hosts and moves are theirs. Reasons are Nova's own: of the refusal, and of the events that its
services wrote down for the server's action.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Final

import openstack
from keystoneauth1.exceptions import ClientException
from openstack.compute.v2._proxy import Proxy
from openstack.compute.v2.migration import Migration
from openstack.compute.v2.server import Server
from openstack.compute.v2.service import Service
from openstack.connection import Connection
from openstack.exceptions import BadRequestException, ConflictException, HttpException, SDKException

from data.errors import ExecutorError, SettingsError
from pipelines.drivers import Impossible, Moved, Stopped
from pipelines.drivers import nova_record as record
from pipelines.drivers.nova_record import asking
from pipelines.settings import NovaSettings

COMPUTE: Final = "nova-compute"
RUNNING, PAUSED = 1, 3
"""Nova's power states of a guest that has its memory."""
ENDED: Final = frozenset({"completed", "done", "finished", "confirmed", "reverted", "error", "failed", "cancelled"})
"""Where migrations stand with which Nova has no more to do; `finished` ones wait for the word to confirm them."""
ABORT_SECONDS: Final = 120.0
"""For how long an abort is waited for, after a move has taken too long."""
BETWEEN: Final = ("resize_", "rebuild", "powering-off")
"""How the tasks begin during which a server runs on no host for sure."""


def opened(section: NovaSettings, _folder: Path) -> "Nova":
    """The driver of the cloud that the settings name.

    Raises:
        SettingsError: there is no such cloud, or its entry is incomplete.
    """
    cloud = section.cloud or None
    try:
        connection = openstack.connect(cloud=cloud, app_name="foreshock")
    except (SDKException, ClientException) as error:
        where = f'the cloud "{cloud}" of clouds.yaml' if cloud else "the cloud of the OS_ variables"
        msg = f"drive.nova: {where} cannot be used: {error}"
        raise SettingsError(msg) from error
    return Nova(connection, section)


class Nova:
    """A `Driver` that asks Nova, and looks again every second until it is done."""

    def __init__(self, connection: Connection, section: NovaSettings, *, poll_seconds: float = 1.0) -> None:
        """A driver; the connection is used by several threads, as Nova itself uses such ones."""
        self._connection, self._section, self._poll_seconds = connection, section, poll_seconds

    def host_of(self, vm_id: str) -> str | None:
        """The host on which the server runs or is paused; null: on none whose service is up.

        Also null while the server is being started anew, until that is confirmed: `redeploy` brings it to its end.
        """
        try:
            server = self._server(vm_id)
        except Impossible:
            return None
        between = server.status == "VERIFY_RESIZE" or str(server.task_state).startswith(BETWEEN)
        if between or server.power_state not in {RUNNING, PAUSED}:
            return None
        service = self._service(server.compute_host)
        return str(server.compute_host) if service is not None and service.state == "up" else None

    def vms_on(self, host_id: str) -> list[str]:
        """The servers of all projects on a host, in order of their ids."""
        with asking(f"for the servers on {host_id}"):
            found = list(self._compute.servers(all_projects=True, compute_host=host_id))
        return sorted(str(one.id) for one in found if one.compute_host == host_id)

    def unmovable(self, vm_id: str) -> str | None:
        """The property or tag that keeps the server from moving live, or null."""
        server = self._server(vm_id)
        image = server.image.properties if server.image else None
        properties = {**(server.flavor.extra_specs or {}), **(image or {})}
        for name in self._section.unmovable_properties:
            if str(properties.get(name, "false")).lower() != "false":
                return f"its flavor or image has {name} = {properties[name]}"
        tag = self._section.unmovable_tag
        return f"it has the tag {tag}" if tag in (server.tags or []) else None

    def close(self, host_id: str, reason: str) -> None:
        """Disable the host's compute service, with the reason."""
        service = self._known(host_id)
        with asking(f"to disable {COMPUTE} on {host_id}"):
            self._compute.disable_service(service, disabled_reason=reason[:255])

    def reopen(self, host_id: str) -> None:
        """Enable the host's compute service."""
        service = self._known(host_id)
        with asking(f"to enable {COMPUTE} on {host_id}"):
            self._compute.enable_service(service)

    def migrate(self, vm_id: str, source: str, target: str | None, stop: Event) -> Moved:
        """Migrate the server live, or watch the migration that is under way, until it has ended.

        Nova does not tell for how long the guest did not run: `pause_seconds` is 0, which is not shown.

        Raises:
            Impossible: Nova refused or it failed, and the server runs on its source; `Stopped`, if it was aborted.
            ExecutorError: contact was lost, or the server is not on its source, or in Nova's state ERROR.
        """
        server = self._server(vm_id)
        if server.compute_host != source:
            msg = f"the server {vm_id} is on {server.compute_host}, no longer on {source}"
            raise ExecutorError(msg)
        if server.task_state == "migrating":
            self._agrees(vm_id, target)
        elif stop.is_set():
            msg = f"called back before the server {vm_id} began to move"
            raise Stopped(msg)
        else:
            with self._asking_to_move(vm_id, "live-migration"):
                self._compute.live_migrate_server(vm_id, host=target)
        return self._watch(vm_id, source, stop)

    def redeploy(self, vm_id: str, source: str, target: str | None) -> Moved:
        """Start the server anew elsewhere: by cold migration from a host that is up, by evacuation from a dead one.

        A dead host is one that was forced down. One that merely does not answer may still run its guests. A server
        that was stopped stays stopped. `pause_seconds` is what Nova's events say, from the stop (of an evacuation: from
        its request, for Nova does not know since when the host is dead) to the start.

        Raises:
            Impossible: Nova refused or found no host, or the source neither answers nor is known to be dead.
            ExecutorError: contact was lost, or Nova has not brought it to an end.
        """
        server = self._settled(vm_id)
        if server.compute_host is None:
            msg = f"the server {vm_id} is on no host: it is {server.status}"
            raise Impossible(msg)
        if server.compute_host == source:
            action = self._leave(vm_id, source, target)
            server = self._settled(vm_id)
            if server.compute_host == source:
                raise self._still_there(server, action)
        moved = self._last_migration(vm_id)
        if server.status == "VERIFY_RESIZE" and moved is not None and moved.migration_type == "migration":
            server = self._after(vm_id, "confirmResize")
        was_on = record.was_on(self._compute, vm_id)
        if server.status == "SHUTOFF" and was_on:
            server = self._after(vm_id, "start")
        if server.status == "ERROR":
            msg = f"the server {vm_id} is on {server.compute_host} now, but in state ERROR; {record.LOOK}"
            raise ExecutorError(msg)
        anew = was_on and (moved is None or moved.migration_type != "live-migration")
        return Moved(
            str(server.compute_host), record.pause_seconds(self._compute, vm_id) if anew else 0.0, interrupted=anew
        )

    def pause(self, vm_id: str) -> None:
        """Pause the server: its memory stays on the host."""
        if self._settled(vm_id).status != "PAUSED":
            self._after(vm_id, "pause")

    def resume(self, vm_id: str) -> None:
        """Unpause the server; Nova's libvirt driver asks the guest's agent to set the clock right."""
        if self._settled(vm_id).status != "ACTIVE":
            self._after(vm_id, "unpause")

    def shut(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _leave(self, vm_id: str, source: str, target: str | None) -> str:
        """Ask Nova to start the server elsewhere; the name of the action."""
        service = self._known(source)
        if service.is_forced_down:
            with self._asking_to_move(vm_id, "evacuate"):
                self._compute.evacuate_server(vm_id, host=target)
            return "evacuate"
        if service.state != "up":
            msg = (
                f"{COMPUTE} on {source} does not answer, but nobody has forced it down, and the server {vm_id} might "
                f"still run there; fence the host, then: openstack compute service set --down {source} {COMPUTE}"
            )
            raise Impossible(msg)
        with self._asking_to_move(vm_id, "migrate"):
            self._compute.migrate_server(vm_id, host=target)
        return "migrate"

    def _still_there(self, server: Server, action: str) -> ExecutorError:
        """What to say of a server that is still on its source after Nova was to start it elsewhere.

        One that could not be evacuated is in state ERROR, and may be evacuated again; after a failed cold migration
        that state means that the guest may be stopped.
        """
        msg = f"Nova did not start the server {server.id} elsewhere: {record.why(self._compute, server.id, action)}"
        return ExecutorError(msg) if action == "migrate" and server.status == "ERROR" else Impossible(msg)

    def _after(self, vm_id: str, action: str) -> Server:
        """The server after one of the actions that stay on its host, if it went well."""
        calls = {
            "confirmResize": ("confirm_server_resize", {"ACTIVE", "SHUTOFF"}),
            "start": ("start_server", {"ACTIVE"}),
            "pause": ("pause_server", {"PAUSED"}),
            "unpause": ("unpause_server", {"ACTIVE"}),
        }
        call, wanted = calls[action]
        acting = action in {"pause", "unpause"}
        # Nova may refuse since what a driver that died had asked for is under way, or done, by now: the state tells.
        done = () if acting else (BadRequestException, ConflictException)
        with asking(f"to {action} the server {vm_id}", acting=acting), suppress(*done):
            getattr(self._compute, call)(vm_id)
        server = self._settled(vm_id, but="VERIFY_RESIZE")
        if server.status not in wanted:
            why = record.why(self._compute, vm_id, action)
            msg = f"the server {vm_id} is in state {server.status} after {action}: {why}"
            raise ExecutorError(msg)
        return server

    def _agrees(self, vm_id: str, target: str | None) -> None:
        """Make sure that the migration under way leads to the target."""
        found = self._last_migration(vm_id)
        if found is None or found.status in ENDED or target is None:
            return
        if found.dest_compute not in {None, target}:
            msg = f"Nova is moving the server {vm_id} to {found.dest_compute} already, not to {target}"
            raise Impossible(msg)

    def _watch(self, vm_id: str, source: str, stop: Event) -> Moved:
        """Wait for a live migration, aborting it if it is called back or takes too long."""
        until, aborted = time.monotonic() + self._section.timeout_seconds, False
        while True:
            found, server = self._last_migration(vm_id), self._server(vm_id)
            if found is not None and _at_rest(found, server):
                break
            over = time.monotonic() - until
            if found is not None and not aborted and (over > 0 or stop.is_set()):
                aborted = self._abort(vm_id, found)
            if over > ABORT_SECONDS:
                msg = f"the server {vm_id} has not arrived in {self._section.timeout_seconds:g} s, nor been held back"
                raise ExecutorError(msg)
            _wait(self._poll_seconds, stop)
        if found.status == "completed" and server.compute_host != source:
            return Moved(str(server.compute_host), pause_seconds=0.0)
        if server.status == "ERROR" or server.compute_host != source:
            msg = (
                f"the migration of the server {vm_id} ended as {found.status}, and it is {server.status}; {record.LOOK}"
            )
            raise ExecutorError(msg)
        if found.status == "cancelled" and stop.is_set():
            msg = f"the live migration of the server {vm_id} was aborted; it runs on {source}"
            raise Stopped(msg)
        late = f"aborted after {self._section.timeout_seconds:g} s" if aborted and found.status == "cancelled" else None
        msg = f"Nova did not move the server {vm_id}: {late or record.why(self._compute, vm_id, 'live-migration')}"
        raise Impossible(msg)

    def _abort(self, vm_id: str, migration: Migration) -> bool:
        """Whether Nova takes the abort; it does not before a migration is queued, nor after the memory is across."""
        try:
            with asking(f"to abort the migration of {vm_id}", acting=True):
                self._compute.abort_server_migration(str(migration.id), vm_id)
        except Impossible:
            return False
        return True

    @contextmanager
    def _asking_to_move(self, vm_id: str, action: str) -> Iterator[None]:
        """Turn a refusal into `Impossible`, with what the hosts said of it, if they were asked."""
        try:
            with asking(f"to move the server {vm_id}", acting=True):
                yield
        except Impossible as error:
            said = error.__cause__.details if isinstance(error.__cause__, HttpException) else None
            told: list[str] = []
            with suppress(ExecutorError):
                told = record.went_wrong(self._compute, vm_id, action)
            if said not in told:
                raise
            msg = f"Nova will not move the server {vm_id}: {'; '.join(told)}"
            raise Impossible(msg) from error

    @property
    def _compute(self) -> Proxy:
        """Nova's API; the first look asks which versions there are."""
        return self._connection.compute

    def _server(self, vm_id: str) -> Server:
        with asking(f"for the server {vm_id}", missing=True):
            return self._compute.get_server(vm_id)

    def _settled(self, vm_id: str, but: str | None = None) -> Server:
        """The server, once Nova is at work on it no more; `but` is a state that it is to have left."""
        until = time.monotonic() + self._section.timeout_seconds
        while True:
            found, server = self._last_migration(vm_id), self._server(vm_id)
            if _at_rest(found, server) and server.status != but:
                return server
            if time.monotonic() > until:
                still = server.task_state or server.status
                msg = f"the server {vm_id} is still {still} after {self._section.timeout_seconds:g} s"
                raise ExecutorError(msg)
            time.sleep(self._poll_seconds)

    def _service(self, host_id: str) -> Service | None:
        with asking(f"for {COMPUTE} on {host_id}"):
            return next(iter(self._compute.services(binary=COMPUTE, host=host_id)), None)

    def _known(self, host_id: str) -> Service:
        service = self._service(host_id)
        if service is None:
            msg = f"Nova knows no {COMPUTE} on {host_id}; host ids of the inventory must be its compute hosts"
            raise Impossible(msg)
        return service

    def _last_migration(self, vm_id: str) -> Migration | None:
        """The newest migration of the server, of any kind."""
        with asking(f"for the migrations of {vm_id}"):
            return max(self._compute.migrations(server_id=vm_id), key=lambda one: int(one.id), default=None)


def _at_rest(migration: Migration | None, server: Server) -> bool:
    """Whether Nova is at work on the server no more, which was read after its latest migration.

    An evacuated server has no more task before its host is written down; only its migration ends after that.
    """
    return server.task_state is None and (migration is None or migration.status in ENDED)


def _wait(seconds: float, stop: Event) -> None:
    """Wait, at most until `stop` is set; once it is, simply wait."""
    if stop.is_set():
        time.sleep(seconds)
    else:
        stop.wait(seconds)
