"""An S3 server for tests, on loopback: it checks who asks, and remembers what was asked of it.

Its packages take a second to import, so only who starts it does.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "telemetry"
NEEDED = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": NEEDED, "Resource": "*"}]}


@dataclass(frozen=True)
class Asked:
    """A request that was answered."""

    method: str
    path: str
    sent_bytes: int
    """Of the answer."""


@dataclass
class ObjectStore:
    """An S3 server with one bucket, for one user, who may do what the store needs."""

    environment: dict[str, str]
    """Where it is, and who the user is, in the variables of AWS."""
    asked: list[Asked] = field(default_factory=list)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process, and those that it starts, know the server and are its user, while the block lasts."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            forget()
            yield
        forget()

    @contextmanager
    def watched(self) -> Iterator[list[Asked]]:
        """What is asked while the block lasts."""
        self.asked.clear()
        yield self.asked


def forget() -> None:
    """Let whoever opens an object store next look into the environment again."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server while the block lasts."""
    from moto.server import create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    asked: list[Asked] = []
    app = _remembering(create_backend_app("s3"), asked)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ObjectStore(_begun(server.server_port), asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _begun(port: int) -> dict[str, str]:
    """Make the bucket and the user; from then on a request without a good signature is refused."""
    from moto import settings
    from moto.iam.models import iam_backends
    from moto.s3.models import s3_backends

    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, REGION)
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user(REGION, "foreshock")
    iam.put_user_policy("foreshock", "s3", json.dumps(POLICY))
    key = iam.create_access_key("foreshock")
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
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
