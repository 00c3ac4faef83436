"""A deployed project and its interfaces."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import urllib3

from decanter.local import issuer
from decanter.local.cloud import Cloud
from decanter.local.demo.client import Client
from decanter.local.stack import LocalStack
from tests.kit.described_answers import check
from tests.kit.waiting import LONG

# MiniStack's ImportRestApi creates an API without paths, and it lacks PutRestApi, with which
# Chalice updates one, so that call is skipped. Writes reach the API function without the gateway.
# Chalice looks every five seconds whether a function is ready, which takes MiniStack half a second;
# here it looks more often, for as long.
CHALICE = """
from botocore.waiter import SingleWaiterConfig
from chalice.awsclient import TypedAWSClient
TypedAWSClient.update_api_from_swagger = lambda *_, **__: None
SingleWaiterConfig.delay = property(lambda _: 0.1, lambda *_: None)
SingleWaiterConfig.max_attempts = property(lambda _: 3000, lambda *_: None)
from chalice.cli import main
main()
"""

CLOCK = {
    **dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), ""),
    "detail": {},
    "resources": [],
}
"""An event of a schedule, as far as Chalice reads it."""

HTTP = urllib3.PoolManager(retries=False, timeout=LONG, maxsize=24)


class Answer(NamedTuple):
    """An answer of the API. body: parsed JSON with fractions as text, or else bytes."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: Any


@dataclass(frozen=True)
class Deployment:
    """A deployed project and its interfaces."""

    cloud: Cloud
    stack: LocalStack

    @property
    def api_url(self) -> str:
        return self.stack.api_url

    @property
    def database_url(self) -> str:
        return self.stack.database_url

    @property
    def queue_urls(self) -> dict[str, str]:
        return self.stack.queue_urls

    def aws(self, service: str) -> Any:
        """A boto3 client of the local cloud."""
        return self.cloud.client(service)

    def token(
        self,
        scope: str = issuer.ALL_SCOPES,
        subject: str = issuer.SUBJECT,
        seconds: int = issuer.HOUR,
        **claims: Any,
    ) -> str:
        """Return a token of the local cloud's issuer. claims: override the usual ones."""
        return self.cloud.issuer.token(scope, subject, seconds, **claims)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Call the API. body: bytes, or a value to send as JSON. token: None for one with all
        scopes, empty for none. An answer to an operator is as described."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {} if body is None else {"Content-Type": "application/json"}
        token = self._token if token is None else token
        named |= {"Authorization": f"Bearer {token}"} if token else {}
        answer = HTTP.request(
            method, self.api_url + path, body=sent, headers={**named, **(headers or {})}
        )
        kind = answer.headers.get("Content-Type", "")
        check(method, path.partition("?")[0], answer.status, kind, answer.data)
        is_json = "json" in kind and answer.data
        parsed = json.loads(answer.data, parse_float=str) if is_json else answer.data
        return Answer(answer.status, answer.headers, parsed)

    @cached_property
    def _token(self) -> str:
        return self.token(seconds=issuer.DAY)

    def client(self) -> Client:
        """Return a client with all scopes."""
        return Client(self.api_url, self.token(), threading.Event())
