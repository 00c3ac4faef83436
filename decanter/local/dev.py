"""`make dev`: a saved change takes effect at once.

The local cloud of `make run`, with `chalice local` in front. A change of the code updates the
deployed functions and restarts the server; a change of the models also compiles the contract, and
writes and applies a migration.
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
from decanter.deployment.stage import load
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
# Output of chalice local and boto3 at each start.
SERVER_LINES = ("Found credentials in", "Found endpoint for", "Serving on http://")
_NAME_WIDTH = max(len(each.name) for each in FUNCTIONS)

Explain = Callable[[BaseException], str | None]


class ChangeError(Exception):
    """A change that cannot run."""


@dataclass
class ChaliceLocal:
    """`chalice local`, with its output in this terminal; it does not watch files itself."""

    cloud: Cloud
    stack: LocalStack
    port: int
    process: "subprocess.Popen[str] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens. Raise ChangeError if it ends instead."""
        with signals.deferred():
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
            self.cloud.supervisor.register(self.process.pid)
        threading.Thread(target=_show, args=("api", self.process.stdout), daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while is_free(self.port):
            if self.process.poll() is not None:
                raise ChangeError("chalice local ended; its output is above.")
            if time.monotonic() > deadline:
                raise ChangeError("chalice local did not start to listen.")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            stop_group(self.process.pid)
            self.process.wait()
            self.process = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the deployed API function and authorizer, which the server runs."""
        client = self.cloud.client("lambda")
        variables: dict[str, str] = {}
        for name in {"api", "bearer"} & self.stack.functions.keys():
            answer = client.get_function_configuration(FunctionName=self.stack.function(name))
            variables |= answer["Environment"]["Variables"]
        settings = {
            "PYTHONUNBUFFERED": "1",
            # At each start it warns that it checks no signatures.
            "PYTHONWARNINGS": "ignore::UserWarning:chalice.local",
        }
        return environment.minimal() | variables | self.cloud.ministack.environment | settings


def serve(home: Path, port: int | None, explain: Explain) -> int:
    """Serve and apply every change until Ctrl-C. Return the exit code.

    explain: returns why a change cannot run, in a line; None for a bug of Decanter.
    """
    try:
        if port is not None and not is_free(port):
            print(f"Port {port} is taken; choose another with --port.", file=sys.stderr)
            return 1
        with local_cloud(home, say=print) as cloud:
            deployed = cloud.deploy(say=print)
            stack.hydrate(cloud.ministack, deployed, say=print)
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
            _apply(server, {Path(path) for _kind, path in changes}, explain)
            # Includes the contract and migrations just written.
            seen = _digest()


def _apply(server: ChaliceLocal, changed: set[Path], explain: Explain) -> None:
    """Deploy a change; if it cannot run, say why and keep the last version."""
    names = ", ".join(sorted(str(path.relative_to(PROJECT)) for path in changed))
    print(f"\nchanged: {names}")
    started = time.monotonic()
    ministack = server.cloud.ministack
    try:
        _check_syntax()
        if MODELS in changed:
            for command in ("contract", "migration"):
                if output := _run_python("-m", "decanter", command):
                    print(output)
        if CONFIGURATION in changed or (MODELS in changed and _changes_front(server)):
            known = server.stack.stage.fronts
            server.stack = server.cloud.deploy()
            stack.hydrate(ministack, server.stack, known, say=print)
        else:
            stack.update_code(ministack, server.stack, package.app_code(PROJECT))
            if applied := stack.migrate(ministack, server.stack).get("applied"):
                print(f"migrated the database: {', '.join(map(str, applied))}")
        # In another process, before the working server is stopped.
        _run_python("-c", "import app", variables=server.environment)
        server.stop()
        server.start()
    except Exception as error:
        if (why := explain(error)) is None:
            raise
        print(f"{why}\nThe last working version keeps serving.", file=sys.stderr)
    else:
        print(f"applied in {time.monotonic() - started:.1f} s\n")


def _changes_front(server: ChaliceLocal) -> bool:
    """Whether a resource is behind another front than in what is deployed."""
    return load(PROJECT, STAGE).fronts != server.stack.stage.fronts


def _check_syntax() -> None:
    for path in (PROJECT / "app.py", *sorted((PROJECT / "chalicelib").rglob("*.py"))):
        try:
            compile(path.read_text(), str(path), "exec")
        except SyntaxError as error:
            place = f"{path.relative_to(PROJECT)}:{error.lineno}"
            line = (error.text or "").rstrip()
            raise ChangeError(f"{place}: {error.msg}\n{line}") from error


def _run_python(*arguments: str, variables: dict[str, str] | None = None) -> str:
    """Run Python in the project and return its output. Raise ChangeError if it fails."""
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
    """Print the logs of the deployed functions as they are written."""
    from botocore.exceptions import BotoCoreError, ClientError

    logs = cloud.client("logs")
    shown: set[str] = set()
    since = int(time.time() * 1000)
    while cloud.ministack.is_running():
        asked_at = int(time.time() * 1000)
        for name in deployed.functions:
            group = f"/decanter/{deployed.name}/{name}"
            try:
                events = logs.filter_log_events(logGroupName=group, startTime=since)["events"]
            except (BotoCoreError, ClientError):
                continue
            # MiniStack writes each invocation's log as one stream, at once.
            new = [event for event in events if event["logStreamName"] not in shown]
            _show(name, (event["message"] for event in new))
            shown |= {event["logStreamName"] for event in new}
        # Events written meanwhile may have an earlier time.
        since = max(since, asked_at - 2000)
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
