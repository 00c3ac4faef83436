"""From a package to a stage that serves: CloudFormation, with the migrations before the traffic.

CloudFormation is asked twice. First for what is deployed already, with only the migrate function
replaced by the new one; that function then brings the database to the new version, while the old
one goes on serving. Then for all of the new version. What only the old one needed of the database
is taken back last. Each step may be done again, so a deployment that was interrupted anywhere is
simply run again.
"""

import copy
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from decanter.deployment import template
from decanter.package import Package

Json = dict[str, Any]
Aws = Callable[[str], Any]
"""The boto3 client of a service."""

MIGRATE, MIGRATE_ROLE = template.MIGRATE
SECRETS = ("DatabaseUrlSecret", *(f"{kind.capitalize()}UrlSecret" for kind in template.KINDS))
"""Parameters that name secrets, which have to be there before the stack is."""

_LOOPBACK = ("127.0.0.1", "localhost")
_PAUSE_SECONDS = 1.0
_BUSY_SECONDS = 60.0
_QUIET_SECONDS = 30.0  # for which API Gateway may still have a request of the version before
_POURED_SECONDS = 120.0
_FAILED_AT_FIRST = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")
_MOST_TEMPLATE_BYTES = 51_200
_SUBSTITUTED = re.compile(r"\$\{([A-Za-z0-9]+)[.}]")


class DeploymentError(Exception):
    """CloudFormation, a migration or the smoke test failed."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack and its outputs. api_url: without a slash at the end."""

    name: str
    outputs: dict[str, str]
    api_url: str

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


@dataclass(frozen=True)
class Plan:
    """What is to be deployed, and how.

    name: of the stack. parameters: of the template; those that are left out keep their values.
    force: migrate even if queued messages break. shows_sql: say what a migration does. adjust:
    changes the template before it is uploaded. settle: called after each change of the stack, with
    its outputs. fits: is told what the database grants; raises DeploymentError.
    """

    package: Package
    name: str
    bucket: str
    parameters: Mapping[str, str]
    force: bool = False
    shows_sql: bool = False
    adjust: Callable[[Json], None] = lambda _document: None
    settle: Callable[[Mapping[str, str]], None] = lambda _outputs: None
    fits: Callable[[Mapping[str, Any]], None] = lambda _granted: None


def deploy(aws: Aws, plan: Plan, say: Callable[[str], None] = lambda _line: None) -> Stack:
    """Create the stack or update it, its database first.

    Raises DeploymentError with the reasons that CloudFormation or the migration gives; what served
    before goes on serving.
    """
    say("uploading the code")
    document = upload(aws, plan.package, plan.bucket, plan.adjust)
    await_end(aws, plan.name, say)
    present = deployed_template(aws, plan.name)
    version = secrets_version(aws, plan, present)
    say("deploying the migrate function")
    step = only_migrate(document, present, version)
    outputs = apply(aws, plan.name, plan.bucket, step, plan.parameters)
    plan.settle(outputs)
    function = outputs[f"{MIGRATE}Function"]
    granted = invoke(aws, function, {"budget": True})
    plan.fits(granted)
    later = _migrate(aws, plan, function, outputs, granted["role_sessions"], say)
    say("deploying all functions, queues and alarms")
    values = {**plan.parameters, "SecretsVersion": version}
    outputs = apply(aws, plan.name, plan.bucket, document, values)
    plan.settle(outputs)
    if later:
        _take_back(aws, outputs, later, say)
    return Stack(plan.name, outputs, api_url(aws, outputs, document))


def _take_back(
    aws: Aws, outputs: Mapping[str, str], later: list[str], say: Callable[[str], None]
) -> None:
    """Have the migrate function take back what only the version before needed, once nothing of that
    one's is queued; the next deployment does what this one cannot."""
    say("taking back what only the version before needed in the database")
    quiet = 0.0 if is_local(aws) else _QUIET_SECONDS
    began = last = time.monotonic()
    while (now := time.monotonic()) < began + _POURED_SECONDS:
        if queued(aws, outputs):
            last = now
        elif now >= last + quiet:
            answer = invoke(aws, outputs[f"{MIGRATE}Function"], {"revoke": True})
            for line in notes(answer):
                say(line)
            later = answer.get("later", [])
            break
        time.sleep(_PAUSE_SECONDS)
    for line in kept(later):
        say(line)


def kept(later: list[str]) -> list[str]:
    """What to tell of rights that are to be taken back later."""
    if not later:
        return []
    return [
        "note: a version that still runs, or has messages queued, may need what this takes back:",
        *(f"  {statement}" for statement in later),
        "  `python -m decanter migrate --revoke` does, once the messages of that version are"
        " poured; so does the next deployment that finds the queues empty.",
    ]


def notes(answer: Mapping[str, Any]) -> list[str]:
    """What the migrate function has to tell of what it did, in lines."""
    return [
        f"{kind[:-1]}: {line}" for kind in ("notes", "warnings") for line in answer.get(kind, [])
    ]


def _migrate(
    aws: Aws,
    plan: Plan,
    function: str,
    outputs: Mapping[str, str],
    sessions: int,
    say: Callable[[str], None],
) -> list[str]:
    """Returns what is to be taken back when the new version serves. sessions: of the roles."""
    would = invoke(aws, function, {"dry_run": True})
    pending = would.get("pending", [])
    if pending:
        say(f"migrating the database: {', '.join(pending)}")
        if plan.shows_sql:
            say(would.get("sql", "").strip())
    else:
        say("migrating the database: no revision is missing")
    event: Json = {"force": True} if plan.force else {}
    if pending and not plan.force and _same_contract(aws, plan, outputs):
        event["queued"] = queued(aws, outputs)
    # Nothing serves that could be locked out, of this stack and of others with this database.
    if f"{template.API[0]}Function" not in outputs and (is_local(aws) or not sessions):
        event["new_passwords"] = True
    answer = invoke(aws, function, event)
    for line in notes(answer):
        say(line)
    return list(answer.get("later", []))


def _same_contract(aws: Aws, plan: Plan, outputs: Mapping[str, str]) -> bool:
    """Whether the version that runs accepts what the new one does: then only messages that wait
    could be broken by a migration. A stack without an API accepts nothing."""
    function = outputs.get("APIHandlerFunction")
    return function is None or served_contract(aws, function) == committed_contract(plan.package)


def queued(aws: Aws, outputs: Mapping[str, str]) -> int:
    """Messages on the queues and the dead-letter queues of a stack."""
    client = aws("sqs")
    names = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    total = 0
    for output in template.queue_outputs():
        if output in outputs:
            found = client.get_queue_attributes(QueueUrl=outputs[output], AttributeNames=names)
            total += sum(int(found["Attributes"][name]) for name in names)
    return total


def invoke(aws: Aws, function: str, event: Mapping[str, Any]) -> Json:
    """What the migrate function answers; another deployment that has it at work is waited for.
    Raises DeploymentError with its reason."""
    from botocore.exceptions import ClientError

    client, deadline = aws("lambda"), time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
            break
        except ClientError as error:  # which was not begun: one container is all it may have
            if error.response["Error"]["Code"] != "TooManyRequestsException":
                raise
            if time.monotonic() >= deadline:
                raise DeploymentError(
                    f"The migrate function is at work for another deployment ({error}). Run this"
                    " again when that has ended."
                ) from error
            time.sleep(_PAUSE_SECONDS)
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        reason = payload.get("errorMessage", payload) if isinstance(payload, dict) else payload
        raise DeploymentError(f"The migrate function failed, and nothing else changed: {reason}")
    return payload if isinstance(payload, dict) else {}


def served_contract(aws: Aws, function: str) -> Any:
    """The contract that a deployed API function serves, asked without the gateway, which would want
    a token; None: it does not answer."""
    event = gateway_event("GET", "/openapi.json", {}, None, scope="*:read")
    answer = aws("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    if answer.get("FunctionError"):
        return None
    payload = json.loads(answer["Payload"].read())
    return json.loads(payload["body"]) if payload.get("statusCode") == 200 else None


def gateway_event(
    method: str, resource: str, parameters: Mapping[str, str], body: str | None, scope: str
) -> Json:
    """What API Gateway would hand over of a caller with that scope. resource: path of the route,
    with parameters in braces."""
    path = resource.format(**parameters)
    subject = "decanter-deploy"
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": {"content-type": "application/json"},
        "multiValueHeaders": {"content-type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": dict(parameters) or None,
        "stageVariables": None,
        "requestContext": {
            "httpMethod": method,
            "resourcePath": resource,
            "authorizer": {
                "principalId": subject,
                "iss": subject,
                "sub": subject,
                "scope": scope,
                "exp": "9999999999",
            },
            "identity": {"userArn": f"arn:aws:iam::000000000000:user/{subject}"},
        },
        "body": body,
        "isBase64Encoded": False,
    }


def committed_contract(package: Package) -> Any:
    """The contract that is in the package."""
    import zipfile

    with zipfile.ZipFile(package.code) as archive:
        return json.loads(archive.read("chalicelib/contract.json"))


def upload(
    aws: Aws, package: Package, bucket: str, adjust: Callable[[Json], None] = lambda _: None
) -> Json:
    """Put the zips into S3 under the hash of their content; returns the template that names them
    there."""
    document = package.template
    adjust(document)
    ours = _ours(aws, bucket)
    uploaded: dict[str, str] = {}
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        for member in ("CodeUri", "ContentUri"):
            path = properties.get(member)
            if not isinstance(path, str) or path.startswith("s3://"):
                continue
            if path not in uploaded:
                uploaded[path] = _put(aws("s3"), ours, package.folder / path)
            properties[member] = f"s3://{bucket}/{uploaded[path]}"
    return document


def only_migrate(new: Json, deployed: Json | None, secrets_version: str) -> Json:
    """The deployed template with the migrate function of the new one; without a deployed one, as
    much of the new one as the migrate function needs.

    secrets_version: told to that function alone; the others keep the passwords that the database
    has until the migration has set new ones.
    """
    base: Json = copy.deepcopy(deployed) if deployed else _empty(new)
    resources = new["Resources"]
    migrate = copy.deepcopy(resources[MIGRATE])
    migrate["Properties"]["Environment"]["Variables"]["DECANTER_SECRETS_VERSION"] = secrets_version
    for layer in migrate["Properties"].get("Layers", []):
        name = layer.get("Ref") if isinstance(layer, dict) else None
        theirs = base["Resources"].get(name)
        if name in resources and theirs is not None and theirs != resources[name]:
            base["Resources"][f"{MIGRATE}{name}"] = copy.deepcopy(resources[name])
            layer["Ref"] = f"{MIGRATE}{name}"
    base["Resources"][MIGRATE] = migrate
    base["Resources"][MIGRATE_ROLE] = copy.deepcopy(resources[MIGRATE_ROLE])
    base.setdefault("Outputs", {})[f"{MIGRATE}Function"] = {"Value": {"Ref": MIGRATE}}
    while missing := [
        (section, name)
        for name in {*_references(base["Resources"]), *_references(base.get("Conditions", {}))}
        for section in ("Parameters", "Conditions", "Resources")
        if name in new.get(section, {}) and name not in base.get(section, {})
    ]:
        for section, name in missing:
            base.setdefault(section, {})[name] = copy.deepcopy(new[section][name])
    return base


def _empty(new: Json) -> Json:
    kept: Json = {
        name: new[name] for name in ("AWSTemplateFormatVersion", "Transform") if name in new
    }
    return {**kept, "Resources": {}}


def _references(part: Any) -> Iterator[str]:
    """Names that a part of a template refers to: of parameters, conditions and resources."""
    if isinstance(part, list):
        for each in part:
            yield from _references(each)
    if not isinstance(part, dict):
        return
    for name, value in part.items():
        if name in ("Ref", "Condition", "DependsOn") and isinstance(value, str):
            yield value
        elif name == "DependsOn" and isinstance(value, list):
            yield from value
        elif name == "Fn::GetAtt":
            yield value[0] if isinstance(value, list) else value.split(".")[0]
        elif name == "Fn::If":
            yield value[0]
        elif name == "Fn::Sub":
            yield from _SUBSTITUTED.findall(value if isinstance(value, str) else value[0])
        yield from _references(value)


def deployed_template(aws: Aws, name: str) -> Json | None:
    """The template of a stack, as it was given; None: there is no stack, or none that served."""
    status = state(aws, name)
    if status is None or status in _FAILED_AT_FIRST:
        return None
    body = aws("cloudformation").get_template(StackName=name, TemplateStage="Original")
    found = body["TemplateBody"]
    document: Json = json.loads(found if isinstance(found, str) else json.dumps(found))
    return document


def state(aws: Aws, name: str) -> str | None:
    """CloudFormation's status of a stack; None: there is none."""
    from botocore.exceptions import ClientError

    try:
        stacks = aws("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    status = stacks[0]["StackStatus"] if stacks else None
    return None if status == "DELETE_COMPLETE" else status


def await_end(aws: Aws, name: str, say: Callable[[str], None] = lambda _line: None) -> str | None:
    """Wait for what CloudFormation still does to a stack, of a deployment that was interrupted."""
    told = False
    while (status := state(aws, name)) and status.endswith("_IN_PROGRESS"):
        if status == "REVIEW_IN_PROGRESS":  # a change set that nobody executed
            break
        if not told:
            say(f"waiting for CloudFormation: {name} is {status}")
        told = True
        time.sleep(_PAUSE_SECONDS)
    return status


def secrets_version(aws: Aws, plan: Plan, present: Json | None) -> str:
    """Another text whenever a secret has another value: then its functions are updated."""
    client = aws("secretsmanager")
    digest = hashlib.sha256()
    made = outputs_of(aws, plan.name).get("ReceiptKeySecret", "") if present else ""
    for secret in (*secret_names(aws, plan, present).values(), made):
        if secret:
            found = client.describe_secret(SecretId=secret)
            versions = found.get("VersionIdsToStages", {})
            digest.update(f"{secret}={_current(versions)}\n".encode())
    return digest.hexdigest()[:16]


def secret_names(aws: Aws, plan: Plan, present: Json | None) -> dict[str, str]:
    """The secrets that the stack reads, by parameter; empty: none."""
    parameters = plan.package.template["Parameters"]
    before = parameters_of(aws, plan.name) if present else {}
    return {
        name: str(plan.parameters.get(name, before.get(name, parameters[name].get("Default", ""))))
        for name in (*SECRETS, "ReceiptKeySecret")
        if name in parameters
    }


def _current(versions: Mapping[str, list[str]]) -> str:
    return next((each for each, stages in versions.items() if "AWSCURRENT" in stages), "")


def parameters_of(aws: Aws, name: str) -> dict[str, str]:
    """The values of a stack's parameters."""
    stack = aws("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}


def apply(
    aws: Aws,
    name: str,
    bucket: str,
    document: Json,
    values: Mapping[str, str],
) -> dict[str, str]:
    """Create or update a stack, and wait; returns its outputs. Raises DeploymentError.

    values: of parameters; those that the template does not have are left out, and of those that are
    not given the previous values are kept.
    """
    from botocore.exceptions import ClientError, WaiterError

    client = aws("cloudformation")
    status = await_end(aws, name)
    if status in _FAILED_AT_FIRST:
        client.delete_stack(StackName=name)
        client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=_wait())
        status = None
    before = parameters_of(aws, name) if status else {}
    request = {
        "StackName": name,
        **_body(aws, bucket, document),
        "Parameters": _parameters(document, values, before),
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    kind = "update" if status else "create"
    since = _last_event(client, name) if status else None
    try:
        (client.update_stack if status else client.create_stack)(**request)
        client.get_waiter(f"stack_{kind}_complete").wait(StackName=name, WaiterConfig=_wait())
    except (ClientError, WaiterError) as error:
        if "No updates are to be performed" not in str(error):
            reasons = "\n".join(_failures(client, name, since)) or str(error)
            raise DeploymentError(f"CloudFormation could not deploy {name}:\n{reasons}") from error
    return outputs_of(aws, name)


def outputs_of(aws: Aws, name: str) -> dict[str, str]:
    """The outputs of a stack."""
    stack = aws("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def api_url(aws: Aws, outputs: Mapping[str, str], document: Json) -> str:
    """Where the API of a stack is; on the local cloud it has no host name of its own."""
    endpoint = str(aws("apigateway").meta.endpoint_url)
    if is_local(aws):
        stage = document["Resources"]["RestAPI"]["Properties"]["StageName"]
        return f"{endpoint}/restapis/{outputs['RestAPIId']}/{stage}/_user_request_"
    return outputs["EndpointURL"].rstrip("/")


def is_local(aws: Aws) -> bool:
    """Whether it is the local cloud that is asked."""
    return urlsplit(str(aws("apigateway").meta.endpoint_url)).hostname in _LOOPBACK


def ensure_bucket(aws: Aws, name: str | None = None) -> str:
    """The bucket for code, made if it is missing: private, as S3 makes them."""
    from botocore.exceptions import ClientError

    client = aws("s3")
    region = client.meta.region_name
    bucket = name or f"decanter-{_account(aws)}-{region}"
    try:
        client.head_bucket(**_ours(aws, bucket))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise DeploymentError(
                f"The bucket {bucket} is not ours: {error}. Name another one with --bucket."
            ) from error
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client.create_bucket(Bucket=bucket, **({} if region == "us-east-1" else place))
    return bucket


def _account(aws: Aws) -> str:
    return str(aws("sts").get_caller_identity()["Account"])


def _ours(aws: Aws, bucket: str) -> dict[str, str]:
    """Of each call to S3: names of buckets can be guessed, and anybody's who comes first."""
    return {"Bucket": bucket, "ExpectedBucketOwner": _account(aws)}


def _body(aws: Aws, bucket: str, document: Json) -> dict[str, str]:
    """CloudFormation takes longer templates from S3 only."""
    text = json.dumps(document)
    if len(text.encode()) <= _MOST_TEMPLATE_BYTES:
        return {"TemplateBody": text}
    client = aws("s3")
    key = f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    client.put_object(**_ours(aws, bucket), Key=key, Body=text.encode())
    endpoint = urlsplit(str(client.meta.endpoint_url))
    if endpoint.hostname in _LOOPBACK:
        return {"TemplateURL": f"{endpoint.geturl()}/{bucket}/{key}"}
    return {"TemplateURL": f"https://{bucket}.{endpoint.netloc}/{key}"}


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
    given = [
        {"ParameterKey": key, "ParameterValue": value}
        for key, value in values.items()
        if key in known
    ]
    kept = [
        {"ParameterKey": key, "UsePreviousValue": True}
        for key in known
        if key in before and key not in values
    ]
    return given + kept


def _wait() -> dict[str, int]:
    return {"Delay": 1, "MaxAttempts": 3600}


def _last_event(client: Any, name: str) -> str | None:
    events = client.describe_stack_events(StackName=name)["StackEvents"]
    return events[0]["EventId"] if events else None


def _failures(client: Any, name: str, since: str | None) -> list[str]:
    """Why CloudFormation gave up, in the order of time. since: the last event before it began."""
    from botocore.exceptions import ClientError

    try:
        events = client.describe_stack_events(StackName=name)["StackEvents"]
    except ClientError:
        return []
    found: list[str] = []
    for event in events:
        if event["EventId"] == since:
            break
        if event["ResourceStatus"].endswith("_FAILED"):
            reason = event.get("ResourceStatusReason", "")
            found.append(f"{event['LogicalResourceId']}: {reason}")
    return found[::-1]
