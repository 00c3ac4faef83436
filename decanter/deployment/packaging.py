"""From a stage to its package."""

from pathlib import Path

from decanter.deployment import template
from decanter.deployment.functions import function
from decanter.deployment.stage import CONFIG_FILE, ConfigurationError, Stage, policy
from decanter.package import Package, Runtime, zips
from decanter.package.runtime import runtime_of


def package(project: Path, stage: Stage, out: Path) -> Package:
    """Package a stage into ``out``, replacing an earlier package. Raises PackagingError and
    ConfigurationError."""
    if stage.setting(function("api"), "automatic_layer") is not True:
        raise ConfigurationError(
            f"automatic_layer is not true in {CONFIG_FILE}: without a layer, the functions would"
            " lack their dependencies. Set it at the top."
        )
    for name in stage.policy_files:
        policy(project, name)  # Chalice's own error would not name the file
    merge, configuration = template.build(stage), stage.configuration
    return zips.package(project, stage.name, out, runtime(stage), merge, configuration)


def runtime(stage: Stage) -> Runtime:
    """The runtime that a stage is packaged for. Raises PackagingError."""
    return runtime_of(stage.name, stage.architecture)
