"""CloudFormation stacks, and the S3 bucket of their code and templates."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from decanter.deployment.aws import LOOPBACK, Aws, is_local
from decanter.deployment.findings import DeploymentError
from decanter.deployment.references import Json

_PAUSE_SECONDS = 1.0
_MOST_TEMPLATE_BYTES = 51_200
_FAILED_AT_FIRST = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")


class StackState(NamedTuple):
    """What CloudFormation knows of a stack. status: None: it does not exist. parameters, outputs:
    empty where its creation failed."""

    status: str | None
    parameters: Mapping[str, str]
    outputs: dict[str, str]

    @property
    def is_deployed(self) -> bool:
        """Whether it was ever created."""
        return self.status is not None and self.status not in _FAILED_AT_FIRST


def ensure_bucket(aws: Aws, name: str | None = None) -> str:
    """Return the bucket for code, created (private, S3's default) if missing. Raises
    DeploymentError."""
    from botocore.exceptions import ClientError

    client = aws("s3")
    region = client.meta.region_name
    bucket = name or f"decanter-{_account(aws)}-{region}"
    try:
        client.head_bucket(**_ours(aws, bucket))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise DeploymentError(
                f"The bucket {bucket} cannot be used: {error}. Name another one with --bucket."
            ) from error
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else place))
    return bucket


def upload(aws: Aws, document: Json, folder: Path, bucket: str) -> None:
    """Upload the zips in a folder that a template refers to, each under the hash of its content,
    and make the template refer to S3."""
    ours = _ours(aws, bucket)
    uploaded: dict[str, str] = {}
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        for member in ("CodeUri", "ContentUri"):
            path = properties.get(member)
            if not isinstance(path, str) or path.startswith("s3://"):
                continue
            if path not in uploaded:
                uploaded[path] = _put(aws("s3"), ours, folder / path)
            properties[member] = f"s3://{bucket}/{uploaded[path]}"


def apply(
    aws: Aws, name: str, bucket: str, document: Json, values: Mapping[str, str]
) -> dict[str, str]:
    """Create or update a stack, and wait; returns its outputs. Raises DeploymentError.

    values: of parameters; those that the template lacks are ignored, and the rest keep their
    previous values.
    """
    from botocore.exceptions import ClientError, WaiterError

    client = aws("cloudformation")
    stack = await_end(aws, name)
    if stack.status in _FAILED_AT_FIRST:
        client.delete_stack(StackName=name)
        client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=_wait())
    request = {
        "StackName": name,
        **_body(aws, bucket, document),
        "Parameters": _parameters(document, values, stack.parameters),
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    kind = "update" if stack.is_deployed else "create"
    since = _last_event(client, name) if stack.is_deployed else None
    try:
        (client.update_stack if stack.is_deployed else client.create_stack)(**request)
        client.get_waiter(f"stack_{kind}_complete").wait(StackName=name, WaiterConfig=_wait())
    except (ClientError, WaiterError) as error:
        if "No updates are to be performed" not in str(error):
            reasons = "\n".join(_failures(client, name, since)) or str(error)
            raise DeploymentError(f"CloudFormation could not deploy {name}:\n{reasons}") from error
    return describe(aws, name).outputs


def api_url(aws: Aws, outputs: Mapping[str, str], document: Json) -> str:
    """The URL of a stack's API; on the local cloud it has no host name of its own."""
    endpoint = str(aws("apigateway").meta.endpoint_url)
    if is_local(aws):
        stage = document["Resources"]["RestAPI"]["Properties"]["StageName"]
        return f"{endpoint}/restapis/{outputs['RestAPIId']}/{stage}/_user_request_"
    return outputs["EndpointURL"].rstrip("/")


def deployed_template(aws: Aws, name: str) -> Json:
    """The template of a stack, as uploaded."""
    body = aws("cloudformation").get_template(StackName=name, TemplateStage="Original")
    found: Any = body["TemplateBody"]
    document: Json = json.loads(found) if isinstance(found, str) else found
    return document


def describe(aws: Aws, name: str) -> StackState:
    """Look a stack up."""
    from botocore.exceptions import ClientError

    try:
        found = aws("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        found = []
    status = found[0]["StackStatus"] if found else None
    if status == "DELETE_COMPLETE":
        status = None
    if status is None or status in _FAILED_AT_FIRST:
        return StackState(status, {}, {})
    parameters, outputs = (found[0].get(each, []) for each in ("Parameters", "Outputs"))
    return StackState(
        status,
        {each["ParameterKey"]: each["ParameterValue"] for each in parameters},
        {each["OutputKey"]: each["OutputValue"] for each in outputs},
    )


def await_end(aws: Aws, name: str, say: Callable[[str], None] = lambda _line: None) -> StackState:
    """Wait until CloudFormation has finished an interrupted deployment, and describe the stack."""
    is_said = False
    while (stack := describe(aws, name)).status and stack.status.endswith("_IN_PROGRESS"):
        if stack.status == "REVIEW_IN_PROGRESS":  # a change set that nobody executed
            break
        if not is_said:
            say(f"waiting for CloudFormation: {name} is {stack.status}")
        is_said = True
        time.sleep(_PAUSE_SECONDS)
    return stack


def _body(aws: Aws, bucket: str, document: Json) -> dict[str, str]:
    """The template as an argument of a request; a longer one is uploaded to S3."""
    text = json.dumps(document)
    if len(text.encode()) <= _MOST_TEMPLATE_BYTES:
        return {"TemplateBody": text}
    client = aws("s3")
    key = f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    client.put_object(**_ours(aws, bucket), Key=key, Body=text.encode())
    endpoint = urlsplit(str(client.meta.endpoint_url))
    if endpoint.hostname in LOOPBACK:
        return {"TemplateURL": f"{endpoint.geturl()}/{bucket}/{key}"}
    return {"TemplateURL": f"https://{bucket}.{endpoint.netloc}/{key}"}


def _account(aws: Aws) -> str:
    return str(aws("sts").get_caller_identity()["Account"])


def _ours(aws: Aws, bucket: str) -> dict[str, str]:
    """Arguments of every call to S3: others could have made a bucket of that name."""
    return {"Bucket": bucket, "ExpectedBucketOwner": _account(aws)}


def _put(client: Any, ours: Mapping[str, str], path: Path) -> str:
    from botocore.exceptions import ClientError

    content = path.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    try:
        client.head_object(**ours, Key=key)
    except ClientError:
        client.put_object(**ours, Key=key, Body=content)
    return key


def _parameters(
    document: Json, values: Mapping[str, str], before: Mapping[str, str]
) -> list[dict[str, Any]]:
    known = document.get("Parameters", {})
    given: Json = {key: {"ParameterValue": value} for key, value in values.items() if key in known}
    kept: Json = {key: {"UsePreviousValue": True} for key in known if key in before}
    return [{"ParameterKey": key, **value} for key, value in {**kept, **given}.items()]


def _wait() -> dict[str, int]:
    return {"Delay": 1, "MaxAttempts": 3600}


def _last_event(client: Any, name: str) -> str | None:
    events = client.describe_stack_events(StackName=name)["StackEvents"]
    return events[0]["EventId"] if events else None


def _failures(client: Any, name: str, since: str | None) -> list[str]:
    """Reasons why CloudFormation failed, oldest first. since: the last event before it started."""
    from botocore.exceptions import ClientError

    try:
        events = client.describe_stack_events(StackName=name)["StackEvents"]
    except ClientError:
        return []
    recent = takewhile(lambda event: event["EventId"] != since, events)
    failed = [each for each in recent if each["ResourceStatus"].endswith("_FAILED")]
    return [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason', '')}" for e in failed[::-1]]
