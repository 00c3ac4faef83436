"""What would make a deployment fail, or a stage that is deployed lose or refuse writes.

Everything here only looks; whoever deploys asks before anything is changed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib.errors import NotConfigured
from chalicelib.settings import (
    backlog_limit_seconds,
    message_bytes,
    parent_patience_seconds,
    queue_bytes,
)
from decanter.deployment import cloudformation, functions, invocation, stage, template
from decanter.deployment.aws import Aws
from decanter.deployment.deploy import DeploymentPlan
from decanter.deployment.findings import DeploymentError, Finding, PreflightFailed, refuse
from decanter.deployment.functions import QUEUES
from decanter.deployment.references import Json
from decanter.deployment.stage import PLACE, Stage

LEAST_MAPPING_CAP = 2  # AWS takes no MaximumConcurrency below
_STUCK = ("UPDATE_ROLLBACK_FAILED", "DELETE_FAILED", "IMPORT_ROLLBACK_FAILED")
_LEAST_UNRESERVED = 100  # AWS keeps as much for functions without a reservation

_SETTINGS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "message-bytes": message_bytes,
    "backlog-limit": backlog_limit_seconds,
    "parent-patience": parent_patience_seconds,
}
"""What the functions read of their variables when they are at work already, by finding."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}")  # a stack's name; queues have 80 with endings


def load(project: Path, name: str) -> Stage:
    """The stage of that name. Raises PreflightFailed for one that cannot be deployed."""
    try:
        found = stage.load(project, name)
    except stage.ConfigurationError as error:
        raise PreflightFailed([Finding("stage", str(error))]) from None
    refuse(configuration(found))
    return found


def configuration(stage: Stage) -> Iterator[Finding]:
    """Of what ``.chalice/config.json`` says of a stage."""
    holders = [each.name for each in functions.holders()]
    for name in sorted(stage.in_vpc - {*holders}):
        yield Finding(
            "vpc-on-request-path",
            f"the function {name} of stage {stage.name!r} has subnets. It answers requests, needs"
            " no database, and would reach no queue from a VPC without NAT: move subnet_ids and"
            f" security_group_ids to {', '.join(holders)} in {PLACE}.",
        )
    drains = [stage.variables(drain) for drain, _queue in functions.drains()]
    if any("DECANTER_PARTIAL_RESPONSES" in variables for variables in drains):
        yield Finding(
            "partial-responses-in-configuration",
            f"DECANTER_PARTIAL_RESPONSES is set in {PLACE}. A new mapping has no partial responses,"
            " and would delete messages that were not poured: take it out. The template sets it,"
            " or `python -m decanter partial-responses`.",
        )
    for name, read in _SETTINGS.items():
        try:
            for function in functions.FUNCTIONS:
                read(stage.variables(function))
        except NotConfigured as error:
            yield Finding(name, f"{error}, in {PLACE}.")
    # After the prefix, everything of a stage is called, its stack and its secrets too.
    if not _PREFIX.fullmatch(stage.prefix):
        yield Finding(
            "prefix",
            f"DECANTER_QUEUES of stage {stage.name!r} is {stage.prefix!r}, after which its stack is"
            " called as well: set it to a letter, and up to 59 letters, digits and hyphens.",
        )
    for other, settings in stage.configuration["stages"].items():
        taken = settings.get("environment_variables", {}).get("DECANTER_QUEUES")
        if other != stage.name and taken == stage.prefix:
            yield Finding(
                "prefix-taken",
                f"the stages {stage.name!r} and {other!r} both have DECANTER_QUEUES"
                f" {stage.prefix!r} in {PLACE}: one would be deployed over the other. Set another"
                " one.",
            )


def caps(document: Json) -> Iterator[Finding]:
    """Of the caps in a packaged template."""
    for drain, _queue in functions.drains():
        name, properties = drain.name, document["Resources"][drain.logical]["Properties"]
        [event] = [each for each in properties["Events"].values() if each.get("Type") != "Schedule"]
        cap = event["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency")
        reserved = properties.get("ReservedConcurrentExecutions")
        if cap is None or cap < LEAST_MAPPING_CAP:
            yield Finding(
                "mapping-cap",
                f"the queue of {name} has maximum_concurrency={cap} in app.py; AWS takes no less"
                f" than {LEAST_MAPPING_CAP}, and without any the drain is not capped. Set it to"
                f" {LEAST_MAPPING_CAP} or more.",
            )
        elif reserved is not None and reserved < cap:
            yield Finding(
                "reserved-below-cap",
                f"{name} has reserved_concurrency={reserved} in {PLACE}, below"
                f" maximum_concurrency={cap} in app.py: SQS would hand out messages that no"
                " container takes, until they are dead letters. Set reserved_concurrency to"
                f" {cap} or more.",
            )
    for holder in functions.holders():
        properties = document["Resources"][holder.logical]["Properties"]
        if not properties.get("ReservedConcurrentExecutions"):
            yield Finding(
                "no-cap",
                f"{holder.name} holds a database connection and has no reserved_concurrency in"
                f" {PLACE}: nothing limits its connections. Set one.",
            )


def visibility(document: Json, seconds: int) -> Iterator[Finding]:
    """Of the queues' visibility timeout."""
    for drain, _queue in functions.drains():
        timeout = document["Resources"][drain.logical]["Properties"]["Timeout"]
        if seconds < (least := template.least_visibility(timeout)):
            yield Finding(
                "visibility-below-timeout",
                f"VisibilityTimeout is {seconds} s, and {drain.name} may start late and run for"
                f" {timeout} s: a message would be handed out again while it is being poured. Set"
                f" it to {least} or more.",
            )


def online(aws: Aws, plan: DeploymentPlan) -> list[Finding]:
    """The caps, and if they are in order what AWS knows: credentials, the stack, secrets,
    parameters, queues, and the database."""
    if findings := [*caps(plan.package.template)]:
        return findings
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        aws("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return [
            Finding("credentials", f"AWS does not know who asks: {error} Log in, or assume a role.")
        ]
    status = cloudformation.state(aws, plan.name)
    if status in _STUCK:
        return [
            Finding(
                "stack-stuck",
                f"the stack {plan.name} is {status}. See its events; then `aws cloudformation"
                f" continue-update-rollback --stack-name {plan.name}`.",
            )
        ]
    present = cloudformation.deployed_template(aws, plan.name)
    values = plan.values(aws, present)
    findings = [*_parameters(plan, values)]
    if not findings:
        document = plan.package.template
        findings += visibility(document, int(values["VisibilityTimeout"] or 0))
        findings += _secrets(aws, values)
    outputs = cloudformation.outputs_of(aws, plan.name) if present else {}
    names = [outputs.get(each.output) for each in functions.FUNCTIONS]
    findings += concurrency(aws, plan.package.template, filter(None, names))
    if "OrderedQueueUrl" not in outputs:
        findings += _taken(aws, plan.name)
    if function := outputs.get(functions.function("migrate").output):
        try:
            findings += plan.judge(invocation.invoke(aws, function, {"budget": True}))
        except DeploymentError as error:
            text = (
                f"{error} If it is out of reach, see the URL in the secret, and the subnets and"
                f" security groups of the functions in {PLACE}."
            )
            findings.append(Finding("database", text))
    return findings


def concurrency(aws: Aws, document: Json, deployed: Iterable[str]) -> Iterator[Finding]:
    """Whether Lambda has left to reserve what the functions reserve.

    deployed: those that are there; what they have reserved is theirs.
    """
    client = aws("lambda")
    account = client.get_account_settings()["AccountLimit"]
    limit, unreserved = account["ConcurrentExecutions"], account["UnreservedConcurrentExecutions"]
    wanted = sum(
        document["Resources"]
        .get(each.logical, {})
        .get("Properties", {})
        .get("ReservedConcurrentExecutions", 0)
        for each in functions.FUNCTIONS
    )
    held = sum(_reserved(client, function) for function in deployed)
    least = min(_LEAST_UNRESERVED, limit)
    if wanted > held and unreserved + held - wanted < least:
        others = limit - unreserved - held
        yield Finding(
            "concurrency",
            f"the functions reserve {wanted} concurrent executions. This account may have {limit}"
            f" in this region; others reserve {others}, and AWS keeps {least} for functions that"
            f" reserve none: {max(0, limit - others - least)} are left. Have the quota raised to"
            f" {others + wanted + _LEAST_UNRESERVED} or more (Service Quotas, AWS Lambda,"
            f" Concurrent executions), or lower the caps (reserved_concurrency in {PLACE}, and"
            f" maximum_concurrency in app.py): {len(functions.holders()) + LEAST_MAPPING_CAP} is"
            " the least.",
        )


def _reserved(client: Any, function: str) -> int:
    try:
        found = client.get_function_concurrency(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return 0
    return int(found.get("ReservedConcurrentExecutions", 0))


def plain(aws: Aws, document: Json, prefix: str, application: str) -> list[Finding]:
    """The caps, and if they are in order what Lambda has left for the functions of ``chalice
    deploy``, and the queues that they expect.

    application: its name and the stage, with which the functions' names begin.
    """
    if findings := [*caps(document)]:
        return findings
    names = [each.deployed_name(application) for each in functions.FUNCTIONS]
    findings = [*concurrency(aws, document, names)]
    for each in QUEUES:
        found = _plain_queue(aws("sqs"), document, f"{prefix}-{each.suffix}")
        findings += [finding for finding in found if finding not in findings]
    return findings


def _plain_queue(client: Any, document: Json, queue: str) -> Iterator[Finding]:
    api = document["Resources"][functions.function("api").logical]["Properties"]
    bytes_ = queue_bytes(message_bytes(api.get("Environment", {}).get("Variables", {})))
    try:
        url = client.get_queue_url(QueueName=queue)["QueueUrl"]
    except client.exceptions.QueueDoesNotExist:
        yield Finding("queue-missing", _missing_queue(client, queue))
        return
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    if "RedrivePolicy" not in found:
        yield Finding(
            "no-dead-letters",
            f"the queue {queue} has no dead-letter queue: a message that never can be poured would"
            " come back until it is lost. `python -m decanter queues` makes both.",
        )
    if int(found["MaximumMessageSize"]) < bytes_:
        yield Finding(
            "message-size",
            f"the queue {queue} takes messages of {found['MaximumMessageSize']} bytes; the API"
            " would send larger ones, which it refuses. `aws sqs set-queue-attributes --queue-url"
            f" {url} --attributes MaximumMessageSize={bytes_}`, and for its dead-letter queue as"
            " well; or set DECANTER_MESSAGE_BYTES in environment_variables in"
            f" {PLACE} to what it takes, less 5 %.",
        )
    yield from visibility(document, int(found["VisibilityTimeout"]))


def _missing_queue(client: Any, queue: str) -> str:
    other = queue.removesuffix(".fifo") if queue.endswith(".fifo") else f"{queue}.fifo"
    cure = "`python -m decanter queues` makes it."
    try:
        client.get_queue_url(QueueName=other)
    except client.exceptions.QueueDoesNotExist:
        return f"there is no queue {queue}. {cure}"
    kind = "FIFO" if queue.endswith(".fifo") else "standard"
    return (
        f"there is no queue {queue}, and {other} is of the wrong type: it has to be a {kind} queue."
        f" {cure}"
    )


def _taken(aws: Aws, prefix: str) -> Iterator[Finding]:
    client = aws("sqs")
    for each in QUEUES:
        queue = f"{prefix}-{each.suffix}"
        try:
            client.get_queue_url(QueueName=queue)
        except client.exceptions.QueueDoesNotExist:
            continue
        yield Finding(
            "queue-taken",
            f"there is a queue {queue} already, which is not the stack's: of `python -m decanter"
            " queues`, or of a stack that was deleted (its queues stay). Import it into the stack,"
            " or delete it when it is empty, or choose another DECANTER_QUEUES.",
        )


def _parameters(plan: DeploymentPlan, values: Mapping[str, str | None]) -> Iterator[Finding]:
    known = plan.package.template["Parameters"]
    for name in sorted({*plan.parameters} - {*known}):
        yield Finding(
            "unknown-parameter",
            f"there is no parameter {name}; there are {', '.join(sorted(known))}.",
        )
    for name, value in values.items():
        if value is None:
            yield Finding(
                "missing-parameter",
                f"the parameter {name} has no value: {known[name]['Description']} Give it as"
                f" --parameter {name}=VALUE.",
            )
        elif known[name]["Type"] == "Number" and not value.isdecimal():
            yield Finding(
                "parameter",
                f"the parameter {name} is {value!r}. Give it a whole number: {name}=NUMBER.",
            )


def _secrets(aws: Aws, values: Mapping[str, str | None]) -> Iterator[Finding]:
    from chalicelib.postgres.connecting.access import objection

    client = aws("secretsmanager")
    for parameter in functions.secret_parameters():
        if not (secret := values[parameter]):
            continue
        try:
            value = client.get_secret_value(SecretId=secret)["SecretString"]
        except client.exceptions.ResourceNotFoundException:
            yield Finding("missing-secret", missing_secret(parameter, secret))
            continue
        if parameter != "ReceiptKeySecret" and (why := objection(value)):
            yield Finding("unsafe-url", f"of the secret {secret}: {why}")


def missing_secret(parameter: str, secret: str) -> str:
    """What to do about a secret that is not there. parameter: of the template."""
    if parameter in ("DatabaseUrlSecret", "ReceiptKeySecret"):
        what = "the URL of the database" if parameter.startswith("D") else "the key of receipts"
        cure = (
            f"`aws secretsmanager create-secret --name {secret} --secret-string file://FILE` with"
            f" {what} in FILE"
        )
    else:
        cure = "`python -m decanter secrets` makes it of the owner's URL"
    return f"there is no secret {secret} ({parameter}): {cure}."
