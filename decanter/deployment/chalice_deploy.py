"""The way of plain ``chalice deploy``: queues and alarms before it, partial responses after it.

Chalice makes no queues and never turns partial responses on. In between, and whenever this is
interrupted, no message can be lost: a drain that is not told that its mapping understands partial
responses fails the whole batch instead, which SQS then keeps.
"""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chalicelib.postgres.connecting.access import objection, url_parts
from decanter.deployment import alarms, deploy, packaging, pipeline, preflight, template
from decanter.deployment.deploy import Aws, DeploymentError
from decanter.package import layer

Json = dict[str, Any]
DRAINS = ("drain_ordered", "drain_unordered")
REPORT = "ReportBatchItemFailures"

_SECONDS = 120.0
_SAMPLE = "decanter-dev"  # what the policies in .chalice name


def document(stage: template.Stage, application: str, api: str) -> Json:
    """The template of the queues, with the alarms and the dashboard of the stage.

    application: what the names of Chalice's functions begin with. api: the name of its API.
    """
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Queues and alarms of {stage.prefix}, for chalice deploy.",
        "Parameters": {
            **template.queue_parameters(stage.drain_seconds),
            **alarms.parameters(template.OVERLAP * stage.budget),
        },
        "Conditions": alarms.conditions(),
        "Resources": {
            **template.queues(stage.prefix),
            **_named(template.alarm_resources(stage, api), _names(application)),
        },
        "Outputs": template.queue_outputs(),
    }


def _names(application: str) -> dict[str, str]:
    """What Chalice calls the functions, and Lambda their logs, by name in the template."""
    functions = {
        logical: application if name == "api" else f"{application}-{name}"
        for name, (logical, _role) in template.FUNCTIONS.items()
    }
    logs = {f"{logical}Logs": f"/aws/lambda/{name}" for logical, name in functions.items()}
    return functions | logs


def _named(part: Any, names: dict[str, str]) -> Any:
    """A part of a template that refers to functions by their names."""
    match part:
        case {"Ref": name} if name in names:
            return names[name]
        case {"Fn::Sub": str(text)}:
            for name, shown in names.items():
                text = text.replace(f"${{{name}}}", shown)
            return {"Fn::Sub": text}
        case dict():
            return {name: _named(each, names) for name, each in part.items()}
        case list():
            return [_named(each, names) for each in part]
    return part


def make(aws: Aws, project: Path, stage: str, values: dict[str, str]) -> dict[str, str]:
    """Create or update the stack of the queues and alarms; returns its outputs. Raises
    DeploymentError."""
    found = template.stage(project, stage)
    application = f"{pipeline.application(project)}-{stage}"
    made = document(found, application, template.api_name(project, stage))
    _make_logs(aws, made)
    if deploy.is_local(aws):
        from decanter.local import ministack_gaps

        ministack_gaps.fit(made)
    return deploy.apply(aws, f"{found.prefix}-queues", "", made, values)


def _make_logs(aws: Aws, made: Json) -> None:
    """Of functions that have not run yet: metrics are made of them. Lambda makes the same."""
    client = aws("logs")
    for resource in made["Resources"].values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            with suppress(client.exceptions.ResourceAlreadyExistsException):
                client.create_log_group(logGroupName=resource["Properties"]["LogGroupName"])


def prepare(aws: Aws, project: Path, stage: str, outputs: dict[str, str]) -> Path:
    """A copy of what is deployed whose configuration has the queues, the database's URL and the key
    of receipts; returns its folder, which only its owner may enter and nobody should commit.

    What Chalice deployed is remembered in the project itself.
    """
    folder = project / "build" / "chalice" / stage
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("chalicelib", "vendor"):
        if (project / name).is_dir():
            shutil.copytree(project / name, folder / name, ignore=ignored)
    for name in ("app.py", "requirements.txt"):
        shutil.copy2(project / name, folder / name)
    (folder / ".chalice").mkdir()
    remembered = project / ".chalice" / "deployed"
    remembered.mkdir(exist_ok=True)
    (folder / ".chalice" / "deployed").symlink_to(remembered)
    prefix = template.queue_prefix(project, stage)
    application = f"{pipeline.application(project)}-{stage}"
    variables = _variables(aws, prefix, application, outputs)
    for name, users in template.policy_files(project, stage).items():
        policy = _policy(template.policy(project, name), prefix, application)
        _fit(policy, template.stage(project, stage), users, variables)
        (folder / ".chalice" / name).write_text(json.dumps(policy, indent=2))
    configuration = json.loads((project / ".chalice" / "config.json").read_text())
    _complete(configuration["stages"][stage], variables)
    file = folder / ".chalice" / "config.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(configuration, indent=2))
    layer.place(folder, packaging.runtime(project, stage))
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
        raise preflight.Refused([preflight.Fault("missing-secret", text)]) from None
    if why := objection(url):
        text = f"of the secret {prefix}/database-url: {why}"
        raise preflight.Refused([preflight.Fault("unsafe-url", text)])
    try:
        key = client.get_secret_value(SecretId=f"{prefix}/receipt-key")["SecretString"]
    except absent:
        key = secrets.token_urlsafe(48)
        client.create_secret(Name=f"{prefix}/receipt-key", SecretString=key)
    return {
        "api_handler": {
            "DECANTER_ORDERED_QUEUE_URL": outputs["OrderedQueueUrl"],
            "DECANTER_UNORDERED_QUEUE_URL": outputs["UnorderedQueueUrl"],
            "DECANTER_READER_FUNCTION": f"{application}-reader",
            "DECANTER_RECEIPT_KEY": key,
        },
        **{name: {"DECANTER_DATABASE_URL": url} for name in template.HOLDERS},
    }


def _complete(settings: Json, variables: dict[str, dict[str, str]]) -> None:
    functions = settings.setdefault("lambda_functions", {})
    for name, added in variables.items():
        function = functions.setdefault(name, {})
        own = function.get("environment_variables", {})
        function["environment_variables"] = {**added, **own}


def _fit(
    policy: Json, stage: template.Stage, names: Sequence[str], variables: dict[str, dict[str, str]]
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
    client.put_function_event_invoke_config(FunctionName=function, **template.WAKE_UP_CONFIG)
    rule = events.put_rule(Name=function, ScheduleExpression=template.WAKE_UP)["RuleArn"]
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
        time.sleep(0.2 if deploy.is_local(aws) else 2)


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
