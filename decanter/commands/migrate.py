"""Have the deployed migrate function apply what is missing."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    for name, text in (
        ("dry-run", "print the SQL, change nothing"),
        ("force", "even if messages that are queued break"),
        (
            "revoke",
            "no former version runs or has messages queued: take back what only those needed",
        ),
        (
            "new-passwords",
            "set the passwords of roles as their URLs say, whatever is locked out",
        ),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)


def run(given: Namespace) -> int:
    from decanter.deployment import pipeline

    return pipeline.migrate_main(
        PROJECT,
        given.stage,
        dry_run=given.dry_run,
        force=given.force,
        revoke=given.revoke,
        new_passwords=given.new_passwords,
    )
