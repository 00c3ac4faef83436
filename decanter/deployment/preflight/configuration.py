"""Checks of a stage's configuration."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from chalicelib.errors import NotConfigured
from chalicelib.messages.message import VERSION
from chalicelib.settings import (
    ENGINES,
    backlog_limit_seconds,
    caller_limits,
    engine,
    message_bytes,
    message_version,
    parent_patience_seconds,
)
from decanter.deployment import functions
from decanter.deployment import stage as stages
from decanter.deployment.findings import Finding, PreflightFailed, refuse
from decanter.deployment.stage import CONFIG_FILE, ConfigurationError, Stage

_SETTINGS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "engine": engine,
    "message-bytes": message_bytes,
    "message-version": partial(message_version, VERSION),
    "backlog-limit": backlog_limit_seconds,
    "caller-backlog": caller_limits,
    "parent-patience": parent_patience_seconds,
}
"""Readers of variables that functions read only when they are at work, by finding."""

# In its own process: this one may have imported another project's models.
_READ_OBJECTIONS = """
import json, sys
from chalicelib import models
from chalicelib.postgres.resources import metadatas
from decanter.contract import engines
print(json.dumps(engines.objections(metadatas(models), sys.argv[1])))
"""

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}")  # of stacks, and of queues: 80 with endings


def load(project: Path, name: str) -> Stage:
    """Return a stage that can be deployed, as far as its configuration shows. Raises
    PreflightFailed."""
    try:
        stage = stages.load(project, name)
    except ConfigurationError as error:
        raise PreflightFailed([Finding("stage", str(error))]) from None
    refuse([*_configuration(stage), *_models(project, stage)])
    return stage


def _models(project: Path, stage: Stage) -> Iterator[Finding]:
    """What the models need and the stage's engine does not have."""
    if stage.engine == ENGINES[0] or not (project / "chalicelib" / "models.py").exists():
        return
    done = subprocess.run(
        [sys.executable, "-c", _READ_OBJECTIONS, stage.engine],
        cwd=project,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("models", f"chalicelib/models.py cannot be read: {reason}")
        return
    for objection in json.loads(done.stdout):
        yield Finding(
            "engine-models",
            f"DECANTER_ENGINE of stage {stage.name!r} is {stage.engine!r}, which cannot hold"
            f" {objection}",
        )


def _configuration(stage: Stage) -> Iterator[Finding]:
    holders = [each.name for each in functions.holders()]
    for name in sorted(stage.in_vpc - {*holders}):
        yield Finding(
            "vpc-on-request-path",
            f"the function {name} of stage {stage.name!r} has subnets. It needs no database, and"
            " could not reach the queues from a VPC without NAT. In"
            f" {CONFIG_FILE}, move subnet_ids and security_group_ids to {', '.join(holders)}.",
        )
    variables = [stage.variables(each) for each in functions.FUNCTIONS]
    if any("DECANTER_PARTIAL_RESPONSES" in each for each in variables):
        yield Finding(
            "partial-responses-in-configuration",
            f"DECANTER_PARTIAL_RESPONSES is set in {CONFIG_FILE}. A new mapping has partial"
            " responses off, and would delete messages that were not poured: take it out. The"
            " template sets it, or `python -m decanter partial-responses`.",
        )
    for name, read in _SETTINGS.items():
        try:
            for each in variables:
                read(each)
        except NotConfigured as error:
            yield Finding(name, f"{error}, in {CONFIG_FILE}.")
    if not _PREFIX.fullmatch(stage.prefix):
        yield Finding(
            "prefix",
            f"DECANTER_QUEUES of stage {stage.name!r} is {stage.prefix!r}, which cannot be the name"
            " of a stack: set it to a letter and up to 59 letters, digits and hyphens.",
        )
    for other, settings in stage.configuration["stages"].items():
        taken = settings.get("environment_variables", {}).get("DECANTER_QUEUES")
        if other != stage.name and taken == stage.prefix:
            yield Finding(
                "prefix-taken",
                f"the stages {stage.name!r} and {other!r} both have DECANTER_QUEUES"
                f" {stage.prefix!r} in {CONFIG_FILE}: one would be deployed over the other. Set"
                " another prefix.",
            )
