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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from decanter import PROJECT, package
from decanter.deployment.functions import FUNCTIONS
from decanter.local import environment, issuer, signals, stack
from decanter.local.cloud import STAGE, Cloud, local_cloud
from decanter.local.ministack import START_SECONDS, MiniStackError
from decanter.local.network import LOOPBACK, free_port, is_free
from decanter.local.stack import LocalStack
from decanter.local.supervisor import stop_group

PORT = 8000
MODELS = PROJECT / "chalicelib" / "models.py"
CONFIGURATION = PROJECT / ".chalice" / "config.json"
PLATFORM_LINES = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START")
# What chalice local and boto3 say of themselves at each start.
SERVER_LINES = ("Found credentials in", "Found endpoint for", "Serving on http://")
_NAME_WIDTH = max(len(each.name) for each in FUNCTIONS)

Explain = Callable[[BaseException], str | None]


class ChangeError(Exception):
    """A change cannot run."""


@dataclass
class ChaliceLocal:
    """`chalice local`, with its output in our terminal; it watches nothing itself."""

    cloud: Cloud
    stack: LocalStack
    port: int
    process: "subprocess.Popen[str] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens. Raises ChangeError when it ends instead."""
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
                env=self.environment,
                cwd=PROJECT,
                start_new_session=True,
            )  # fmt: skip
            self.cloud.supervisor.keep(self.process.pid)
        threading.Thread(target=_show, args=("api", self.process.stdout), daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while is_free(self.port):
            if self.process.poll() is not None:
                raise ChangeError("chalice local ended; what it said is above.")
            if time.monotonic() > deadline:
                raise ChangeError("chalice local does not listen yet.")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            stop_group(self.process.pid)
            self.process.wait()
            self.process = None

    @property
    def environment(self) -> dict[str, str]:
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


def serve(home: Path, port: int | None, explain: Explain) -> int:
    """Serve, and take every change over, until Ctrl-C. Returns the exit code.

    explain: why a change cannot run, in a line; None for a fault of our own.
    """
    try:
        if port is not None and not is_free(port):
            print(f"Port {port} is taken; choose another one with --port.", file=sys.stderr)
            return 1
        with local_cloud(home, say=print) as cloud:
            deployed = cloud.deploy(say=print)
            server = ChaliceLocal(cloud, deployed, port or free_port(preferred=PORT))
            threading.Thread(target=_follow_logs, args=(cloud, deployed), daemon=True).start()
            server.start()
            print(
                f"\nAPI={server.url}\nTOKEN={cloud.issuer.token(seconds=issuer.DAY)}\n\n"
                "Serving until Ctrl-C; changes take effect when saved.\n"
            )
            _watch(server, explain)
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _watch(server: ChaliceLocal, explain: Explain) -> None:
    import watchfiles

    seen = _digest()
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
            digest = _digest()
            if not changes or digest == seen:
                continue
            _take_over(server, {Path(path) for _kind, path in changes}, explain)
            # The contract and migrations that were just written are changes too.
            seen = _digest()


def _take_over(server: ChaliceLocal, changed: set[Path], explain: Explain) -> None:
    """Let a change run; when it cannot, say why and keep what runs."""
    names = ", ".join(sorted(str(path.relative_to(PROJECT)) for path in changed))
    print(f"\nchanged: {names}")
    begun = time.monotonic()
    ministack = server.cloud.ministack
    try:
        _check_syntax()
        if MODELS in changed:
            for command in ("contract", "migration"):
                if said := _said("-m", "decanter", command):
                    print(said)
        if CONFIGURATION in changed:
            server.stack = server.cloud.deploy()
        else:
            stack.update_code(ministack, server.stack, package.app_code(PROJECT))
            if applied := stack.migrate(ministack, server.stack).get("applied"):
                print(f"migrated the database: {', '.join(map(str, applied))}")
        # In a process of its own, before the server that works is stopped.
        _said("-c", "import app", variables=server.environment)
        server.stop()
        server.start()
    except Exception as error:
        if (why := explain(error)) is None:
            raise
        print(f"{why}\nThe last version that worked goes on serving.", file=sys.stderr)
    else:
        print(f"taken over in {time.monotonic() - begun:.1f} s\n")


def _check_syntax() -> None:
    for path in (PROJECT / "app.py", *sorted((PROJECT / "chalicelib").rglob("*.py"))):
        try:
            compile(path.read_text(), str(path), "exec")
        except SyntaxError as error:
            place = f"{path.relative_to(PROJECT)}:{error.lineno}"
            line = (error.text or "").rstrip()
            raise ChangeError(f"{place}: {error.msg}\n{line}") from error


def _said(*arguments: str, variables: dict[str, str] | None = None) -> str:
    """What Python says when it runs these in the project as it is now. Raises ChangeError."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=variables,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise ChangeError(done.stderr.strip() or f"python {' '.join(arguments)} failed")
    return done.stdout.strip()


def _follow_logs(cloud: Cloud, deployed: LocalStack) -> None:
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


def _digest() -> str:
    digest = hashlib.sha256()
    for path in (PROJECT / "app.py", CONFIGURATION, *sorted((PROJECT / "chalicelib").rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
