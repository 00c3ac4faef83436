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
    from decanter.deployment import deploy, pipeline
    from decanter.deployment.invocation import invoke
    from decanter.deployment.stage import load

    function = pipeline.migrate_function(load(PROJECT, given.stage))
    if given.dry_run:
        answer = invoke(pipeline.client, function, {"dry_run": True})
        print(answer["sql"].strip() or "No revision is missing.")
        return 0
    event = {name: True for name in ("force", "revoke", "new_passwords") if vars(given)[name]}
    answer = invoke(pipeline.client, function, event)
    applied = ", ".join(answer.get("applied", []))
    print(f"Applied {applied}." if applied else "No revision was missing.")
    for line in (*deploy.migration_notes(answer), *deploy.revoke_notes(answer.get("later", []))):
        print(line)
    return 0
