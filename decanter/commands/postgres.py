"""Start, stop, query or drop the Postgres of the local cloud."""

import os
from argparse import ArgumentParser, Namespace

from decanter import POSTGRES_URL
from decanter.commands import options


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=["start", "stop", "url", "psql", "drop"],
        help="psql takes its own arguments after --; drop removes the databases of the data folder",
    )
    options.data_dir(parser)


def run(given: Namespace) -> None:
    from chalicelib.postgres.connecting import session
    from decanter.local.postgres import program
    from decanter.local.server import server

    found = server(given.data_dir)
    match given.action:
        case "start":
            found.start()
            print(f"Postgres accepts connections at {found.address}")
        case "stop":
            found.stop()
            print("Postgres is stopped" if found.log else f"{POSTGRES_URL} is left running")
        case "url":
            print(found.url())
        case "psql":
            psql = [str(program("psql")), found.url(), *given.passed_on]
            os.execve(psql[0], psql, session.environment())  # noqa: S606
        case "drop":
            found.drop()
            print(f"The databases of {given.data_dir} are dropped")
