"""From a package to a stage that serves: CloudFormation, with the migrations before the traffic.

CloudFormation is asked twice. First for what is deployed already, with only the migrate function
replaced by the new one; that function then brings the database to the new version, while the old
one goes on serving. Then for all of the new version. What only the old one needed of the database
is taken back last. Each step may be done again, so a deployment that was interrupted anywhere is
simply run again.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from decanter.deployment import cloudformation, functions, ministack_gaps, template
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import DeploymentError, Finding
from decanter.deployment.functions import QUEUES
from decanter.deployment.invocation import invoke, served_contract
from decanter.deployment.references import Json
from decanter.package import Package

_PAUSE_SECONDS = 1.0
_QUIET_SECONDS = 30.0  # for which API Gateway may still have a request of the version before
_POURED_SECONDS = 120.0
_API, _MIGRATE = functions.function("api").output, functions.function("migrate").output


@dataclass(frozen=True)
class DeployedStack:
    """A deployed stack and its outputs. api_url: without a slash at the end."""

    name: str
    outputs: dict[str, str]
    api_url: str

    def function(self, name: str) -> str:
        """The deployed name of a function."""
        return self.outputs[functions.function(name).output]

    @property
    def functions(self) -> dict[str, str]:
        """The deployed names of all functions that the stage has."""
        return {
            each.name: self.outputs[each.output]
            for each in functions.FUNCTIONS
            if each.output in self.outputs
        }

    @property
    def queue_urls(self) -> dict[str, str]:
        """URLs of the queues: ordered, unordered, ordered_dlq, unordered_dlq."""
        return {
            **{each.name: self.outputs[f"{each.logical}QueueUrl"] for each in QUEUES},
            **{
                f"{each.name}_dlq": self.outputs[f"{each.logical}DeadLetterQueueUrl"]
                for each in QUEUES
            },
        }


@dataclass(frozen=True)
class DeploymentPlan:
    """What is to be deployed, and how.

    name: of the stack, and what the queues' names begin with. bucket: for the code; None: the one
    of the account and region. parameters: of the template; those
    that are left out keep their values. force: migrate even if queued messages break. shows_sql:
    say what a migration does. judge: what is wrong with what the database grants, as the migrate
    function answers it.
    """

    package: Package
    name: str
    bucket: str | None
    parameters: Mapping[str, str]
    force: bool = False
    shows_sql: bool = False
    judge: Callable[[Mapping[str, Any]], list[Finding]] = lambda _granted: []

    def values(self, aws: Aws, present: Json | None) -> dict[str, str | None]:
        """Of the template's parameters; None: there is none. present: the deployed template."""
        known = self.package.template["Parameters"]
        defaults = {name: str(each["Default"]) for name, each in known.items() if "Default" in each}
        before = cloudformation.parameters_of(aws, self.name) if present else {}
        values = {**defaults, **before, **self.parameters}
        return {name: values.get(name) for name in known}


def deploy(
    aws: Aws, plan: DeploymentPlan, say: Callable[[str], None] = lambda _line: None
) -> DeployedStack:
    """Create the stack or update it, its database first.

    Raises DeploymentError with the reasons that CloudFormation or the migration gives; what served
    before goes on serving.
    """
    say("uploading the code")
    bucket = cloudformation.ensure_bucket(aws, plan.bucket)
    document = plan.package.template
    if is_local(aws):
        ministack_gaps.fit(document)
    cloudformation.upload(aws, document, plan.package.folder, bucket)
    cloudformation.await_end(aws, plan.name, say)
    present = cloudformation.deployed_template(aws, plan.name)
    version = secrets_version(aws, plan, present)
    say("deploying the migrate function")
    step = template.only_migrate(document, present, version)
    outputs = _applied(aws, plan, bucket, step, plan.parameters)
    granted = invoke(aws, outputs[_MIGRATE], {"budget": True})
    if wrong := plan.judge(granted):
        raise DeploymentError("\n".join(map(str, wrong)))
    later = _migrate(aws, plan, outputs[_MIGRATE], outputs, granted["role_sessions"], say)
    say("deploying all functions, queues and alarms")
    values = {**plan.parameters, "SecretsVersion": version}
    outputs = _applied(aws, plan, bucket, document, values)
    if later:
        _take_back(aws, outputs, later, say)
    return DeployedStack(plan.name, outputs, cloudformation.api_url(aws, outputs, document))


def _applied(
    aws: Aws, plan: DeploymentPlan, bucket: str, document: Json, values: Mapping[str, str]
) -> dict[str, str]:
    """Have CloudFormation do it; returns the outputs of the stack."""
    outputs = cloudformation.apply(aws, plan.name, bucket, document, values)
    if is_local(aws):
        ministack_gaps.settle(aws, plan.package, outputs)
    return outputs


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
            answer = invoke(aws, outputs[_MIGRATE], {"revoke": True})
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
    plan: DeploymentPlan,
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
    if _API not in outputs and (is_local(aws) or not sessions):
        event["new_passwords"] = True
    answer = invoke(aws, function, event)
    for line in notes(answer):
        say(line)
    return list(answer.get("later", []))


def _same_contract(aws: Aws, plan: DeploymentPlan, outputs: Mapping[str, str]) -> bool:
    """Whether the version that runs accepts what the new one does: then only messages that wait
    could be broken by a migration. A stack without an API accepts nothing."""
    function = outputs.get(_API)
    return function is None or served_contract(aws, function) == plan.package.contract


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


def secrets_version(aws: Aws, plan: DeploymentPlan, present: Json | None) -> str:
    """Another text whenever a secret has another value: then its functions are updated."""
    client, values = aws("secretsmanager"), plan.values(aws, present)
    digest = hashlib.sha256()
    made = cloudformation.outputs_of(aws, plan.name).get("ReceiptKeySecret", "") if present else ""
    for secret in (*map(values.get, functions.secret_parameters()), made):
        if secret:
            found = client.describe_secret(SecretId=secret)
            versions = found.get("VersionIdsToStages", {})
            digest.update(f"{secret}={_current(versions)}\n".encode())
    return digest.hexdigest()[:16]


def _current(versions: Mapping[str, list[str]]) -> str:
    return next((each for each, stages in versions.items() if "AWSCURRENT" in stages), "")
