"""An S3 server for tests, on loopback: it checks who asks, and remembers what was asked of it."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from moto import settings
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.server import create_backend_app
from s3fs import S3FileSystem
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "telemetry"
ALL_OF_S3 = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass(frozen=True)
class Asked:
    """A request that was answered."""

    method: str
    path: str
    sent_bytes: int
    """Of the answer."""


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Say nothing."""


@dataclass
class ObjectStore:
    """An S3 server with one bucket, for one user."""

    environment: dict[str, str]
    """Where it is, and who the user is, in the variables of AWS."""
    asked: list[Asked] = field(default_factory=list)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process, and those that it starts, know the server and are its user, while the block lasts."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            S3FileSystem.clear_instance_cache()
            yield
        S3FileSystem.clear_instance_cache()

    @contextmanager
    def watched(self) -> Iterator[list[Asked]]:
        """What is asked while the block lasts."""
        self.asked.clear()
        yield self.asked


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server while the block lasts."""
    asked: list[Asked] = []
    app = _remembering(create_backend_app("s3"), asked)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ObjectStore(_begun(server), asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _begun(server: BaseWSGIServer) -> dict[str, str]:
    """Make the bucket and the user; from then on a request without a good signature is refused."""
    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, REGION)
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user(REGION, "foreshock")
    iam.put_user_policy("foreshock", "s3", json.dumps(ALL_OF_S3))
    key = iam.create_access_key("foreshock")
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
    }


def _remembering(app: Callable[..., Iterable[bytes]], asked: list[Asked]) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = b"".join(app(environ, start))
        asked.append(Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], len(body)))
        return [body]

    return answer
