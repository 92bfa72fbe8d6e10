"""Connections to libvirt's daemons, one a host: opened when first asked for, and again after they died.

A host that has fallen silent is noticed after twelve seconds, by libvirt's own keepalive, which needs its event loop:
one daemon thread of this process runs it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

import libvirt

from data.errors import ExecutorError
from pipelines.drivers import Impossible
from pipelines.drivers.libvirt import domains

KEEPALIVE_SECONDS: Final = 3
KEEPALIVE_COUNT: Final = 3
ABANDONED_SECONDS: Final = 300.0
"""An attempt to connect that has hung for so long is followed by another."""
AT_ONCE: Final = 16
"""Hosts that are asked at the same time where a VM is."""

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Silent(ExecutorError):
    """A host's daemon cannot be reached."""


@dataclass(frozen=True)
class Seen:
    """A VM as a host knows it: `lives` if it runs or is paused there, and is not merely arriving."""

    host_id: str
    domain: Any
    lives: bool


def begun(work: Callable[[], _Result]) -> "Future[_Result]":
    """What comes of the work, which runs in a thread that the process does not wait for when it ends."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the future raises it where it is asked
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@cache
def _event_loop() -> None:
    libvirt.registerErrorHandler(lambda _, error: _log.debug("libvirt: %s", error), None)
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            with suppress(libvirt.libvirtError):
                libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt events", daemon=True).start()


class Hosts:
    """The daemons of a fleet. Threads may share it."""

    def __init__(self, uris: Mapping[str, str], wait_seconds: float) -> None:
        """Nothing is opened yet; `wait_seconds` is how long opening may take."""
        self._uris, self._wait = dict(sorted(uris.items())), wait_seconds
        self._lock = threading.Lock()
        self._attempts: dict[str, _Attempt] = {}
        _event_loop()

    def __iter__(self) -> Iterator[str]:
        """The ids of all hosts, in order."""
        return iter(self._uris)

    def __contains__(self, host_id: str) -> bool:
        """Whether the host is configured."""
        return host_id in self._uris

    def to(self, host_id: str) -> Any:
        """A connection that was alive just now.

        Raises:
            Silent: the host is not configured, or does not answer in time.
        """
        uri = self._uris.get(host_id)
        if uri is None:
            msg = f"host {host_id} is none of those that the libvirt driver is configured for; add its URI"
            raise Silent(msg)
        with self._lock:
            attempt = self._attempts.get(host_id)
            if attempt is None or attempt.useless():
                attempt = self._attempts[host_id] = _Attempt(begun(lambda: _connect(uri)), time.monotonic())
        try:
            return attempt.con.result(max(0.0, attempt.began + self._wait - time.monotonic()))
        except TimeoutError as error:
            msg = f"host {host_id} did not answer at {uri} within {self._wait:g} s"
            raise Silent(msg) from error
        except libvirt.libvirtError as error:
            msg = f"host {host_id} cannot be reached at {uri}: {error}"
            raise Silent(msg) from error

    @contextmanager
    def asked(self, host_id: str) -> Iterator[Any]:
        """The same connection; what the daemon refuses is `Impossible`, and one that breaks off is `Silent`."""
        con = self.to(host_id)
        try:
            yield con
        except libvirt.libvirtError as error:
            msg = f"host {host_id}: {error}"
            if error.get_error_domain() == libvirt.VIR_FROM_RPC or not con.isAlive():
                raise Silent(msg) from error
            raise Impossible(msg) from error

    def seen(self, vm_id: str) -> list[Seen]:
        """The VM on each host that answers and knows it, in order of hosts."""

        def look(host_id: str) -> Seen | None:
            with suppress(ExecutorError), self.asked(host_id) as con:
                domain = domains.named(con, vm_id)
                return Seen(host_id, domain, domains.lives(domain)) if domain is not None else None
            return None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [one for one in pool.map(look, self._uris) if one is not None]

    def host_of(self, vm_id: str) -> str | None:
        """The one host where the VM lives, or null.

        Raises:
            ExecutorError: it lives on two, or two VMs have one name.
        """
        found = [one.host_id for one in self.seen(vm_id) if one.lives]
        if len(found) > 1:
            msg = f"VM {vm_id} runs on {' and '.join(found)}; stop the wrong one by hand, or rename it"
            raise ExecutorError(msg)
        return found[0] if found else None

    def end_leaving(self, vm_id: str, source: str) -> None:
        """Abort any migration of the VM that is under way from the source, if that answers.

        Raises:
            ExecutorError: it does not end.
        """
        for one in self.seen(vm_id):
            if one.host_id == source:
                domains.end_leaving(one.domain)

    def silent(self) -> list[str]:
        """The hosts that do not answer."""

        def quiet(host_id: str) -> bool:
            try:
                return not self.to(host_id).isAlive()
            except Silent:
                return True

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [host_id for host_id, is_quiet in zip(self, pool.map(quiet, self), strict=True) if is_quiet]

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            attempts, self._attempts = list(self._attempts.values()), {}
        for attempt in attempts:
            if not attempt.useless() and attempt.con.done():
                with suppress(libvirt.libvirtError):
                    attempt.con.result().close()


@dataclass(frozen=True)
class _Attempt:
    """A connection, or what is to become one."""

    con: Future[Any]
    began: float

    def useless(self) -> bool:
        """Whether it failed, has died since, or hangs."""
        if not self.con.done():
            return time.monotonic() - self.began > ABANDONED_SECONDS
        if self.con.exception() is not None:
            return True
        try:
            return not self.con.result().isAlive()
        except libvirt.libvirtError:
            return True


def _connect(uri: str) -> Any:
    con = libvirt.open(uri)
    con.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
    return con
