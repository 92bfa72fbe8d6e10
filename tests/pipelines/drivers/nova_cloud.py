"""Serves Nova's own API, conductor, scheduler, three compute managers and placement on loopback.

Runs in the environment that `nova_env.sh` makes, never in ours: `nova_cloud.py HOST...`. The hypervisors below the
compute managers are Nova's fake driver; keystone, neutron, glance and cinder are the stubs of Nova's functional tests.
Prints one line of JSON with its URL, and ends when its standard input does.

Beside Nova's routes, under `/control`:
- `GET /servers`: where Nova's database has each server, and its state;
- `POST /silence/HOST`, `POST /wake/HOST`: the compute service reports no more, its last word an hour old; or again;
- `POST /hypervisor?vm=ID&refuses=REASON&fails=1&seconds=N`: how the hypervisors meet that server's live migrations.
"""
# ruff: noqa: ARG002, D102, E402 - methods are Nova's to explain, and its patching comes before its other modules

import datetime as dt
import json
import os
import socketserver
import sys
import threading
import time
import urllib.parse
from typing import ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from nova import monkey_patch

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
monkey_patch.patch()  # before all else of Nova: with eventlet a server beside the services deadlocks

from nova import context, exception, objects
from nova.compute import power_state
from nova.servicegroup.drivers import db
from nova.tests.functional import integrated_helpers
from nova.virt import fake

HOSTS = sys.argv[1:]
ADMIN = {"HTTP_X_AUTH_USER": "admin", "HTTP_X_AUTH_PROJECT_ID": "an-operator", "HTTP_X_ROLES": "admin,member,reader"}
MEETS: dict[str, dict[str, str]] = {}
SILENT: set[str] = set()


class Hypervisor(fake.MediumFakeDriver):
    """A fake hypervisor whose live migrations take time, can be aborted, refused and fail."""

    aborted: ClassVar[set[str]] = set()

    def check_can_live_migrate_destination(self, context, instance, *rest, **named):
        if reason := MEETS.get(instance.uuid, {}).get("refuses"):
            raise exception.MigrationPreCheckError(reason=reason)
        return super().check_can_live_migrate_destination(context, instance, *rest, **named)

    def live_migration(self, context, instance, dest, post_method, recover_method, block=False, migrate_data=None):
        meets = MEETS.get(instance.uuid, {})
        until = time.monotonic() + float(meets.get("seconds", 0))
        while time.monotonic() < until and instance.uuid not in self.aborted:
            time.sleep(0.05)
        if instance.uuid in self.aborted:
            self.aborted.discard(instance.uuid)
            recover_method(context, instance, dest, migrate_data, migration_status="cancelled")
        elif meets.get("fails"):
            recover_method(context, instance, dest, migrate_data)
        else:
            post_method(context, instance, dest, block, migrate_data)

    def live_migration_abort(self, instance):
        self.aborted.add(instance.uuid)

    def post_live_migration(self, context, instance, *_rest, **_named):
        self.instances.pop(instance.uuid, None)

    def pause(self, instance):
        self.instances[instance.uuid].state = power_state.PAUSED

    def unpause(self, instance):
        self.instances[instance.uuid].state = power_state.RUNNING


class Reports(db.DbDriver):
    """Heartbeats, but of hosts that are silent."""

    def _report_state(self, service):
        if service.host not in SILENT:
            super()._report_state(service)


class Cloud(integrated_helpers.ProviderUsageBaseTestCase):
    """The services, and the server before them."""

    compute_driver = "fake.Hypervisor"

    def setUp(self):
        fake.Hypervisor = Hypervisor
        db.DbDriver = Reports
        super().setUp()
        for host in HOSTS:
            self._start_compute(host)

    def serve(self):
        """Serve until standard input ends."""
        nova = self.api_fixture.app()

        def app(environ, start_response):
            if environ["PATH_INFO"].startswith("/control/"):
                body = json.dumps(self.control(environ)).encode()
                start_response("200 OK", [("Content-Type", "application/json")])
                return [body]
            return nova(environ | ADMIN, start_response)

        server = Server(("127.0.0.1", 0), Quiet)
        server.set_app(app)
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}) + "\n")
        sys.stdout.flush()
        server.serve_forever()

    def control(self, environ):
        """What the tests change and look at behind Nova's back."""
        verb, *rest = environ["PATH_INFO"].removeprefix("/control/").split("/")
        asked = dict(urllib.parse.parse_qsl(environ["QUERY_STRING"]))
        with context.target_cell(context.get_admin_context(), self.cell_mappings["cell1"]) as cell:
            if verb == "servers":
                found = objects.InstanceList.get_by_filters(cell, {"deleted": False})
                return {one.uuid: {"host": one.host, "vm_state": one.vm_state} for one in found}
            if verb == "hypervisor":
                MEETS[asked.pop("vm")] = asked
                return {}
            service = objects.Service.get_by_compute_host(cell, rest[0])
            if verb == "silence":
                SILENT.add(rest[0])
                service.last_seen_up = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
            else:
                SILENT.discard(rest[0])
                service.last_seen_up = dt.datetime.now(dt.UTC)
            service.save()
            return {}


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread for each request."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_):
        """Say nothing."""


def end_with_parent():
    """Leave when standard input ends, which it does with the process that holds its other end."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    Cloud("serve").debug()
