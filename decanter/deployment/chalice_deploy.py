"""Deployment by plain ``chalice deploy``: queues, front table and alarms before it, settings of the
mappings after it.

Chalice makes no queues and no tables, and never turns partial responses on. No message can be lost
in between, or when this is interrupted: a drain without DECANTER_PARTIAL_RESPONSES fails the whole
batch, and SQS or the table's stream keeps it.
"""

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe

from chalicelib.postgres.connecting.access import objection, url_parts
from decanter.deployment import (
    budget,
    cloudformation,
    front_states,
    fronts,
    functions,
    ministack_gaps,
    packaging,
    secrets,
    template,
)
from decanter.deployment import mappings as event_mappings
from decanter.deployment.aws import Aws, is_local
from decanter.deployment.findings import PreflightFailed, refuse
from decanter.deployment.functions import PARTIAL_RESPONSES, drains
from decanter.deployment.references import Json
from decanter.deployment.stage import Stage, policy
from decanter.deployment.template import front
from decanter.package import layer
from decanter.package.zips import copy_deployed

_SAMPLE = "decanter-dev"  # prefix of names in the policies in .chalice
STREAM_VARIABLE = "DECANTER_FRONT_STREAM"
"""Variable with the ARN that app.py subscribes drain_stream to."""


def make(aws: Aws, stage: Stage, values: dict[str, str]) -> dict[str, str]:
    """Create or update the stack of queues, front table and alarms; returns its outputs. Raises
    DeploymentError, and PreflightFailed if the table has writes that Postgres does not have."""
    name, application = f"{stage.prefix}-queues", stage.application
    present = cloudformation.describe(aws, name).outputs
    deployed = fronts.of_chalice(aws, application, present)
    refuse(fronts.leaving(aws, stage.fronts, deployed))
    made = template.of_queues(stage, application, stage.api_name)
    _make_logs(aws, made)
    if is_local(aws):
        ministack_gaps.remove_unsupported(made)
    outputs = cloudformation.apply(aws, name, "", made, values)
    if is_local(aws):
        ministack_gaps.turn_on_expiry(aws, outputs)
    fronts.forget_hydration(aws, stage.fronts, deployed)
    return outputs


def _make_logs(aws: Aws, made: Json) -> None:
    """Create log groups, which metric filters need, before Lambda does at a function's first
    run."""
    client = aws("logs")
    for resource in made["Resources"].values():
        if resource["Type"] == "AWS::Logs::MetricFilter":
            with suppress(client.exceptions.ResourceAlreadyExistsException):
                client.create_log_group(logGroupName=resource["Properties"]["LogGroupName"])


def prepare(aws: Aws, project: Path, stage: Stage, outputs: dict[str, str]) -> Path:
    """Copy what is deployed into a folder, with the queues, the front table and its stream, the
    database's URL and the receipt key in its configuration; returns the folder, which only its
    owner may enter, and which must not be committed. Chalice's own record of what it deployed stays
    in the project."""
    folder = project / "build" / "chalice" / stage.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    variables = _variables(aws, stage, outputs)
    copy_deployed(project, folder, _completed(stage, variables))
    (folder / ".chalice" / "config.json").chmod(0o600)
    deployed = project / ".chalice" / "deployed"
    deployed.mkdir(exist_ok=True)
    (folder / ".chalice" / "deployed").symlink_to(deployed)
    for name, users in stage.policy_files.items():
        document = policy(project, name)
        _rename_resources(document, stage)
        _adapt_statements(document, stage, users, variables)
        (folder / ".chalice" / name).write_text(json.dumps(document, indent=2))
    layer.place(folder, packaging.runtime(stage))
    return folder


def _variables(aws: Aws, stage: Stage, outputs: dict[str, str]) -> dict[str, dict[str, str]]:
    """Environment variables, by Chalice's name of the function."""
    prefix, url = stage.prefix, secrets.owner_url(aws, stage.prefix)
    if why := objection(url):
        raise PreflightFailed([secrets.unsafe(f"{prefix}/database-url", why)])
    if (key := secrets.read(aws, f"{prefix}/receipt-key")) is None:
        key = token_urlsafe(48)
        aws("secretsmanager").create_secret(Name=f"{prefix}/receipt-key", SecretString=key)
    reader = functions.function("reader").deployed_name(stage.application)
    operate = functions.function("operate").deployed_name(stage.application)
    api = functions.function("api")
    shared = {
        **{each.url_variable: outputs[each.url_output] for each in functions.QUEUES},
        "DECANTER_READER_FUNCTION": reader,
        "DECANTER_API_LOGS": f"/aws/lambda/{api.deployed_name(stage.application)}",
        **event_mappings.variables_of(aws, stage),
    }
    found = {
        "audit": shared,
        api.chalice_name: {
            **shared,
            "DECANTER_OPERATE_FUNCTION": operate,
            "DECANTER_RECEIPT_KEY": key,
            "DECANTER_BUDGET": json.dumps(budget.by_role(stage)),
        },
        **{each.name: {"DECANTER_DATABASE_URL": url} for each in stage.holders},
    }
    if stage.has_front:
        table = {"DECANTER_FRONT_TABLE": outputs[functions.FRONT_TABLE_OUTPUT]}
        # Chalice loads app.py with the variables of the API function.
        stream = {
            STREAM_VARIABLE: outputs[functions.FRONT_STREAM_OUTPUT],
            "DECANTER_STREAM_FUNCTION": functions.function("drain_stream").deployed_name(
                stage.application
            ),
        }
        states = front_states.variables(stage.fronts)
        found[api.chalice_name] |= table | stream | states
        found["settle"] = {**table, "DECANTER_READER_FUNCTION": reader}
    if stage.events:
        found["publish"] = {"DECANTER_OPERATE_FUNCTION": operate}
    return found


def _completed(stage: Stage, variables: dict[str, dict[str, str]]) -> Json:
    """The configuration with these variables, where it does not set them itself."""
    whole: Json = copy.deepcopy(dict(stage.configuration))
    settings = whole["stages"][stage.name].setdefault("lambda_functions", {})
    for name, added in variables.items():
        function = settings.setdefault(name, {})
        own = function.get("environment_variables", {})
        function["environment_variables"] = {**added, **own}
    return whole


def _adapt_statements(
    policy: Json, stage: Stage, names: Sequence[str], variables: dict[str, dict[str, str]]
) -> None:
    """Remove from a policy what none of its functions does in this stage, and allow logins with
    tokens: to the cluster of Aurora DSQL whose endpoint the URL names, or to any database of RDS,
    whose resource ID is not known here."""
    kept = {
        "NetworkOfFunctionsInAVpc": not stage.in_vpc.isdisjoint(names),
        "WriteToTheFrontTable": stage.has_front,
        "PublishToTheTopic": stage.events is not None and stage.events.is_topic,
        "PublishToTheBus": stage.events is not None and not stage.events.is_topic,
    }
    policy["Statement"] = [each for each in policy["Statement"] if kept.get(each.get("Sid"), True)]
    for each in policy["Statement"]:
        if stage.events and each.get("Sid", "").startswith("PublishTo"):
            each["Resource"] = [stage.events.arn]
    urls = {variables.get(name, {}).get("DECANTER_DATABASE_URL", "") for name in names} - {""}
    if stage.engine == "dsql" and urls:
        # Here all functions log in as the owner, and no roles are made.
        clusters = sorted({url_parts(url)["host"].partition(".")[0] for url in urls})
        arns = [f"arn:*:dsql:*:*:cluster/{cluster}" for cluster in clusters]
        login = {"Effect": "Allow", "Action": ["dsql:DbConnectAdmin"], "Resource": arns}
        policy["Statement"].append({"Sid": "LogIn", **login})
    elif stage.tokens and urls:
        users = [f"arn:*:rds-db:*:*:dbuser:*/{url_parts(url)['user']}" for url in sorted(urls)]
        login = {"Effect": "Allow", "Action": ["rds-db:connect"], "Resource": users}
        policy["Statement"].append({"Sid": "LogIn", **login})


def _rename_resources(policy: Json, stage: Stage) -> None:
    """Replace the sample's names of queues, table and functions in a policy by those of the
    stage."""

    def renamed(arn: str) -> str:
        has_prefix = ":sqs:" in arn or ":dynamodb:" in arn
        return arn.replace(_SAMPLE, stage.prefix if has_prefix else stage.application)

    for statement in policy["Statement"]:
        if isinstance(statement.get("Resource"), list):
            statement["Resource"] = [*map(renamed, statement["Resource"])]
        for compared in statement.get("Condition", {}).values():
            for key, arns in compared.items():
                compared[key] = [*map(renamed, arns)]


def turn_on(
    aws: Aws,
    mappings: Mapping[str, Json],
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Turn partial responses on in the mappings, and only then in the drains. mappings: what to set
    in them, by function.

    In the other order, a message that a drain could not pour would be deleted. May be repeated at
    any time. Raises DeploymentError.
    """
    for function, wanted in mappings.items():
        say(f"turning on partial responses in the mapping of {function}")
        event_mappings.await_settings(aws, function, wanted)
    for function in mappings:
        say(f"turning on partial responses in {function}")
        _turn_on_in_function(aws, function)


def wake_up(aws: Aws, function: str, say: Callable[[str], None] = lambda _line: None) -> None:
    """Schedule a drain once a minute, besides its messages. May be repeated at any time."""
    say(f"scheduling {function} once a minute")
    client, events = aws("lambda"), aws("events")
    arn = client.get_function_configuration(FunctionName=function)["FunctionArn"]
    client.put_function_event_invoke_config(FunctionName=function, **functions.WAKE_UP_CONFIG)
    rule = events.put_rule(Name=function, ScheduleExpression=functions.WAKE_UP)["RuleArn"]
    with suppress(client.exceptions.ResourceConflictException):  # added before
        client.add_permission(
            FunctionName=function,
            StatementId="wake-up",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )
    events.put_targets(Rule=function, Targets=[{"Id": "drain", "Arn": arn}])


def mapping_settings(stage: Stage) -> dict[str, Json]:
    """What Chalice leaves out in the mappings of a stage's drains, by function."""
    queues = {drain.name: {"FunctionResponseTypes": [PARTIAL_RESPONSES]} for drain, _ in drains()}
    streams = {each.name: front.MAPPING for each in stage.functions if each.reads_stream}
    return {
        functions.function(name).deployed_name(stage.application): wanted
        for name, wanted in {**queues, **streams}.items()
    }


def _turn_on_in_function(aws: Aws, function: str) -> None:
    client = aws("lambda")
    settings = client.get_function_configuration(FunctionName=function)
    variables = settings.get("Environment", {}).get("Variables", {})
    if variables.get("DECANTER_PARTIAL_RESPONSES") == "1":
        return
    client.update_function_configuration(
        FunctionName=function,
        Environment={"Variables": {**variables, "DECANTER_PARTIAL_RESPONSES": "1"}},
        RevisionId=settings["RevisionId"],  # refuses to overwrite a concurrent change
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=function)
