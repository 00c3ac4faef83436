"""Serve the project from a local cloud until Ctrl-C."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalicelib.contract.json_text import render
from decanter import PROJECT, relative
from decanter.contract import committed
from decanter.deployment.deploy import count_queued
from decanter.local import HOME, issuer
from decanter.local.cloud import Cloud, local_cloud
from decanter.local.demo import airports
from decanter.local.stack import LocalStack, hydrate

BEARER = '-H "Authorization: Bearer $TOKEN"'


@contextmanager
def deployed(home: Path, port: int | None) -> Iterator[tuple[Cloud, LocalStack]]:
    """Start a local cloud, deploy the project, and stop at the end of the block."""
    started = time.monotonic()
    with local_cloud(home, port, _say) as cloud:
        stack = cloud.deploy(say=_say)
        hydrate(cloud.ministack, stack, say=_say)
        _say(f"ready after {time.monotonic() - started:.1f} s")
        yield cloud, stack


def serve(cloud: Cloud, stack: LocalStack) -> int:
    """Print how to use it, and serve until Ctrl-C; return 1 if MiniStack ends before that."""
    _say(access(cloud, stack))
    try:
        while cloud.ministack.is_running():
            time.sleep(0.5)
    except KeyboardInterrupt:
        waiting = count_queued(cloud.client, stack.outputs)
        if waiting:
            print(f"\nStopping; {waiting:,} messages not yet poured are lost with the queues.")
        else:
            print("\nStopping; the queues are empty, everything accepted is in the database.")
        if stack.front_table:
            print("The front table ends as well; its rows are in the database, if poured.")
        return 0
    print(f"\nMiniStack has ended; see {cloud.ministack.log}", file=sys.stderr)
    return 1


def access(cloud: Cloud, stack: LocalStack) -> str:
    """Return address, token and first commands."""
    elsewhere = f" --data-dir {cloud.home}" if cloud.home != HOME else ""
    logs = filter(None, (cloud.ministack.log, cloud.postgres.log))
    python = relative(Path(sys.executable), PROJECT)
    return f"""
API={stack.api_url}
TOKEN={cloud.issuer.token(seconds=issuer.DAY)}

{examples(committed())}
console   {stack.api_url}/console in a browser: any user name, the token as password
token     {python} -m decanter token{elsewhere} (the one above is valid for a day)
database  {python} -m decanter postgres psql{elsewhere} -- -c '\\dt *.*'
changes   {python} -m decanter redeploy{elsewhere}, in another terminal
logs      {", ".join(str(relative(log)) for log in logs)}

Serving until Ctrl-C."""


def examples(contract: Mapping[str, Any]) -> str:
    """Return first requests, to resources that exist."""
    if airports.match(contract):
        return f"""\
write     curl -i {BEARER} $API/stations/LSZH -X PATCH \\
            -H 'Content-Type: application/json' -d '{{"city": "Zürich"}}'
read      curl {BEARER} $API/stations/LSZH"""
    name = next(iter(contract["x-decanter"]["resources"]))
    body = contract["paths"][f"/{name}"]["post"]["requestBody"]["content"]["application/json"]
    row = shlex.quote(render(body["examples"]["row"]["value"]))
    return f"""\
write     curl -i {BEARER} -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\
            $API/{name} -d {row}
contract  curl {BEARER} $API/openapi.json"""


def _say(line: str) -> None:
    print(line, flush=True)
