"""From a package to a stage that serves: CloudFormation, with the migration before the traffic.

CloudFormation updates the stack twice. The first update leaves what is deployed and only replaces
the migrate function, which then migrates the database while the old version goes on serving. The
second one deploys the rest of the new version. Database rights that only the old version needed are
revoked last. Every step may be repeated, so an interrupted deployment is simply run again.
"""

import copy
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from decanter.deployment import (
    budget,
    cloudformation,
    fronts,
    functions,
    mappings,
    ministack_gaps,
    template,
)
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.cloudformation import StackState
from decanter.deployment.findings import DeploymentError
from decanter.deployment.invocation import invoke, served_contract
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.references import Json

_PAUSE_SECONDS = 1.0
_QUIET_SECONDS = 30.0  # API Gateway may still have requests for the old version
_REVOKE_SECONDS = 120.0
_API, _MIGRATE = functions.function("api").output, functions.function("migrate").output
_COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


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
        """The deployed names of the stage's functions."""
        return _deployed_names(self.outputs)

    @property
    def queue_urls(self) -> dict[str, str]:
        """URLs of the queues: ordered, unordered, ordered_dlq, unordered_dlq."""
        return {name: self.outputs[each] for name, each in functions.queue_outputs().items()}

    @property
    def front_table(self) -> str | None:
        """The name of the front table; None: the stage has none."""
        return self.outputs.get(functions.FRONT_TABLE_OUTPUT)


def deploy(
    aws: Aws, plan: DeploymentPlan, say: Callable[[str], None] = lambda _line: None
) -> DeployedStack:
    """Create or update the stack, its database first.

    Raises DeploymentError with the reasons that CloudFormation or the migration gives; the old
    version then goes on serving.
    """
    say("uploading the code")
    bucket = cloudformation.ensure_bucket(aws, plan.bucket)
    document = copy.deepcopy(plan.package.template)
    if is_local(aws):
        ministack_gaps.remove_unsupported(document)
    cloudformation.upload(aws, document, plan.package.folder, bucket)
    stack = cloudformation.await_end(aws, plan.name, say)
    present = cloudformation.deployed_template(aws, plan.name) if stack.is_deployed else None
    version = secrets_version(aws, plan, stack)
    say("deploying the migrate function")
    step = template.only_migrate(document, present, version)
    outputs = _apply(aws, plan, bucket, step, plan.parameters)
    granted = invoke(aws, outputs[_MIGRATE], {"budget": True})
    if findings := budget.findings(plan.holders, granted):
        raise DeploymentError("\n".join(map(str, findings)))
    later = _migrate(aws, plan, outputs[_MIGRATE], outputs, granted["role_sessions"], say)
    _check_fronts(aws, plan, outputs)
    say("deploying all functions, queues and alarms")
    values = {**plan.parameters, "SecretsVersion": version}
    if is_local(aws):
        ministack_gaps.write_out(document, "SecretsVersion", version)
    paused = mappings.paused(aws, _deployed_names(outputs))
    mappings.keep_paused(document, paused)
    outputs = _apply(aws, plan, bucket, document, values)
    for name in paused:
        say(mappings.note(functions.function(name)))
    if later:
        _revoke(aws, outputs, later, say)
    return DeployedStack(plan.name, outputs, cloudformation.api_url(aws, outputs, document))


def _deployed_names(outputs: Mapping[str, str]) -> dict[str, str]:
    """The deployed names of functions, from the outputs of their stack."""
    return {
        each.name: outputs[each.output] for each in functions.FUNCTIONS if each.output in outputs
    }


def _check_fronts(aws: Aws, plan: DeploymentPlan, outputs: Mapping[str, str]) -> None:
    """Raises DeploymentError if a resource comes behind the front table with rows that have no
    items. Of one that was not deployed before, only the migrated database knows."""
    wanted, deployed = fronts.wanted(plan.package.template), fronts.of_stack(aws, outputs)
    fronts.forget_hydration(aws, wanted, deployed)
    opened = [] if plan.loads_rows else fronts.opened(aws, wanted, deployed)
    if not opened:
        return
    filled = {*invoke(aws, outputs[_MIGRATE], {"filled": opened})["filled"]}
    table = deployed.table if deployed else None
    filled |= {name for name in opened if fronts.has_items(aws, table, name)}
    states = deployed.states if deployed else {}
    if found := [fronts.not_hydrated(name, states.get(name, "sqs")) for name in sorted(filled)]:
        raise DeploymentError(
            "\n".join(map(str, found)) + "\nThe database is migrated; nothing else has changed."
        )


def _apply(
    aws: Aws, plan: DeploymentPlan, bucket: str, document: Json, values: Mapping[str, str]
) -> dict[str, str]:
    """Create or update the stack; returns its outputs."""
    outputs = cloudformation.apply(aws, plan.name, bucket, document, values)
    if is_local(aws):
        ministack_gaps.complete(aws, plan.package, outputs)
    return outputs


def _revoke(
    aws: Aws, outputs: Mapping[str, str], later: list[str], say: Callable[[str], None]
) -> None:
    """Have the migrate function revoke what only the old version needed, once none of its messages
    are queued. If they still are in the end, this is left to the next deployment."""
    say("revoking database rights that only the old version needed")
    quiet = 0.0 if is_local(aws) else _QUIET_SECONDS
    began = last = time.monotonic()
    while (now := time.monotonic()) < began + _REVOKE_SECONDS:
        if count_queued(aws, outputs):
            last = now
        elif now >= last + quiet:
            answer = invoke(aws, outputs[_MIGRATE], {"revoke": True})
            for line in migration_notes(answer):
                say(line)
            later = answer.get("later", [])
            break
        time.sleep(_PAUSE_SECONDS)
    for line in revoke_notes(later):
        say(line)


def revoke_notes(later: list[str]) -> list[str]:
    """Lines about rights that are still to be revoked."""
    if not later:
        return []
    return [
        "note: the old version may still run, or have messages queued, and need these rights:",
        *(f"  {statement}" for statement in later),
        "  Once its messages are poured, run `python -m decanter migrate --revoke`, or deploy again"
        " when the queues are empty.",
    ]


def migration_notes(answer: Mapping[str, Any]) -> list[str]:
    """Lines with the notes and warnings in an answer of the migrate function."""
    kinds = ("notes", "warnings")
    return [f"{kind[:-1]}: {line}" for kind in kinds for line in answer.get(kind, [])]


def _migrate(
    aws: Aws,
    plan: DeploymentPlan,
    function: str,
    outputs: Mapping[str, str],
    sessions: int,
    say: Callable[[str], None],
) -> list[str]:
    """Migrate the database; returns the statements to run once only the new version serves.
    sessions: connections that the database roles have."""
    would = invoke(aws, function, {"dry_run": True})
    pending = would.get("pending", [])
    if pending:
        say(f"migrating the database: {', '.join(pending)}")
        if plan.shows_sql:
            say(would.get("sql", "").strip())
    else:
        say("migrating the database: it is up to date")
    event: Json = {"force": True} if plan.force else {}
    # What is in the front table's stream cannot be counted.
    countable = functions.FRONT_TABLE_OUTPUT not in outputs
    if pending and not plan.force and countable and _is_contract_unchanged(aws, plan, outputs):
        event["queued"] = count_queued(aws, outputs)
    # Nothing serves that could be locked out, in this stack or in another one with this database.
    if _API not in outputs and (is_local(aws) or not sessions):
        event["new_passwords"] = True
    answer = invoke(aws, function, event)
    for line in migration_notes(answer):
        say(line)
    return list(answer.get("later", []))


def _is_contract_unchanged(aws: Aws, plan: DeploymentPlan, outputs: Mapping[str, str]) -> bool:
    """Whether the running version accepts the same writes as the new one, so that a migration could
    only break queued messages. A stack without an API accepts none."""
    function = outputs.get(_API)
    return function is None or served_contract(aws, function) == plan.package.contract


def count_queued(aws: Aws, outputs: Mapping[str, str]) -> int:
    """The number of messages on the queues and the dead-letter queues of a stack."""
    client, total = aws("sqs"), 0
    for output in functions.queue_outputs().values():
        if output in outputs:
            found = client.get_queue_attributes(QueueUrl=outputs[output], AttributeNames=_COUNTS)
            total += sum(int(found["Attributes"][name]) for name in _COUNTS)
    return total


def secrets_version(aws: Aws, plan: DeploymentPlan, stack: StackState) -> str:
    """A digest that changes with the value of any secret, so that CloudFormation updates the
    functions that use it."""
    client, values, digest = aws("secretsmanager"), plan.values(stack), hashlib.sha256()
    made = stack.outputs.get("ReceiptKeySecret")
    for secret in (*map(values.get, functions.secret_parameters()), made):
        if secret:
            stages = client.describe_secret(SecretId=secret).get("VersionIdsToStages", {})
            current = next((each for each in stages if "AWSCURRENT" in stages[each]), "")
            digest.update(f"{secret}={current}\n".encode())
    return digest.hexdigest()[:16]
