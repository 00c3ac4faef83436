"""Tokens of RDS' IAM authentication, and of Aurora DSQL: a signed URL in place of a password.

It is computed with the function's credentials and without a request, so that it works in a VPC
without a way out. Only this module uses botocore, and it is imported only where tokens are used.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from chalicelib.errors import NotConfigured

SECONDS = 900
"""The validity of a token for opening a connection, which stays open beyond it."""

ADMIN = "admin"
"""The user of Aurora DSQL for whom the right to log in is another one than for all others."""

# CLUSTER.dsql.REGION.on.aws, or CLUSTER.dsql-SERVICE.REGION.on.aws by way of PrivateLink.
_OF_DSQL = re.compile(r"\.dsql(?:-[a-z0-9]+)?\.([a-z0-9-]+)\.on\.aws$")


def of_rds(host: str, port: str, user: str, environment: Mapping[str, str]) -> str:
    """A token for a user of a database on RDS.

    host: the name that RDS gave it; no alias works. environment: of a Lambda function, which has
    its credentials. Raises NotConfigured without these.
    """
    query = {"Action": "connect", "DBUser": user}
    return _signed(f"{host}:{port}", query, "rds-db", _region(environment), environment)


def of_dsql(host: str, user: str, environment: Mapping[str, str]) -> str:
    """A token for a cluster of Aurora DSQL, which lets in as any user that the role of IAM is
    mapped to, or as the admin.

    host: the cluster's endpoint. environment: of a Lambda function. Raises NotConfigured.
    """
    endpoint = _OF_DSQL.search(host)
    region = endpoint[1] if endpoint else _region(environment)
    action = "DbConnectAdmin" if user == ADMIN else "DbConnect"
    return _signed(host, {"Action": action}, "dsql", region, environment)


def _signed(
    place: str,
    query: Mapping[str, str],
    service: str,
    region: str,
    environment: Mapping[str, str],
) -> str:
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    credentials = Credentials(
        _required(environment, "AWS_ACCESS_KEY_ID"),
        _required(environment, "AWS_SECRET_ACCESS_KEY"),
        environment.get("AWS_SESSION_TOKEN"),
    )
    request = AWSRequest("GET", f"https://{place}/?{urlencode(query)}")
    SigV4QueryAuth(credentials, service, region, expires=SECONDS).add_auth(request)
    return str(request.url).removeprefix("https://")


def _region(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_REGION") or _required(environment, "AWS_DEFAULT_REGION")


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name):
        return value
    raise NotConfigured(
        f"{name} is not set: a database URL without a password takes region and credentials from"
        " the environment of a Lambda function"
    )
