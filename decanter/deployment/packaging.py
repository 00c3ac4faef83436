"""From a stage to what is packaged of it."""

from pathlib import Path

from decanter.deployment import template
from decanter.deployment.functions import function
from decanter.deployment.stage import PLACE, ConfigurationError, Stage, policy
from decanter.package import Package, Runtime, zips
from decanter.package.runtime import runtime_of


def package(project: Path, stage: Stage, out: Path) -> Package:
    """Package a stage into ``out``, in place of what was packaged there. Raises PackagingError and
    ConfigurationError."""
    if stage.setting(function("api"), "automatic_layer") is not True:
        raise ConfigurationError(
            f"automatic_layer is not true in {PLACE}: without a layer, functions would have nothing"
            " of what they need. Set it at the top."
        )
    for name in stage.policy_files:
        policy(project, name)  # of which Chalice would not say the name
    merge, read = template.build(stage), stage.configuration
    return zips.package(project, stage.name, out, runtime(stage), merge, read)


def runtime(stage: Stage) -> Runtime:
    """What a stage is packaged for. Raises PackagingError."""
    return runtime_of(stage.name, stage.architecture)
