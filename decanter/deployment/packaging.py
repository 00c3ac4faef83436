"""From a stage to what is packaged of it."""

from pathlib import Path

from decanter.deployment import template
from decanter.package import Package, Runtime, zips
from decanter.package.runtime import runtime_of


def package(project: Path, name: str, out: Path, prefix: str | None = None) -> Package:
    """Package a stage into ``out``, in place of what was packaged there.

    Another prefix than the stage's puts the stack beside it. Raises PackagingError and
    ConfigurationError.
    """
    stage = template.stage(project, name, prefix)
    if template.function_setting(project, name, "api", "automatic_layer") is not True:
        raise template.ConfigurationError(
            "automatic_layer is not true in .chalice/config.json: without a layer, functions would"
            " have nothing of what they need. Set it at the top."
        )
    for file in template.policy_files(project, name):
        template.policy(project, file)  # of which Chalice would not say the name
    configuration = template.configuration(project)
    configuration["stages"][name]["environment_variables"]["DECANTER_QUEUES"] = stage.prefix
    merge = template.build(stage)
    return zips.package(project, name, out, runtime(project, name), merge, configuration)


def runtime(project: Path, name: str) -> Runtime:
    """What a stage is packaged for. Raises PackagingError and ConfigurationError."""
    return runtime_of(name, architecture(project, name))


def architecture(project: Path, name: str) -> str:
    """``lambda_architecture`` of a stage, or of all, in ``.chalice/config.json``; else x86_64.

    Chalice writes it into its templates, too. Raises ConfigurationError.
    """
    settings = template.stage_configuration(project, name)
    whole = template.configuration(project)
    return str(settings.get("lambda_architecture", whole.get("lambda_architecture", "x86_64")))
