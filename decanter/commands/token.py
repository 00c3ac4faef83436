"""Print a token for the API of the local cloud, with all scopes."""

import sys
from argparse import ArgumentParser, Namespace

from decanter.commands import options
from decanter.local import issuer


def arguments(parser: ArgumentParser) -> None:
    scopes = f'scopes, such as "stations:write stations:read" ({issuer.ALL_SCOPES})'
    parser.add_argument("--scope", default=issuer.ALL_SCOPES, help=scopes)
    subject = f"subject ({issuer.SUBJECT})"
    parser.add_argument("--subject", default=issuer.SUBJECT, help=subject)
    seconds = f"seconds until it expires ({issuer.HOUR})"
    parser.add_argument("--expires", type=int, default=issuer.HOUR, metavar="SECONDS", help=seconds)
    options.data_dir(parser)


def run(given: Namespace) -> int:
    if given.expires <= 0:
        print("--expires has to be a positive number of seconds.", file=sys.stderr)
        return 1
    print(issuer.Issuer(given.data_dir).token(given.scope, given.subject, given.expires))
    return 0
