"""The command line of the project: ``python -m decanter <command>``."""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from decanter.commands import errors
from decanter.local import issuer, signals
from decanter.local.environment import direct

PROJECT = Path(__file__).parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    own = given[: given.index("--")] if "--" in given else given
    options = parser().parse_args(own)
    options.passed_on = given[len(own) + 1 :]  # to psql
    run: Callable[[argparse.Namespace], int] = options.run
    os.environ.update(direct())
    return errors.guarded(lambda: run(options))


def parser() -> argparse.ArgumentParser:
    """All commands with their help."""
    top = argparse.ArgumentParser(
        prog="python -m decanter",
        description="Decanter takes writes over REST and pours them into Postgres.",
    )
    commands = top.add_subparsers(required=True, metavar="command")

    run = _add(
        commands,
        "run",
        _run,
        "start the local cloud, send 28,298 airports through it, and serve until Ctrl-C",
    )
    _data_dir(run)
    _port(run, "MiniStack and so of the API (4566 if it is free)")
    run.add_argument("--once", action="store_true", help="end after the summary")

    dev = _add(
        commands,
        "dev",
        _dev,
        "start the local cloud with `chalice local` in front; every change takes effect at once",
    )
    _data_dir(dev)
    _port(dev, "`chalice local` (8000 if it is free)")

    cloud = _add(
        commands, "cloud", _cloud, "start and deploy the local cloud, and serve until Ctrl-C"
    )
    _data_dir(cloud)
    _port(cloud, "MiniStack and so of the API (4566 if it is free)")

    postgres = _add(
        commands, "postgres", _postgres, "start, stop or query the Postgres of the local cloud"
    )
    postgres.add_argument(
        "action",
        choices=["start", "stop", "url", "psql", "drop"],
        help="psql takes the arguments of psql after --; drop: what the data folder has there",
    )
    _data_dir(postgres)

    redeploy = _add(
        commands, "redeploy", _redeploy, "deploy the project onto the local cloud that serves"
    )
    redeploy.add_argument("--force", action="store_true", help="even if queued messages break")
    _data_dir(redeploy)

    token = _add(
        commands, "token", _token, "print a token for the API of the local cloud, with all scopes"
    )
    token.add_argument(
        "--scope",
        default=issuer.ALL_SCOPES,
        help=f'what it allows, such as "stations:write stations:read" ({issuer.ALL_SCOPES})',
    )
    token.add_argument(
        "--subject", default=issuer.SUBJECT, help=f"whom it names ({issuer.SUBJECT})"
    )
    token.add_argument(
        "--expires",
        type=int,
        default=issuer.HOUR,
        metavar="SECONDS",
        help=f"how long it is good ({issuer.HOUR})",
    )
    _data_dir(token)

    package = _add(
        commands,
        "package",
        _package,
        "check a stage and package it: the CloudFormation template and the zips of the functions",
    )
    package.add_argument("--stage", required=True, help="stage in .chalice/config.json")
    package.add_argument(
        "--out", type=Path, metavar="DIR", help="where the package goes (build/STAGE)"
    )
    package.add_argument(
        "--layer-only",
        action="store_true",
        help="make only the layer, and put it where `chalice deploy` takes it",
    )

    checked = _add(
        commands, "check", _check, "look for all that would make a deployment fail; change nothing"
    )
    _deployable(checked)
    checked.add_argument(
        "--plain", action="store_true", help="of `chalice deploy`: look at the queues it expects"
    )
    deployed = _add(
        commands, "deploy", _deploy, "package, check, migrate, deploy, and test what was deployed"
    )
    _deployable(deployed)
    deployed.add_argument(
        "--bucket", help="bucket for the code (decanter-ACCOUNT-REGION, made if it is missing)"
    )
    deployed.add_argument(
        "--force", action="store_true", help="migrate even if messages that are queued break"
    )
    migrated = _add(
        commands, "migrate", _migrate, "have the deployed migrate function apply what is missing"
    )
    _stage(migrated)
    migrated.add_argument("--dry-run", action="store_true", help="print the SQL, change nothing")
    migrated.add_argument(
        "--force", action="store_true", help="even if messages that are queued break"
    )
    migrated.add_argument(
        "--revoke",
        action="store_true",
        help="no former version runs or has messages queued: take back what only those needed",
    )
    migrated.add_argument(
        "--new-passwords",
        action="store_true",
        help="set the passwords of roles as their URLs say, whatever is locked out",
    )
    queues = _add(commands, "queues", _queues, "make the queues that `chalice deploy` expects")
    _deployable(queues)
    partial = _add(
        commands,
        "partial-responses",
        _partial_responses,
        "turn partial batch responses on, after `chalice deploy`",
    )
    _stage(partial)
    secrets = _add(
        commands, "secrets", _secrets, "make the secrets of the database roles of a stage"
    )
    _stage(secrets)
    secrets.add_argument(
        "--rotate", action="store_true", help="new passwords; deploy to have them used"
    )
    budget = _add(
        commands, "budget", _budget, "print the connection budget, and whether the database fits"
    )
    budget.add_argument("--stage", default="dev", help="stage in .chalice/config.json (dev)")
    budget.add_argument("--url", help="the database to ask, in place of the deployed stage's")
    budget.add_argument(
        "--others",
        type=int,
        default=0,
        metavar="N",
        help="connections that other programs may need, if they have less now",
    )

    template = _add(
        commands,
        "template",
        _template,
        "print what is merged into Chalice's CloudFormation template",
    )
    template.add_argument("--stage", default="dev", help="stage in .chalice/config.json (dev)")

    contract = _add(
        commands,
        "contract",
        _contract,
        "compile chalicelib/models.py into chalicelib/contract.json",
    )
    contract.add_argument(
        "--check", action="store_true", help="write nothing; fail when it is out of date"
    )
    migration = _add(
        commands,
        "migration",
        _migration,
        "write the migration that brings the database to chalicelib/models.py",
    )
    migration.add_argument("message", nargs="*", help="what changes, for the name of the file")
    migration.add_argument(
        "--drop",
        default="",
        metavar="NAMES",
        help="what is to go though the models do not know it, separated by commas",
    )
    return top


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
    command.set_defaults(run=run)
    return command


def _stage(command: argparse.ArgumentParser) -> None:
    command.add_argument("--stage", required=True, help="stage in .chalice/config.json")


def _deployable(command: argparse.ArgumentParser) -> None:
    _stage(command)
    command.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the template; others keep their values",
    )


def _data_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data-dir",
        type=Path,
        default=PROJECT / ".decanter",
        metavar="DIR",
        help="where the data of Postgres and the logs are kept (.decanter)",
    )


def _port(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--port", type=_port_number, help=f"port of {what}")


def _port_number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text} is no port: a number from 1 to 65535")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    return int(_serving("demo.run").main(options.data_dir, options.port, once=options.once))


def _dev(options: argparse.Namespace) -> int:
    return int(_serving("dev").main(options.data_dir, options.port))


def _cloud(options: argparse.Namespace) -> int:
    return int(_serving("demo.run").serve_only(options.data_dir, options.port))


def _serving(name: str) -> Any:
    """A module that serves until Ctrl-C, which is kept while it loads its libraries: some of them
    pass over whatever is raised then."""
    signals.listen()
    with signals.held():
        return import_module(f"decanter.local.{name}")


def _postgres(options: argparse.Namespace) -> int:
    from decanter.local import server

    return server.main(options.data_dir, options.action, options.passed_on)


def _redeploy(options: argparse.Namespace) -> int:
    import os

    from decanter.deployment import pipeline
    from decanter.local import environment, ministack
    from decanter.local.cloud import STAGE

    found = ministack.serving(options.data_dir)
    with environment.alone():
        os.environ.update(found)
        return pipeline.deploy_main(PROJECT, STAGE, None, (), force=options.force)


def _token(options: argparse.Namespace) -> int:
    return issuer.main(options.data_dir, options.scope, options.subject, options.expires)


def _package(options: argparse.Namespace) -> int:
    from decanter import package

    return package.main(PROJECT, options.stage, options.out, layer_only=options.layer_only)


def _check(options: argparse.Namespace) -> int:
    from decanter.deployment import pipeline

    return pipeline.check_main(PROJECT, options.stage, options.parameter, plain=options.plain)


def _deploy(options: argparse.Namespace) -> int:
    from decanter.deployment import pipeline

    return pipeline.deploy_main(
        PROJECT, options.stage, options.bucket, options.parameter, force=options.force
    )


def _migrate(options: argparse.Namespace) -> int:
    from decanter.deployment import pipeline

    return pipeline.migrate_main(
        PROJECT,
        options.stage,
        dry_run=options.dry_run,
        force=options.force,
        revoke=options.revoke,
        new_passwords=options.new_passwords,
    )


def _queues(options: argparse.Namespace) -> int:
    from decanter.deployment import chalice_deploy

    return chalice_deploy.main(PROJECT, options.stage, options.parameter)


def _partial_responses(options: argparse.Namespace) -> int:
    from decanter.deployment import chalice_deploy

    return chalice_deploy.partial_responses_main(PROJECT, options.stage)


def _secrets(options: argparse.Namespace) -> int:
    from decanter.deployment import pipeline

    return pipeline.secrets_main(PROJECT, options.stage, rotate=options.rotate)


def _budget(options: argparse.Namespace) -> int:
    from decanter.deployment import budget

    return budget.main(PROJECT, options.stage, options.url, options.others)


def _template(options: argparse.Namespace) -> int:
    from decanter.deployment import template

    return template.main(PROJECT, options.stage)


def _contract(options: argparse.Namespace) -> int:
    from decanter import contract

    return contract.main(["--check"] if options.check else [])


def _migration(options: argparse.Namespace) -> int:
    from decanter import migration

    return migration.main(options.message, options.drop)


if __name__ == "__main__":
    sys.exit(main())
