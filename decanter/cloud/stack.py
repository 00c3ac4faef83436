"""Deploy what was packaged onto the local cloud, by the pipeline's own steps.

Beside them: what the local cloud leaves out of a template, and the secrets that people make on AWS.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.database.roles import role_url
from decanter import deploy as pipeline
from decanter import template
from decanter.cloud.ministack import MiniStack
from decanter.deploy import DeploymentError
from decanter.issuer import AUDIENCE, Issuer
from decanter.issuer import URL as ISSUER_URL
from decanter.package import Package

__all__ = ["DeploymentError", "Stack", "deploy", "migrate", "update_code"]

BUCKET = "decanter-deployments"
ISSUER_BUCKET = "decanter-issuer"
LAYER = "ManagedLayer"  # Chalice's name for the dependencies


@dataclass(frozen=True)
class Stack(pipeline.Stack):
    """A deployed stack and the database that its functions use; the URL is the owner's."""

    database_url: str


def deploy(
    cloud: MiniStack,
    package: Package,
    name: str,
    database_url: str,
    receipt_key: str,
    issuer: Issuer,
    parameters: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Stack:
    """Create or update the stack, its database first.

    It takes the issuer's tokens. parameters: of the template, in place of ours. Raises
    DeploymentError with the reasons that CloudFormation or the migration gives.
    """
    _keep_secret(cloud, f"{name}/database-url", database_url)
    _keep_secret(cloud, f"{name}/receipt-key", receipt_key)
    for kind in template.KINDS:
        # The database stays when the cloud is gone: so do the passwords.
        url = role_url(database_url, kind, receipt_key)
        _keep_secret(cloud, f"{name}/{kind}-url", url)
    cloud.client("s3").create_bucket(Bucket=BUCKET)
    settings = {
        "DatabaseUrlSecret": f"{name}/database-url",
        "ReceiptKeySecret": f"{name}/receipt-key",
        **{f"{kind.capitalize()}UrlSecret": f"{name}/{kind}-url" for kind in template.KINDS},
        # The timeout of the drain functions: people watch, so a retry comes soon.
        "VisibilityTimeout": "30",
        "JwtIssuer": ISSUER_URL,
        "JwtAudience": AUDIENCE,
        "JwtJwksUrl": _publish(cloud, issuer),
        **(parameters or {}),
    }
    plan = pipeline.Plan(
        package,
        name,
        BUCKET,
        settings,
        adjust=_fit,
        settle=lambda outputs: _complete(cloud, package, outputs),
    )
    deployed = pipeline.deploy(cloud.client, plan, say)
    return Stack(name, deployed.outputs, deployed.api_url, database_url)


def migrate(cloud: MiniStack, stack: Stack) -> dict[str, Any]:
    """Bring the database to the newest migration. Raises DeploymentError when it fails."""
    return pipeline.invoke(cloud.client, stack.function("migrate"), {})


def update_code(cloud: MiniStack, stack: Stack, code: bytes) -> None:
    """Replace the code of every function; warm workers of the old code are gone afterwards."""
    client = cloud.client("lambda")
    for function in stack.functions.values():
        client.update_function_code(FunctionName=function, ZipFile=code)


def _fit(document: dict[str, Any]) -> None:
    """Leave out what MiniStack cannot take (an alarm of a sum), and the layer of dependencies: it
    runs functions with this interpreter, which has them all, and would unpack and compile 30 MB at
    each cold start (3 s instead of 0.5 s)."""
    for name, resource in [*document["Resources"].items()]:
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
            del document["Resources"][name]
    document["Resources"].pop(LAYER, None)
    for resource in document["Resources"].values():
        resource.get("Properties", {}).pop("Layers", None)


def _complete(cloud: MiniStack, package: Package, outputs: Mapping[str, str]) -> None:
    """Set what MiniStack leaves out of a template."""
    _reserve_concurrency(cloud, package, outputs)
    if "RestAPIId" in outputs:
        stage = package.template["Resources"]["RestAPI"]["Properties"]["StageName"]
        _complete_api(cloud, outputs["RestAPIId"], stage, package)


def _reserve_concurrency(cloud: MiniStack, package: Package, outputs: Mapping[str, str]) -> None:
    """Put the caps of the template on the functions: MiniStack's CloudFormation leaves them out."""
    client = cloud.client("lambda")
    for logical_name, _role in template.FUNCTIONS.values():
        if (function := outputs.get(f"{logical_name}Function")) is None:
            continue
        properties = package.template["Resources"][logical_name]["Properties"]
        if (cap := properties.get("ReservedConcurrentExecutions")) is not None:
            client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=cap)


def _publish(cloud: MiniStack, issuer: Issuer) -> str:
    """Put the issuer's public key where functions can fetch it; returns the URL."""
    client = cloud.client("s3")
    client.create_bucket(Bucket=ISSUER_BUCKET)
    client.put_object(Bucket=ISSUER_BUCKET, Key="jwks.json", Body=json.dumps(issuer.jwks).encode())
    return f"{cloud.endpoint}/{ISSUER_BUCKET}/jwks.json"


def _complete_api(cloud: MiniStack, api: str, stage: str, package: Package) -> None:
    """Set what MiniStack's import leaves out of the API's definition, and deploy it: the gateway's
    own responses, and the answers to preflight requests."""
    definition = package.template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    client = cloud.client("apigateway")
    for kind, answer in definition["x-amazon-apigateway-gateway-responses"].items():
        client.put_gateway_response(restApiId=api, responseType=kind, **answer)
    resources = client.get_resources(restApiId=api, limit=500)["items"]
    for resource in resources:
        if options := definition["paths"].get(resource["path"], {}).get("options"):
            place = {"restApiId": api, "resourceId": resource["id"], "httpMethod": "OPTIONS"}
            [answer] = options["x-amazon-apigateway-integration"]["responses"].values()
            client.put_integration_response(**place, **answer)
    client.create_deployment(restApiId=api, stageName=stage)


def _keep_secret(cloud: MiniStack, name: str, value: str) -> None:
    client = cloud.client("secretsmanager")
    try:
        client.create_secret(Name=name, SecretString=value)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=value)
