"""Compile chalicelib/models.py into chalicelib/contract.json."""

from argparse import ArgumentParser, Namespace


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when it is out of date"
    )


def run(given: Namespace) -> int:
    from decanter import contract

    return contract.main(["--check"] if given.check else [])
