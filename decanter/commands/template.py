"""Print the template that is merged with Chalice's CloudFormation template."""

import json
from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser, "dev")


def run(given: Namespace) -> None:
    from decanter.deployment import template
    from decanter.deployment.stage import load

    print(json.dumps(template.build(load(PROJECT, given.stage)), indent=2))
