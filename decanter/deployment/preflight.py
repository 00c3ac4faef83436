"""What would make a deployment fail, or a stage that is deployed lose or refuse writes.

Everything here only looks; whoever deploys asks before anything is changed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.errors import NotConfigured
from chalicelib.settings import (
    backlog_limit_seconds,
    message_bytes,
    parent_patience_seconds,
    queue_bytes,
)
from decanter.deployment import deploy, template
from decanter.deployment.deploy import Aws, Plan
from decanter.package import Package

Json = dict[str, Any]

LEAST_MAPPING_CAP = 2  # AWS takes no MaximumConcurrency below
_STUCK = ("UPDATE_ROLLBACK_FAILED", "DELETE_FAILED", "IMPORT_ROLLBACK_FAILED")
_PLACE = ".chalice/config.json"
_LEAST_UNRESERVED = 100  # AWS keeps as much for functions without a reservation
DRAINS = {"drain_ordered": "ordered.fifo", "drain_unordered": "unordered"}


class Fault(NamedTuple):
    """Why something is not deployed. name: stays the same; text: what is wrong, and the cure."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


_SETTINGS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "message-bytes": message_bytes,
    "backlog-limit": backlog_limit_seconds,
    "parent-patience": parent_patience_seconds,
}
"""What the functions read of their variables when they are at work already, by fault."""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}")  # a stack's name; queues have 80 with endings

Judge = Callable[[Mapping[str, Any]], list[Fault]]
"""What is wrong with what the database grants, as the migrate function answers it."""


def configuration(project: Path, stage: str) -> list[Fault]:
    """Of the stage in ``.chalice/config.json``; nothing is packaged or asked for it."""
    try:
        found = template.stage(project, stage)
    except template.ConfigurationError as error:
        return [Fault("stage", str(error))]
    variables = template.stage_configuration(project, stage).get("environment_variables", {})
    faults = [
        Fault(
            "vpc-on-request-path",
            f"the function {name} of stage {stage!r} has subnets. It answers requests, needs no"
            " database, and would reach no queue from a VPC without NAT: move subnet_ids and"
            f" security_group_ids to {', '.join(template.HOLDERS)} in {_PLACE}.",
        )
        for name in sorted(found.in_vpc - {*template.HOLDERS})
    ]
    if "DECANTER_PARTIAL_RESPONSES" in variables or any(
        "DECANTER_PARTIAL_RESPONSES"
        in (template.function_setting(project, stage, name, "environment_variables") or {})
        for name in DRAINS
    ):
        faults.append(
            Fault(
                "partial-responses-in-configuration",
                f"DECANTER_PARTIAL_RESPONSES is set in {_PLACE}. A new mapping has no partial"
                " responses, and would delete messages that were not poured: take it out."
                " The template sets it, or `python -m decanter partial-responses`.",
            )
        )
    for name, read in _SETTINGS.items():
        for function in template.FUNCTIONS:
            own = template.function_setting(project, stage, function, "environment_variables")
            try:
                read({**variables, **(own or {})})
            except NotConfigured as error:
                faults.append(Fault(name, f"{error}, in {_PLACE}."))
                break
    return faults + _prefix(project, stage, found.prefix)


def _prefix(project: Path, stage: str, prefix: str) -> list[Fault]:
    """Of the name that everything of a stage has, its stack and its secrets too."""
    faults = []
    if not _PREFIX.fullmatch(prefix):
        faults.append(
            Fault(
                "prefix",
                f"DECANTER_QUEUES of stage {stage!r} is {prefix!r}, after which its stack is called"
                " as well: set it to a letter, and up to 59 letters, digits and hyphens.",
            )
        )
    for other, settings in template.configuration(project)["stages"].items():
        taken = settings.get("environment_variables", {}).get("DECANTER_QUEUES")
        if other != stage and taken == prefix:
            faults.append(
                Fault(
                    "prefix-taken",
                    f"the stages {stage!r} and {other!r} both have DECANTER_QUEUES {prefix!r} in"
                    f" {_PLACE}: one would be deployed over the other. Set another one.",
                )
            )
    return faults


def caps(document: Json) -> list[Fault]:
    """Of the caps in a packaged template."""
    return [*_caps(document)]


def _caps(document: Json) -> Iterator[Fault]:
    for name in DRAINS:
        properties = document["Resources"][template.FUNCTIONS[name][0]]["Properties"]
        [event] = [each for each in properties["Events"].values() if each.get("Type") != "Schedule"]
        cap = event["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency")
        reserved = properties.get("ReservedConcurrentExecutions")
        if cap is None or cap < LEAST_MAPPING_CAP:
            yield Fault(
                "mapping-cap",
                f"the queue of {name} has maximum_concurrency={cap} in app.py; AWS takes no less"
                f" than {LEAST_MAPPING_CAP}, and without any the drain is not capped. Set it to"
                f" {LEAST_MAPPING_CAP} or more.",
            )
        elif reserved is not None and reserved < cap:
            yield Fault(
                "reserved-below-cap",
                f"{name} has reserved_concurrency={reserved} in {_PLACE}, below"
                f" maximum_concurrency={cap} in app.py: SQS would hand out messages that no"
                " container takes, until they are dead letters. Set reserved_concurrency to"
                f" {cap} or more.",
            )
    for name in template.HOLDERS:
        properties = document["Resources"][template.FUNCTIONS[name][0]]["Properties"]
        if not properties.get("ReservedConcurrentExecutions"):
            yield Fault(
                "no-cap",
                f"{name} holds a database connection and has no reserved_concurrency in {_PLACE}:"
                " nothing limits its connections. Set one.",
            )


def visibility(document: Json, seconds: int) -> list[Fault]:
    """Of the queues' visibility timeout."""
    timeouts = {
        name: document["Resources"][template.FUNCTIONS[name][0]]["Properties"]["Timeout"]
        for name in DRAINS
    }
    return [
        Fault(
            "visibility-below-timeout",
            f"VisibilityTimeout is {seconds} s, and {name} may start late and run for {timeout} s:"
            " a message would be handed out again while it is being poured. Set it to"
            f" {template.least_visibility(timeout)} or more.",
        )
        for name, timeout in timeouts.items()
        if seconds < template.least_visibility(timeout)
    ]


def connections(granted: Mapping[str, Any], budget: int) -> list[Fault]:
    """Whether the database grants the budget twice, for while two versions run side by side.

    granted: what the migrate function answers to ``{"budget": true}``.
    """
    reserved = granted["superuser_reserved_connections"] + granted["reserved_connections"]
    left = granted["max_connections"] - reserved - granted["others"]
    if granted.get("database_limit", -1) >= 0:
        left = min(left, granted["database_limit"] - granted["others_of_database"])
    wanted = template.OVERLAP * budget
    if wanted <= left:
        return []
    return [
        Fault(
            "budget",
            f"the functions may hold {budget} connections, and {wanted} while two versions run side"
            f" by side; the database has {left} left (max_connections"
            f" {granted['max_connections']}, {reserved} reserved, {granted['others']} of others)."
            f" Lower the caps in app.py and {_PLACE}, or raise max_connections.",
        )
    ]


def online(aws: Aws, plan: Plan, prefix: str, judge: Judge) -> list[Fault]:
    """What AWS knows: credentials, the stack, secrets, parameters, queues, and the database.

    prefix: of the queues' names. judge: of what the database grants.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        aws("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return [
            Fault("credentials", f"AWS does not know who asks: {error} Log in, or assume a role.")
        ]
    status = deploy.state(aws, plan.name)
    if status in _STUCK:
        return [
            Fault(
                "stack-stuck",
                f"the stack {plan.name} is {status}. See its events; then `aws cloudformation"
                f" continue-update-rollback --stack-name {plan.name}`.",
            )
        ]
    present = deploy.deployed_template(aws, plan.name)
    values = _values(aws, plan, present)
    faults = [*_parameters(plan, values)]
    if not faults:
        document = plan.package.template
        faults += visibility(document, int(values["VisibilityTimeout"] or 0))
        faults += _secrets(aws, plan, present)
    outputs = deploy.outputs_of(aws, plan.name) if present else {}
    names = [outputs.get(f"{logical}Function") for logical, _role in template.FUNCTIONS.values()]
    faults += concurrency(aws, plan.package.template, filter(None, names))
    if "OrderedQueueUrl" not in outputs:
        faults += _taken(aws, prefix)
    if function := outputs.get(f"{deploy.MIGRATE}Function"):
        faults += database(aws, function, judge)
    return faults


def database(aws: Aws, function: str, judge: Judge) -> list[Fault]:
    """Whether the deployed migrate function reaches the database, and that grants the budget."""
    try:
        return judge(deploy.invoke(aws, function, {"budget": True}))
    except deploy.DeploymentError as error:
        return [
            Fault(
                "database",
                f"{error} If it is out of reach, see the URL in the secret, and the subnets and"
                f" security groups of the functions in {_PLACE}.",
            )
        ]


def concurrency(aws: Aws, document: Json, deployed: Iterable[str]) -> list[Fault]:
    """Whether Lambda has left to reserve what the functions reserve.

    deployed: those that are there; what they have reserved is theirs.
    """
    client = aws("lambda")
    account = client.get_account_settings()["AccountLimit"]
    limit, unreserved = account["ConcurrentExecutions"], account["UnreservedConcurrentExecutions"]
    wanted = sum(
        document["Resources"]
        .get(logical, {})
        .get("Properties", {})
        .get("ReservedConcurrentExecutions", 0)
        for logical, _role in template.FUNCTIONS.values()
    )
    held = sum(_reserved(client, function) for function in deployed)
    least = min(_LEAST_UNRESERVED, limit)
    if wanted <= held or unreserved + held - wanted >= least:
        return []
    others = limit - unreserved - held
    return [
        Fault(
            "concurrency",
            f"the functions reserve {wanted} concurrent executions. This account may have {limit}"
            f" in this region; others reserve {others}, and AWS keeps {least} for functions that"
            f" reserve none: {max(0, limit - others - least)} are left. Have the quota raised to"
            f" {others + wanted + _LEAST_UNRESERVED} or more (Service Quotas, AWS Lambda,"
            f" Concurrent executions), or lower the caps (reserved_concurrency in {_PLACE}, and"
            f" maximum_concurrency in app.py): {len(template.HOLDERS) + LEAST_MAPPING_CAP} is the"
            " least.",
        )
    ]


def _reserved(client: Any, function: str) -> int:
    try:
        found = client.get_function_concurrency(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return 0
    return int(found.get("ReservedConcurrentExecutions", 0))


def plain(aws: Aws, document: Json, prefix: str, application: str) -> list[Fault]:
    """The queues that ``chalice deploy`` expects, and what Lambda has left for its functions.

    application: its name and the stage, with which the functions' names begin.
    """
    names = [application, *(f"{application}-{name}" for name in template.FUNCTIONS)]
    faults = concurrency(aws, document, names)
    api = document["Resources"][template.API[0]]["Properties"]
    bytes_ = queue_bytes(message_bytes(api.get("Environment", {}).get("Variables", {})))
    client = aws("sqs")
    for suffix in DRAINS.values():
        queue = f"{prefix}-{suffix}"
        try:
            url = client.get_queue_url(QueueName=queue)["QueueUrl"]
        except client.exceptions.QueueDoesNotExist:
            faults.append(Fault("queue-missing", _missing_queue(client, queue)))
            continue
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        if "RedrivePolicy" not in found:
            faults.append(
                Fault(
                    "no-dead-letters",
                    f"the queue {queue} has no dead-letter queue: a message that never can be"
                    " poured would come back until it is lost. `python -m decanter queues` makes"
                    " both.",
                )
            )
        if int(found["MaximumMessageSize"]) < bytes_:
            faults.append(
                Fault(
                    "message-size",
                    f"the queue {queue} takes messages of {found['MaximumMessageSize']} bytes; the"
                    f" API would send larger ones, which it refuses. `aws sqs set-queue-attributes"
                    f" --queue-url {url} --attributes MaximumMessageSize={bytes_}`, and for its"
                    " dead-letter queue as well; or set DECANTER_MESSAGE_BYTES in"
                    f" environment_variables in {_PLACE} to what it takes, less 5 %.",
                )
            )
        low = visibility(document, int(found["VisibilityTimeout"]))
        faults += [fault for fault in low if fault not in faults]
    return faults


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


def _taken(aws: Aws, prefix: str) -> Iterator[Fault]:
    client = aws("sqs")
    for suffix in DRAINS.values():
        queue = f"{prefix}-{suffix}"
        try:
            client.get_queue_url(QueueName=queue)
        except client.exceptions.QueueDoesNotExist:
            continue
        yield Fault(
            "queue-taken",
            f"there is a queue {queue} already, which is not the stack's: of `python -m decanter"
            " queues`, or of a stack that was deleted (its queues stay). Import it into the stack,"
            " or delete it when it is empty, or choose another DECANTER_QUEUES.",
        )


def _values(aws: Aws, plan: Plan, present: Json | None) -> dict[str, str | None]:
    """Values of the template's parameters; None: there is none."""
    before = deploy.parameters_of(aws, plan.name) if present else {}
    return {
        name: plan.parameters.get(name, before.get(name, _default(parameter)))
        for name, parameter in plan.package.template["Parameters"].items()
    }


def _default(parameter: Json) -> str | None:
    return str(parameter["Default"]) if "Default" in parameter else None


def _parameters(plan: Plan, values: Mapping[str, str | None]) -> Iterator[Fault]:
    known = plan.package.template["Parameters"]
    for name in sorted({*plan.parameters} - {*known}):
        yield Fault("unknown-parameter", f"there is no parameter {name}; there are {_list(known)}.")
    for name, value in values.items():
        if value is None:
            yield Fault(
                "missing-parameter",
                f"the parameter {name} has no value: {known[name]['Description']} Give it as"
                f" --parameter {name}=VALUE.",
            )
        elif known[name]["Type"] == "Number" and not value.isdecimal():
            yield Fault(
                "parameter",
                f"the parameter {name} is {value!r}. Give it a whole number: {name}=NUMBER.",
            )


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))


def _secrets(aws: Aws, plan: Plan, present: Json | None) -> Iterator[Fault]:
    from chalicelib.postgres.connecting.access import objection

    client = aws("secretsmanager")
    for parameter, secret in deploy.secret_names(aws, plan, present).items():
        if not secret:
            continue
        try:
            value = client.get_secret_value(SecretId=secret)["SecretString"]
        except client.exceptions.ResourceNotFoundException:
            yield Fault("missing-secret", missing_secret(parameter, secret))
            continue
        if parameter in deploy.SECRETS and (why := objection(value)):
            yield Fault("unsafe-url", f"of the secret {secret}: {why}")


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


def refuse(faults: list[Fault]) -> None:
    """Raises Refused if there are any."""
    if faults:
        raise Refused(faults)


class Refused(Exception):
    """Something cannot be deployed as it is; nothing was changed."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def offline(project: Path, stage: str, made: Callable[[], Package]) -> Package:
    """Check the configuration, package, and check the caps. Raises Refused and PackagingError."""
    refuse(configuration(project, stage))
    package = made()
    refuse(caps(package.template))
    return package
