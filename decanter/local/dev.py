"""`make dev`: edit, save, and the change runs.

The local cloud as in `make run`, with `chalice local` in front. A change of the code goes into
the deployed functions and restarts the server; a change of the models also compiles the contract,
and writes and applies a migration.
"""

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from decanter import package
from decanter.commands import errors
from decanter.deployment import template
from decanter.local import environment, issuer, signals, stack
from decanter.local.cloud import PROJECT, STAGE, Cloud, local_cloud
from decanter.local.ministack import START_SECONDS, MiniStackError
from decanter.local.network import LOOPBACK, free_port, is_free
from decanter.local.stack import Stack
from decanter.local.supervisor import stop_group

PORT = 8000
MODELS = PROJECT / "chalicelib" / "models.py"
CONFIGURATION = PROJECT / ".chalice" / "config.json"
PLATFORM_LINES = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START")
# What chalice local and boto3 say of themselves at each start.
SERVER_LINES = ("Found credentials in", "Found endpoint for", "Serving on http://")
_NAME_WIDTH = max(len(name) for name in template.FUNCTIONS)


@dataclass
class Server:
    """`chalice local`, with its output in our terminal; it watches nothing itself."""

    cloud: Cloud
    stack: Stack
    port: int
    process: "subprocess.Popen[str] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        with signals.held():
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "decanter.local.chalice_local",
                    "--project-dir", str(PROJECT),
                    "local", "--stage", STAGE, "--no-autoreload",
                    "--host", LOOPBACK, "--port", str(self.port),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self._environment(),
                cwd=PROJECT,
                start_new_session=True,
            )  # fmt: skip
            self.cloud.keeper.keep(self.process.pid)
        threading.Thread(target=_relay, args=(self.process,), daemon=True).start()

    def stop(self) -> None:
        if self.process is not None:
            stop_group(self.process.pid)
            self.process.wait()
            self.process = None

    def _environment(self) -> dict[str, str]:
        """That of the deployed API function and of the authorizer, which both run in the server."""
        client = self.cloud.client("lambda")
        variables: dict[str, str] = {}
        for name in {"api", "bearer"} & self.stack.functions.keys():
            found = client.get_function_configuration(FunctionName=self.stack.function(name))
            variables |= found["Environment"]["Variables"]
        settings = {
            "PYTHONUNBUFFERED": "1",
            # It checks no signatures (of stages that want them), and warns of that at each start.
            "PYTHONWARNINGS": "ignore::UserWarning:chalice.local",
        }
        return environment.bare() | variables | self.cloud.ministack.environment | settings


def main(home: Path, port: int | None) -> int:
    """Serve, and take every change over, until Ctrl-C. Returns the exit code."""
    try:
        if port is not None and not is_free(port):
            print(f"Port {port} is taken; choose another one with --port.", file=sys.stderr)
            return 1
        with local_cloud(home, say=print) as cloud:
            deployed = cloud.deploy(say=print)
            server = Server(cloud, deployed, port or free_port(preferred=PORT))
            threading.Thread(target=_follow_logs, args=(cloud, deployed), daemon=True).start()
            server.start()
            _await(server)
            print(
                f"\nAPI={server.url}\nTOKEN={cloud.issuer.token(seconds=issuer.DAY)}\n\n"
                "Serving until Ctrl-C; changes take effect when saved.\n"
            )
            _watch(server)
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _watch(server: Server) -> None:
    import watchfiles

    seen = _digest(PROJECT)
    while True:
        for changes in watchfiles.watch(
            PROJECT / "app.py",
            PROJECT / "chalicelib",
            CONFIGURATION,
            watch_filter=watchfiles.DefaultFilter(),
            rust_timeout=500,
            yield_on_timeout=True,
        ):
            if not server.cloud.ministack.is_running():
                raise MiniStackError(f"MiniStack has ended: {server.cloud.ministack.log}")
            digest = _digest(PROJECT)
            if not changes or digest == seen:
                continue
            _take_over(server, {Path(path) for _kind, path in changes})
            # The contract and migrations that were just written are changes too.
            seen = _digest(PROJECT)


def _take_over(server: Server, changed: set[Path]) -> None:
    """Let a change run; when it cannot, say why and keep what runs."""
    names = ", ".join(sorted(str(path.relative_to(PROJECT)) for path in changed))
    print(f"\nchanged: {names}")
    begun = time.monotonic()
    try:
        _check_syntax(PROJECT)
        if MODELS in changed:
            _command("contract")
            _command("migration")
        if CONFIGURATION in changed:
            server.stack = server.cloud.deploy()
        else:
            stack.update_code(server.cloud.ministack, server.stack, package.app_code(PROJECT))
            _say_migrations(stack.migrate(server.cloud.ministack, server.stack))
        _check_import(server)
        server.stop()
        server.start()
        _await(server)
    except Exception as error:
        if (said := errors.told(error)) is None:
            raise
        print(f"{said}\nThe last version that worked goes on serving.", file=sys.stderr)
    else:
        print(f"taken over in {time.monotonic() - begun:.1f} s\n")


class ChangeError(Exception):
    """A change cannot run."""


def _check_syntax(project: Path) -> None:
    for path in (project / "app.py", *sorted((project / "chalicelib").rglob("*.py"))):
        try:
            compile(path.read_text(), str(path), "exec")
        except SyntaxError as error:
            place = f"{path.relative_to(project)}:{error.lineno}"
            line = (error.text or "").rstrip()
            raise ChangeError(f"{place}: {error.msg}\n{line}") from error


def _check_import(server: Server) -> None:
    """Load the routes in a process of their own, before the server that works is stopped."""
    done = subprocess.run(
        [sys.executable, "-c", "import app"],
        cwd=PROJECT,
        env=server._environment(),
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise ChangeError(errors.shortened(done.stderr))


def _command(name: str) -> None:
    """Run a command of this project with the models as they are now."""
    done = subprocess.run(
        [sys.executable, "-m", "decanter", name],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.stdout.strip():
        print(done.stdout.strip())
    if done.returncode != 0:
        raise ChangeError(done.stderr.strip() or f"python -m decanter {name} failed")


def _say_migrations(answer: dict[str, object]) -> None:
    applied = answer.get("applied")
    if isinstance(applied, list) and applied:
        print(f"migrated the database: {', '.join(map(str, applied))}")


def _await(server: Server) -> None:
    """Wait until `chalice local` listens. Raises ChangeError when it ends instead."""
    deadline = time.monotonic() + START_SECONDS
    while is_free(server.port):
        if server.process is None or server.process.poll() is not None:
            raise ChangeError("chalice local ended; what it said is above.")
        if time.monotonic() > deadline:
            raise ChangeError("chalice local does not listen yet.")
        time.sleep(0.05)


def _relay(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None  # noqa: S101
    _show("api", process.stdout)


def _follow_logs(cloud: Cloud, deployed: Stack) -> None:
    """Print what the deployed functions log, as it comes in."""
    from botocore.exceptions import BotoCoreError, ClientError

    logs = cloud.client("logs")
    shown: set[str] = set()
    since = int(time.time() * 1000)
    while cloud.ministack.is_running():
        begun = int(time.time() * 1000)
        for name in deployed.functions:
            group = f"/decanter/{deployed.name}/{name}"
            try:
                events = logs.filter_log_events(logGroupName=group, startTime=since)["events"]
            except (BotoCoreError, ClientError):
                continue
            # MiniStack writes one stream per invocation, all at once.
            new = [event for event in events if event["logStreamName"] not in shown]
            _show(name, (event["message"] for event in new))
            shown |= {event["logStreamName"] for event in new}
        # What was written while asking has an earlier time.
        since = max(since, begun - 2000)
        time.sleep(0.3)


def _show(name: str, lines: Iterable[str]) -> None:
    for line in lines:
        if not line.startswith(PLATFORM_LINES + SERVER_LINES):
            print(f"{name:>{_NAME_WIDTH}} | {line.rstrip()}", flush=True)


def _digest(project: Path) -> str:
    digest = hashlib.sha256()
    for path in (project / "app.py", CONFIGURATION, *sorted((project / "chalicelib").rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
