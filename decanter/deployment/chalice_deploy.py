"""The way of plain ``chalice deploy``: queues and alarms before it, partial responses after it.

Chalice makes no queues and never turns partial responses on. In between, and whenever this is
interrupted, no message can be lost: a drain that is not told that its mapping understands partial
responses fails the whole batch instead, which SQS then keeps.
"""

import copy
import json
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from chalicelib.postgres.connecting.access import objection, url_parts
from decanter.deployment import (
    cloudformation,
    functions,
    ministack_gaps,
    packaging,
    preflight,
    template,
)
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import DeploymentError, Finding, PreflightFailed
from decanter.deployment.references import Json
from decanter.deployment.stage import Stage, policy
from decanter.package import layer
from decanter.package.zips import copy_deployed

REPORT = "ReportBatchItemFailures"

_SECONDS = 120.0
_SAMPLE = "decanter-dev"  # what the policies in .chalice name


def make(aws: Aws, stage: Stage, values: dict[str, str]) -> dict[str, str]:
    """Create or update the stack of the queues and alarms; returns its outputs. Raises
    DeploymentError."""
    made = template.of_queues(stage, stage.application, stage.api_name)
    _make_logs(aws, made)
    if is_local(aws):
        ministack_gaps.fit(made)
    return cloudformation.apply(aws, f"{stage.prefix}-queues", "", made, values)


def _make_logs(aws: Aws, made: Json) -> None:
    """Of functions that have not run yet: metrics are made of them. Lambda makes the same."""
    client = aws("logs")
    for resource in made["Resources"].values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            with suppress(client.exceptions.ResourceAlreadyExistsException):
                client.create_log_group(logGroupName=resource["Properties"]["LogGroupName"])


def prepare(aws: Aws, project: Path, stage: Stage, outputs: dict[str, str]) -> Path:
    """A copy of what is deployed whose configuration has the queues, the database's URL and the key
    of receipts; returns its folder, which only its owner may enter and nobody should commit.

    What Chalice deployed is remembered in the project itself.
    """
    folder = project / "build" / "chalice" / stage.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    variables = _variables(aws, stage.prefix, stage.application, outputs)
    copy_deployed(project, folder, _completed(stage, variables))
    (folder / ".chalice" / "config.json").chmod(0o600)
    remembered = project / ".chalice" / "deployed"
    remembered.mkdir(exist_ok=True)
    (folder / ".chalice" / "deployed").symlink_to(remembered)
    for name, users in stage.policy_files.items():
        allowed = _policy(policy(project, name), stage.prefix, stage.application)
        _fit(allowed, stage, users, variables)
        (folder / ".chalice" / name).write_text(json.dumps(allowed, indent=2))
    layer.place(folder, packaging.runtime(stage))
    return folder


def _variables(
    aws: Aws, prefix: str, application: str, outputs: dict[str, str]
) -> dict[str, dict[str, str]]:
    """What each function has to be told, by function."""
    client = aws("secretsmanager")
    absent = client.exceptions.ResourceNotFoundException
    try:
        url = client.get_secret_value(SecretId=f"{prefix}/database-url")["SecretString"]
    except absent:
        text = preflight.missing_secret("DatabaseUrlSecret", f"{prefix}/database-url")
        raise PreflightFailed([Finding("missing-secret", text)]) from None
    if why := objection(url):
        text = f"of the secret {prefix}/database-url: {why}"
        raise PreflightFailed([Finding("unsafe-url", text)])
    try:
        key = client.get_secret_value(SecretId=f"{prefix}/receipt-key")["SecretString"]
    except absent:
        key = secrets.token_urlsafe(48)
        client.create_secret(Name=f"{prefix}/receipt-key", SecretString=key)
    return {
        "api_handler": {
            **{
                f"DECANTER_{each.name.upper()}_QUEUE_URL": outputs[f"{each.logical}QueueUrl"]
                for each in functions.QUEUES
            },
            "DECANTER_READER_FUNCTION": f"{application}-reader",
            "DECANTER_RECEIPT_KEY": key,
        },
        **{each.name: {"DECANTER_DATABASE_URL": url} for each in functions.holders()},
    }


def _completed(stage: Stage, variables: dict[str, dict[str, str]]) -> Json:
    """The configuration with the variables of each function."""
    whole: Json = copy.deepcopy(dict(stage.configuration))
    settings = whole["stages"][stage.name].setdefault("lambda_functions", {})
    for name, added in variables.items():
        function = settings.setdefault(name, {})
        own = function.get("environment_variables", {})
        function["environment_variables"] = {**added, **own}
    return whole


def _fit(
    policy: Json, stage: Stage, names: Sequence[str], variables: dict[str, dict[str, str]]
) -> None:
    """Leave out of a policy what none of its functions does in this stage, and let them log in with
    tokens of RDS if they do: to which database, only the name of its host says."""
    kept = {
        "NetworkOfFunctionsInAVpc": not stage.in_vpc.isdisjoint(names),
        "ReadTheAgeOfTheQueues": stage.limits_backlog,
    }
    policy["Statement"] = [each for each in policy["Statement"] if kept.get(each.get("Sid"), True)]
    urls = {variables.get(name, {}).get("DECANTER_DATABASE_URL", "") for name in names} - {""}
    if stage.tokens and urls:
        users = [f"arn:*:rds-db:*:*:dbuser:*/{url_parts(url)['user']}" for url in sorted(urls)]
        login = {"Effect": "Allow", "Action": ["rds-db:connect"], "Resource": users}
        policy["Statement"].append({"Sid": "LogIn", **login})


def _policy(policy: Json, prefix: str, application: str) -> Json:
    """The sample's policy for other names: queues have the prefix, functions the application's."""
    for statement in policy["Statement"]:
        if isinstance(statement.get("Resource"), list):
            statement["Resource"] = [
                arn.replace(_SAMPLE, prefix if ":sqs:" in arn else application)
                for arn in statement["Resource"]
            ]
    return policy


def turn_on(
    aws: Aws, functions: Sequence[str], say: Callable[[str], None] = lambda _line: None
) -> None:
    """Turn partial responses on in the mappings, and only then tell the drains.

    The other way round a message that a drain could not pour would be deleted. May be done again
    at any time. Raises DeploymentError.
    """
    for function in functions:
        say(f"turning partial responses on for {function}")
        _report(aws, function)
    for function in functions:
        say(f"telling {function}")
        _tell(aws, function)


def wake_up(aws: Aws, function: str, say: Callable[[str], None] = lambda _line: None) -> None:
    """Have a drain invoked once a minute, also without messages. May be done again at any time."""
    say(f"having {function} invoked once a minute")
    client, events = aws("lambda"), aws("events")
    arn = client.get_function_configuration(FunctionName=function)["FunctionArn"]
    client.put_function_event_invoke_config(FunctionName=function, **functions.WAKE_UP_CONFIG)
    rule = events.put_rule(Name=function, ScheduleExpression=functions.WAKE_UP)["RuleArn"]
    with suppress(client.exceptions.ResourceConflictException):  # it was added before
        client.add_permission(
            FunctionName=function,
            StatementId="wake-up",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )
    events.put_targets(Rule=function, Targets=[{"Id": "drain", "Arn": arn}])


def _report(aws: Aws, function: str) -> None:
    client = aws("lambda")
    deadline = time.monotonic() + _SECONDS
    while True:
        found = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        if len(found) != 1:
            raise DeploymentError(
                f"{function} has {len(found)} event source mappings, not one: its messages may come"
                " from a queue that this does not know. See `chalice deploy`, and remove others."
            )
        [mapping] = found
        is_on = REPORT in mapping.get("FunctionResponseTypes", [])
        if is_on and mapping.get("State") == "Enabled":
            return
        if time.monotonic() > deadline:
            raise DeploymentError(f"The mapping of {function} is still {mapping.get('State')}.")
        if not is_on and not mapping.get("State", "").endswith("ing"):
            client.update_event_source_mapping(UUID=mapping["UUID"], FunctionResponseTypes=[REPORT])
        time.sleep(0.2 if is_local(aws) else 2)


def _tell(aws: Aws, function: str) -> None:
    client = aws("lambda")
    settings = client.get_function_configuration(FunctionName=function)
    variables = settings.get("Environment", {}).get("Variables", {})
    if variables.get("DECANTER_PARTIAL_RESPONSES") == "1":
        return
    client.update_function_configuration(
        FunctionName=function,
        Environment={"Variables": {**variables, "DECANTER_PARTIAL_RESPONSES": "1"}},
        # Another change in between is not overwritten.
        RevisionId=settings["RevisionId"],
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=function)
