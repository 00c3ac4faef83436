"""Check a stage and package it: the CloudFormation template and the zips of the functions."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the package goes (build/STAGE)"
    )
    parser.add_argument(
        "--layer-only",
        action="store_true",
        help="make only the layer, and put it where `chalice deploy` takes it",
    )


def run(given: Namespace) -> int:
    from decanter import package

    return package.main(PROJECT, given.stage, given.out, layer_only=given.layer_only)
