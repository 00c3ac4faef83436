"""Deploy what was packaged, the way a pipeline does it on AWS.

Upload of the code, CloudFormation, and then the migrate function, before any traffic.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decanter import template
from decanter.cloud.ministack import MiniStack
from decanter.issuer import AUDIENCE, Issuer
from decanter.issuer import URL as ISSUER_URL
from decanter.package import Package

BUCKET = "decanter-deployments"
ISSUER_BUCKET = "decanter-issuer"
LAYER = "ManagedLayer"  # Chalice's name for the dependencies
WAIT = {"Delay": 1, "MaxAttempts": 300}


class DeploymentError(Exception):
    """CloudFormation or the migrations failed."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack and its outputs."""

    name: str
    outputs: dict[str, str]
    api_url: str
    database_url: str

    def function(self, name: str) -> str:
        """The deployed name of a function; name: one of ``template.FUNCTIONS``."""
        return self.outputs[f"{template.FUNCTIONS[name][0]}Function"]

    @property
    def functions(self) -> dict[str, str]:
        """The deployed names of all functions that the stage has."""
        return {
            name: self.function(name)
            for name, (logical_name, _role) in template.FUNCTIONS.items()
            if f"{logical_name}Function" in self.outputs
        }

    @property
    def queue_urls(self) -> dict[str, str]:
        """URLs of the queues: ordered, unordered, ordered_dlq, unordered_dlq."""
        return {
            "ordered": self.outputs["OrderedQueueUrl"],
            "unordered": self.outputs["UnorderedQueueUrl"],
            "ordered_dlq": self.outputs["OrderedDeadLetterQueueUrl"],
            "unordered_dlq": self.outputs["UnorderedDeadLetterQueueUrl"],
        }


def deploy(
    cloud: MiniStack,
    package: Package,
    name: str,
    database_url: str,
    receipt_key: str,
    issuer: Issuer,
    parameters: Mapping[str, str] | None = None,
) -> Stack:
    """Create or update the stack, then migrate its database.

    It takes the issuer's tokens. parameters: of the template, in place of ours. Raises
    DeploymentError with the reasons that CloudFormation or the migration gives.
    """
    _keep_secret(cloud, f"{name}/database-url", database_url)
    _keep_secret(cloud, f"{name}/receipt-key", receipt_key)
    template_url = _upload(cloud, package)
    settings = {
        "DatabaseUrlSecret": f"{name}/database-url",
        "ReceiptKeySecret": f"{name}/receipt-key",
        # The timeout of the drain functions: people watch, so a retry comes soon.
        "VisibilityTimeout": "30",
        "JwtIssuer": ISSUER_URL,
        "JwtAudience": AUDIENCE,
        "JwtJwksUrl": _publish(cloud, issuer),
        **(parameters or {}),
    }
    known = package.template["Parameters"]
    settings = {key: value for key, value in settings.items() if key in known}
    outputs = _create_or_update(cloud, name, template_url, settings)
    stage = package.template["Resources"]["RestAPI"]["Properties"]["StageName"]
    _complete_api(cloud, outputs["RestAPIId"], stage, package)
    api_url = f"{cloud.endpoint}/restapis/{outputs['RestAPIId']}/{stage}/_user_request_"
    stack = Stack(name, outputs, api_url, database_url)
    _reserve_concurrency(cloud, stack, package)
    migrate(cloud, stack)
    return stack


def migrate(cloud: MiniStack, stack: Stack) -> dict[str, Any]:
    """Bring the database to the newest migration. Raises DeploymentError when it fails."""
    answer = cloud.client("lambda").invoke(
        FunctionName=stack.function("migrate"),
        Payload=json.dumps({"action": "upgrade"}).encode(),
        LogType="Tail",
    )
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        reason = payload.get("errorMessage", payload) if isinstance(payload, dict) else payload
        raise DeploymentError(f"The migration failed, so nothing may be served: {reason}")
    return payload if isinstance(payload, dict) else {}


def update_code(cloud: MiniStack, stack: Stack, code: bytes) -> None:
    """Replace the code of every function; warm workers of the old code are gone afterwards."""
    client = cloud.client("lambda")
    for function in stack.functions.values():
        client.update_function_code(FunctionName=function, ZipFile=code)


def _reserve_concurrency(cloud: MiniStack, stack: Stack, package: Package) -> None:
    """Put the caps of the template on the functions: MiniStack's CloudFormation leaves them out."""
    client = cloud.client("lambda")
    for name in stack.functions:
        properties = package.template["Resources"][template.FUNCTIONS[name][0]]["Properties"]
        if (cap := properties.get("ReservedConcurrentExecutions")) is not None:
            client.put_function_concurrency(
                FunctionName=stack.function(name), ReservedConcurrentExecutions=cap
            )


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


def _upload(cloud: MiniStack, package: Package) -> str:
    """Put the zips into S3 under the hash of their content, and the template that names them.

    Returns the template's URL: CloudFormation takes no more than 51,200 bytes in a call.

    The layer of dependencies stays behind: MiniStack runs functions with this interpreter, which
    has them all, and would unpack and compile 30 MB at each cold start (3 s instead of 0.5 s).
    """
    client = cloud.client("s3")
    client.create_bucket(Bucket=BUCKET)
    document = package.template
    document["Resources"].pop(LAYER, None)
    for resource in document["Resources"].values():
        resource.get("Properties", {}).pop("Layers", None)
    uploaded: dict[str, str] = {}
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        for member in ("CodeUri", "ContentUri"):
            path = properties.get(member)
            if not isinstance(path, str) or path.startswith("s3://"):
                continue
            if path not in uploaded:
                uploaded[path] = _put(client, (package.folder / path).read_bytes())
            properties[member] = f"s3://{BUCKET}/{uploaded[path]}"
    return f"{cloud.endpoint}/{BUCKET}/{_put(client, json.dumps(document).encode())}"


def _put(client: Any, content: bytes) -> str:
    key = hashlib.sha256(content).hexdigest()
    client.put_object(Bucket=BUCKET, Key=key, Body=content)
    return key


def _create_or_update(
    cloud: MiniStack, name: str, template_url: str, parameters: dict[str, str]
) -> dict[str, str]:
    from botocore.exceptions import ClientError, WaiterError

    client = cloud.client("cloudformation")
    request = {
        "StackName": name,
        "TemplateURL": template_url,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    try:
        if _exists(client, name):
            try:
                client.update_stack(**request)
                client.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=WAIT)
            except ClientError as error:
                if "No updates are to be performed" not in str(error):
                    raise
        else:
            client.create_stack(**request)
            client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAIT)
    except (ClientError, WaiterError) as error:
        reasons = "\n".join(_failures(client, name)) or str(error)
        raise DeploymentError(f"CloudFormation could not deploy {name}:\n{reasons}") from error
    stack = client.describe_stacks(StackName=name)["Stacks"][0]
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def _exists(client: Any, name: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        stacks = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError:
        return False
    return bool(stacks) and stacks[0]["StackStatus"] != "DELETE_COMPLETE"


def _failures(client: Any, name: str) -> list[str]:
    from botocore.exceptions import ClientError

    try:
        events = client.describe_stack_events(StackName=name)["StackEvents"]
    except ClientError:
        return []
    return [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("_FAILED")
    ]
