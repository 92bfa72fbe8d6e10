"""A real MLflow server for tests, on loopback: its records in PostgreSQL, its files in a folder."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.daemons import free_port, until

LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass
class MlflowServer:
    """A server with its database's URL and its folder, which may be stopped and started again."""

    database: str
    folder: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Let it serve, at the same address as before."""
        self.folder.mkdir(exist_ok=True)
        self.port = self.port or free_port()
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", self.database, "--artifacts-destination", str(self.folder / "files"),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as said:
            self.process = subprocess.Popen(
                command, env=os.environ | LIGHT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
        until(lambda: httpx.get(f"{self.uri}/health").status_code == httpx.codes.OK, "MLflow answers", 120)

    def stop(self) -> None:
        """Kill it with all of its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
