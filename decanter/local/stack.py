"""Deploy a package onto the local cloud by the steps of the pipeline.

In addition, it creates what people create on AWS: the secrets, and the topic or bus of events.
"""

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.contract import resources
from decanter.deployment import deploy as pipeline
from decanter.deployment import functions, secrets
from decanter.deployment.deploy import DeployedStack
from decanter.deployment.hydrate import hydrate as load_rows
from decanter.deployment.invocation import invoke
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.stage import Stage
from decanter.local import events
from decanter.local.issuer import AUDIENCE, Issuer
from decanter.local.issuer import URL as ISSUER_URL
from decanter.local.ministack import MiniStack
from decanter.package import Package

ISSUER_BUCKET = "decanter-issuer"


@dataclass(frozen=True)
class LocalStack(DeployedStack):
    """A deployed stack with its stage. database_url: its database, as the owner."""

    stage: Stage
    database_url: str


def deploy(
    cloud: MiniStack,
    package: Package,
    stage: Stage,
    database_url: str,
    receipt_key: str,
    issuer: Issuer,
    parameters: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> LocalStack:
    """Migrate the database, then create or update the stack, which accepts the issuer's tokens.

    parameters: of the template, overriding those set here. Raise DeploymentError with the reasons
    that CloudFormation or the migration gives.
    """
    name = stage.prefix
    _put_secret(cloud, f"{name}/database-url", database_url)
    _put_secret(cloud, f"{name}/receipt-key", receipt_key)
    secrets.ensure(cloud.client, name, tokens=stage.tokens)
    events.make(cloud, stage.events)
    settings = {
        "DatabaseUrlSecret": f"{name}/database-url",
        "ReceiptKeySecret": f"{name}/receipt-key",
        **{functions.secret_parameter(role): f"{name}/{role}-url" for role in functions.roles()},
        "JwtIssuer": ISSUER_URL,
        "JwtAudience": AUDIENCE,
        "JwtJwksUrl": _publish(cloud, issuer),
        **(parameters or {}),
    }
    plan = DeploymentPlan(package, name, None, settings, loads_rows=True)
    deployed = pipeline.deploy(cloud.client, plan, say)
    return LocalStack(name, deployed.outputs, deployed.api_url, stage, database_url)


def migrate(cloud: MiniStack, stack: LocalStack) -> dict[str, Any]:
    """Apply all revisions, even if that breaks queued messages: they are the developer's own. Raise
    DeploymentError."""
    return invoke(cloud.client, stack.function("migrate"), {"force": True})


def hydrate(
    cloud: MiniStack,
    stack: LocalStack,
    known: Container[str] = (),
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Load the rows that Postgres has into the front table, which is lost with MiniStack.

    known: resources whose rows are in it. Raise DeploymentError.
    """
    resources.forget()
    for name in stack.stage.fronts:
        if name in known:
            continue
        resource, reader = resources.resource(name), stack.function("reader")
        *_, done = load_rows(cloud.client, str(stack.front_table), reader, resource)
        if done.written:
            say(f"loaded {done.rows:,} rows of {name} into the front table")
        for line in done.named:
            say(f"note: {name} cannot hold {line}")


def update_code(cloud: MiniStack, stack: LocalStack, code: bytes) -> None:
    """Replace the code of every function and end their warm workers."""
    client = cloud.client("lambda")
    for function in stack.functions.values():
        client.update_function_code(FunctionName=function, ZipFile=code)


def _publish(cloud: MiniStack, issuer: Issuer) -> str:
    """Publish the issuer's public keys for the functions; return the URL."""
    client = cloud.client("s3")
    client.create_bucket(Bucket=ISSUER_BUCKET)
    client.put_object(Bucket=ISSUER_BUCKET, Key="jwks.json", Body=json.dumps(issuer.jwks).encode())
    return f"{cloud.endpoint}/{ISSUER_BUCKET}/jwks.json"


def _put_secret(cloud: MiniStack, name: str, value: str) -> None:
    client = cloud.client("secretsmanager")
    try:
        client.create_secret(Name=name, SecretString=value)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=value)
