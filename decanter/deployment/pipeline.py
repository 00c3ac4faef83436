"""What a pipeline does: check, deploy, migrate, make secrets.

They go where the SDK's usual chain of credentials leads; AWS_ENDPOINT_URL leads to a local cloud.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from decanter.deployment import deploy, packaging, preflight, secrets, smoke, template
from decanter.deployment.deploy import DeploymentError, Plan, Stack
from decanter.deployment.preflight import Fault, Refused
from decanter.package import Package


@functools.cache
def client(service: str) -> Any:
    """The boto3 client of a service, where the usual chain leads."""
    import boto3
    from botocore.config import Config

    # A migration may take as long as Lambda lets it; it is not to be begun twice.
    patient = Config(read_timeout=910, retries={"max_attempts": 0}) if service == "lambda" else None
    return boto3.client(service, config=patient)


def parameters(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, as the command line has them. Raises Refused."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise Refused([Fault("parameter", f"{each!r} is not NAME=VALUE.")])
        found[name] = value
    return found


def check(project: Path, stage: str, values: Mapping[str, str], *, plain: bool) -> None:
    """Whatever can be refused before anything is changed. plain: of ``chalice deploy``. Raises
    Refused, PackagingError and ConfigurationError."""
    package = preflight.offline(project, stage, _packaged(project, stage))
    found = template.stage(project, stage)
    if plain:
        application_stage = f"{application(project)}-{stage}"
        wrong = preflight.plain(client, package.template, found.prefix, application_stage)
    else:
        plan = Plan(package, found.prefix, "", values)
        wrong = preflight.online(client, plan, found.prefix, _judge(project, stage))
    preflight.refuse(wrong)


def deploy_stage(
    project: Path,
    stage: str,
    values: Mapping[str, str],
    *,
    bucket: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
    aws: deploy.Aws = client,
) -> Stack:
    """Everything from the project to a stage that serves. Raises Refused, PackagingError,
    DeploymentError and ConfigurationError."""
    say("packaging")
    package = preflight.offline(project, stage, _packaged(project, stage))
    found = template.stage(project, stage)
    say("checking what AWS and the database say")
    plan = Plan(package, found.prefix, "", values)
    judge = _judge(project, stage)
    preflight.refuse(preflight.online(aws, plan, found.prefix, judge))

    def fits(granted: Mapping[str, Any]) -> None:
        if faults := judge(granted):
            raise DeploymentError("\n".join(map(str, faults)))

    plan = Plan(
        package,
        found.prefix,
        deploy.ensure_bucket(aws, bucket),
        values,
        force=force,
        shows_sql=True,
        fits=fits,
        **_limits(aws, package),
    )
    stack = deploy.deploy(aws, plan, say)
    say("testing what was deployed")
    if wrong := smoke.wrong(aws, stack, deploy.committed_contract(package)):
        raise DeploymentError(
            "The stage is deployed, and does not do what it should:\n"
            + "\n".join(f"- {each}" for each in wrong)
        )
    return stack


def _limits(aws: deploy.Aws, package: Package) -> dict[str, Any]:
    """What is done otherwise on a local cloud."""
    if not deploy.is_local(aws):
        return {}
    from decanter.local import ministack_gaps

    return {
        "adjust": ministack_gaps.fit,
        "settle": lambda outputs: ministack_gaps.settle(aws, package, outputs),
    }


def summary(stack: Stack) -> list[str]:
    """What a client of the stage needs."""
    queues = [f"{name:<14} {url}" for name, url in stack.queue_urls.items()]
    functions = [f"{name:<14} {function}" for name, function in stack.functions.items()]
    return [f"stack          {stack.name}", f"API            {stack.api_url}", *queues, *functions]


def migrate_function(project: Path, stage: str) -> str:
    """The deployed name of the migrate function: the stack's, or the one that Chalice made."""
    prefix = template.queue_prefix(project, stage)
    name = f"{deploy.MIGRATE}Function"
    if deploy.state(client, prefix) and (found := deploy.outputs_of(client, prefix).get(name)):
        return found
    return f"{application(project)}-{stage}-migrate"


def application(project: Path) -> str:
    """The application's name, with which those of Chalice's functions begin."""
    name = template.configuration(project).get("app_name")
    if not isinstance(name, str):
        raise template.ConfigurationError(".chalice/config.json lacks a text app_name.")
    return name


def make_secrets(project: Path, stage: str, *, rotate: bool) -> list[str]:
    """Make the secrets of the database roles; returns the names of those that were written."""
    prefix = template.queue_prefix(project, stage)
    settings = template.stage_configuration(project, stage).get("environment_variables", {})
    tokens = settings.get("DECANTER_DATABASE_IAM") == "1"
    absent = client("secretsmanager").exceptions.ResourceNotFoundException
    try:
        return secrets.ensure(client, prefix, tokens=tokens, rotate=rotate)
    except absent:
        text = preflight.missing_secret("DatabaseUrlSecret", f"{prefix}/database-url")
        raise Refused([Fault("missing-secret", text)]) from None


def _judge(project: Path, stage: str) -> preflight.Judge:
    from decanter.deployment import budget

    return functools.partial(budget.faults, budget.holders(project, stage))


def _packaged(project: Path, stage: str) -> Callable[[], Package]:
    return lambda: packaging.package(project, stage, project / "build" / stage)
