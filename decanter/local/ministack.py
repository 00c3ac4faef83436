"""MiniStack: SQS, Lambda, API Gateway, CloudFormation and more in one local process."""

import functools
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decanter.local import emulator, environment, processes, signals
from decanter.local.network import LOOPBACK, free_port, is_free
from decanter.local.supervisor import Supervisor
from decanter.package import NO_AWS

REGION = "us-east-1"
CREDENTIAL = "local"  # access key and secret; nothing checks them
PORT = 4566
START_SECONDS = 120
_PORT_FILE = "ministack.port"  # in the data folder


class MiniStackError(Exception):
    """MiniStack cannot be used; the message says why."""


@dataclass(frozen=True)
class MiniStack:
    """A running MiniStack. Its Lambda workers are in its process group."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make an AWS SDK call it and nothing else."""
        return _variables(self.endpoint)

    def client(self, service: str) -> Any:
        """A boto3 client of MiniStack."""
        return _client(service, self.endpoint)

    def await_health(self) -> None:
        """Wait until it answers. Raise MiniStackError with the end of its log."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_running():
            health = f"{self.endpoint}/_ministack/health"
            with suppress(OSError), urllib.request.urlopen(health, timeout=2):  # noqa: S310
                # The answer may be that of another MiniStack on this port.
                if processes.listens(self.process.pid, self.port):
                    return
            time.sleep(0.02)
        end = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
        raise MiniStackError(f"MiniStack did not start; the end of {self.log}:\n{end}")

    def is_running(self) -> bool:
        return self.process.poll() is None


@functools.cache
def _client(service: str, endpoint: str) -> Any:
    """Made once: that takes as long as ten calls."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIAL,
        aws_secret_access_key=CREDENTIAL,
        config=Config(read_timeout=330, retries={"max_attempts": 2}),
    )


def serving(home: Path) -> dict[str, str]:
    """Return the variables for the MiniStack of a data folder. Raise MiniStackError."""
    file = home / _PORT_FILE
    port = int(file.read_text()) if file.exists() else 0
    if not port or is_free(port):
        raise MiniStackError(f"No local cloud runs on {home}; start it first: make run")
    return _variables(f"http://{LOOPBACK}:{port}")


def _variables(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIAL,
        "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        **NO_AWS,
    }


def launch(home: Path, supervisor: Supervisor, port: int | None = None) -> MiniStack:
    """Start MiniStack under the supervisor; call ``await_health`` before using it."""
    if port is not None and not is_free(port):
        raise MiniStackError(f"Port {port} is taken; choose another with --port.")
    chosen = port if port is not None else free_port(preferred=PORT)
    scratch = home / "tmp"  # MiniStack unpacks the functions here
    scratch.mkdir(parents=True, exist_ok=True)
    log = home / "ministack.log"
    with log.open("wb") as output, signals.deferred():
        process = subprocess.Popen(
            # Run by path: neither it nor its functions may import this project.
            [sys.executable, "-P", emulator.__file__],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(chosen, scratch),
            cwd=home,
            # Not ended by Ctrl-C in the terminal: the supervisor stops it in order.
            start_new_session=True,
        )
        supervisor.register(process.pid)
    (home / _PORT_FILE).write_text(str(chosen))
    return MiniStack(process, chosen, log)


def _environment(port: int, scratch: Path) -> dict[str, str]:
    # Functions inherit it.
    return environment.minimal() | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_REGION": REGION,
        "LAMBDA_EXECUTOR": "local",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # Keeps MiniStack from looking for Docker containers to clean up.
        "DOCKER_HOST": f"unix://{scratch}/no-docker.sock",
        "TMPDIR": str(scratch),
        "PYTHONUNBUFFERED": "1",
    }
