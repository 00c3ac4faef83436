"""Have the deployed migrate function apply the missing revisions."""

from argparse import ArgumentParser, Namespace

from decanter import PROJECT
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    options.stage(parser)
    for name, text in (
        ("dry-run", "print the SQL, change nothing"),
        ("force", "migrate even if that breaks queued messages"),
        ("revoke", "revoke what only former versions need; none may run or have messages queued"),
        ("new-passwords", "set role passwords to those in their URLs, whoever is locked out"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)


def run(given: Namespace) -> None:
    from decanter.deployment import deploy, pipeline
    from decanter.deployment.invocation import invoke
    from decanter.deployment.stage import load

    function = pipeline.migrate_function(load(PROJECT, given.stage))
    if given.dry_run:
        answer = invoke(pipeline.client, function, {"dry_run": True})
        print(answer["sql"].strip() or "No revision is missing.")
        return
    event = {name: True for name in ("force", "revoke", "new_passwords") if vars(given)[name]}
    answer = invoke(pipeline.client, function, event)
    applied = ", ".join(answer.get("applied", []))
    print(f"Applied {applied}." if applied else "No revision was missing.")
    for line in (*deploy.migration_notes(answer), *deploy.revoke_notes(answer.get("later", []))):
        print(line)
