"""The steps that commands are made of: check, deploy, migrate.

AWS is reached with the SDK's usual chain of credentials; AWS_ENDPOINT_URL leads to a local cloud.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib.contract import resources
from decanter.deployment import (
    budget,
    cloudformation,
    deploy,
    fronts,
    hydrate,
    packaging,
    preflight,
    smoke,
)
from decanter.deployment.aws import Aws
from decanter.deployment.deploy import DeployedStack
from decanter.deployment.findings import DeploymentError, refuse
from decanter.deployment.functions import FRONT_TABLE_OUTPUT, function
from decanter.deployment.hydrate import Hydrated
from decanter.deployment.invocation import invoke
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.stage import Stage


@functools.cache
def client(service: str) -> Any:
    """The boto3 client of a service, through the usual chain."""
    import boto3
    from botocore.config import Config

    # A migration may take as long as Lambda allows, and must not be started twice.
    patient = Config(read_timeout=910, retries={"max_attempts": 0}) if service == "lambda" else None
    return boto3.client(service, config=patient)


def check(project: Path, stage: Stage, values: Mapping[str, str], *, plain: bool) -> None:
    """Package, and run all checks before a deployment. plain: by ``chalice deploy``. Raises
    PreflightFailed, PackagingError and ConfigurationError."""
    plan = _plan(project, stage, values)
    if plain:
        refuse(preflight.plain(client, plan.package.template, stage.prefix, stage.application))
    else:
        refuse(preflight.online(client, plan))


def deploy_stage(
    aws: Aws,
    project: Path,
    stage: Stage,
    values: Mapping[str, str],
    *,
    bucket: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> DeployedStack:
    """Package, check, deploy and test a stage. Raises PreflightFailed, PackagingError,
    DeploymentError and ConfigurationError."""
    say("packaging")
    plan = _plan(project, stage, values, bucket, force=force)
    say("checking AWS and the database")
    refuse(preflight.online(aws, plan))
    stack = deploy.deploy(aws, plan, say)
    say("testing the deployed stage")
    if faults := smoke.await_faults(aws, stack, plan.package.contract):
        raise DeploymentError(
            "The stage is deployed, but does not work as it should:\n"
            + "\n".join(f"- {each}" for each in faults)
        )
    return stack


def summary(stack: DeployedStack) -> list[str]:
    """Lines about a deployed stack: its API, queues, front table and functions."""
    table = {"front table": stack.front_table} if stack.front_table else {}
    queues = stack.queue_urls
    named = {"stack": stack.name, "API": stack.api_url, **queues, **table, **stack.functions}
    return [f"{name:<14} {value}" for name, value in named.items()]


def migrate_function(stage: Stage) -> str:
    """The deployed name of the migrate function: the stack's, or the one of ``chalice deploy``."""
    migrate = function("migrate")
    outputs = cloudformation.describe(client, stage.prefix).outputs
    return outputs.get(migrate.output) or migrate.deployed_name(stage.application)


def front(stage: Stage) -> tuple[str, str]:
    """The names of the front table and of the deployed drain of its stream. Raises DeploymentError
    for a stage without one."""
    drain = function("drain_stream")
    outputs = _outputs(stage)
    table = outputs.get(FRONT_TABLE_OUTPUT)
    if table is None:
        raise DeploymentError(
            f"The stage {stage.name} has no front table: none of its resources has"
            ' info={"front": "dynamodb"}, or it is not deployed yet.'
        )
    return table, outputs.get(drain.output) or drain.deployed_name(stage.application)


def hydrate_resource(stage: Stage, name: str, say: Callable[[str], None]) -> Iterator[Hydrated]:
    """Load the rows of a closed resource into the front table; yields how far it has come. Raises
    DeploymentError, and Problem for an unknown resource."""
    resource = resources.resource(name)
    deployed = fronts.of_stack(client, _outputs(stage)) or fronts.of_chalice(
        client, stage.application, _outputs(stage)
    )
    if deployed is None or resource.front is None:
        raise DeploymentError(
            f"The stage {stage.name} is not deployed, or {name} is behind SQS: set its front to"
            ' "closed" in chalicelib/models.py, run `make contract`, and deploy that.'
        )
    hydrate.prepare(client, deployed, name, say)

    def require() -> None:
        hydrate.require_closed(client, deployed, name)

    yield from hydrate.hydrate(client, str(deployed.table), deployed.reader, resource, require)


def _outputs(stage: Stage) -> dict[str, str]:
    """The outputs of the stack, or of the stack of queues for ``chalice deploy``."""
    found = cloudformation.describe(client, stage.prefix).outputs
    return found or cloudformation.describe(client, f"{stage.prefix}-queues").outputs


def granted(stage: Stage, url: str | None) -> dict[str, Any] | None:
    """The connections that the database grants; None: nothing is deployed that could be asked.

    url: of the database; None: ask the stage's migrate function.
    """
    from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

    from chalicelib.errors import DatabaseUnavailable
    from chalicelib.postgres import capacity

    if url is not None:
        try:
            return capacity.granted(url)
        except DatabaseUnavailable as error:
            raise DeploymentError(f"The database cannot be reached: {error}") from error
    try:
        return invoke(client, migrate_function(stage), {"budget": True})
    except (NoCredentialsError, NoRegionError):
        return None
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise


def _plan(
    project: Path,
    stage: Stage,
    values: Mapping[str, str],
    bucket: str | None = None,
    *,
    force: bool = False,
) -> DeploymentPlan:
    package = packaging.package(project, stage, project / "build" / stage.name)
    holders = budget.holders(stage)
    return DeploymentPlan(
        package, stage.prefix, bucket, values, force=force, shows_sql=True, holders=holders
    )
