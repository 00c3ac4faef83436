"""Where the API of a stage is, and how requests to it are authorized."""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from decanter import PROJECT

URL, TOKEN = "DECANTER_URL", "DECANTER_TOKEN"
"""Environment variables with the address of the API, and with a token for it."""

SCOPES = "ops:read ops:write"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OperatingError(Exception):
    """A call of an operator did not succeed. type: of the API's problem, empty for any other."""

    def __init__(self, text: str, type: str = "") -> None:
        super().__init__(text)
        self.type = type


class Endpoint(NamedTuple):
    """The API of a stage. url: without a slash at the end. headers: that authorize a request, of
    its method, URL and body."""

    url: str
    headers: Callable[[str, str, bytes], Mapping[str, str]]


def find(given: Namespace) -> Endpoint:
    """The endpoint that the options name: an address or a stage with a token, or else with the
    credentials of AWS; without any of them, the local cloud with a token of its own. Raise
    OperatingError."""
    token = given.token or os.environ.get(TOKEN)
    if given.stage:
        url, is_iam = _of_stage(given.stage)
        if is_iam and given.token:
            raise OperatingError(
                f"The stage {given.stage} takes signatures of AWS, not tokens: leave out --token."
            )
        if not is_iam and not token:
            raise OperatingError(
                f"The stage {given.stage} takes tokens of its issuer: set {TOKEN} to one with the"
                f" scopes {SCOPES}, or give --token."
            )
        return Endpoint(url, signed(url) if is_iam else bearer(url, str(token)))
    if named := given.url or os.environ.get(URL):
        url = str(named).rstrip("/")
        return Endpoint(url, bearer(url, token) if token else signed(url))
    return _of_local_cloud(given.data_dir, token)


def bearer(url: str, token: str) -> Callable[[str, str, bytes], Mapping[str, str]]:
    """Authorize with a token. Raise OperatingError where others could read it on its way."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise OperatingError(f"{url} is not https, so others could read the token on its way.")

    def headers(_method: str, _url: str, _body: bytes) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {token}"}

    return headers


def signed(url: str) -> Callable[[str, str, bytes], Mapping[str, str]]:
    """Authorize with a signature of AWS (SigV4), by the usual chain of credentials. Raise
    OperatingError if there are none."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.session import Session

    session = Session()
    credentials = session.get_credentials()
    region = _region(url) or session.get_config_variable("region")
    if credentials is None or not region:
        lacking = "credentials" if credentials is None else "region"
        raise OperatingError(
            f"There is neither a token ({TOKEN}, --token) nor a {lacking} of AWS to sign with."
            if lacking == "region"
            else f"There are neither a token ({TOKEN}, --token) nor credentials of AWS."
        )

    def headers(method: str, url: str, body: bytes) -> Mapping[str, str]:
        request: Any = AWSRequest(method, url, data=body)
        SigV4Auth(credentials.get_frozen_credentials(), "execute-api", region).add_auth(request)
        return dict(request.headers)

    return headers


def _region(url: str) -> str | None:
    """The region in the name of an API's host."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[2] if parts[1:2] == ["execute-api"] and len(parts) > 3 else None


def _of_stage(name: str) -> tuple[str, bool]:
    """The URL of a stage, and whether requests to it are signed."""
    from decanter.deployment import pipeline
    from decanter.deployment.stage import load

    stage = load(PROJECT, name)
    return _of_stack(pipeline.client, stage.prefix), stage.authentication == "iam"


def _of_local_cloud(home: Path, token: str | None) -> Endpoint:
    from decanter.deployment import pipeline
    from decanter.deployment.stage import load
    from decanter.local import environment, ministack
    from decanter.local.cloud import STAGE
    from decanter.local.issuer import Issuer

    variables = ministack.serving(home)
    with environment.isolated():
        os.environ.update(variables)
        url = _of_stack(pipeline.client, load(PROJECT, STAGE).prefix)
    return Endpoint(url, bearer(url, token or Issuer(home).token(SCOPES)))


def _of_stack(aws: Callable[[str], Any], name: str) -> str:
    """The URL of a stack's API. Raise OperatingError if there is none."""
    from decanter.deployment import cloudformation
    from decanter.deployment.aws import is_local

    outputs = cloudformation.describe(aws, name).outputs
    if not outputs:
        raise OperatingError(
            f"There is no stack {name}: the stage is not deployed, or by `chalice deploy`, which"
            " prints the address of the API; give that with --url."
        )
    document = cloudformation.deployed_template(aws, name) if is_local(aws) else {}
    return cloudformation.api_url(aws, outputs, document).rstrip("/")
