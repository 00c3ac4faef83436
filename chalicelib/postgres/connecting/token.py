"""RDS' IAM authentication: a signed URL in place of a password.

It is computed with the function's credentials and without a request, so that it works in a VPC
without a way out. Only this module uses botocore, and it is imported only where tokens are used.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from chalicelib.errors import NotConfigured

SECONDS = 900
"""The validity of a token for opening a connection, which stays open beyond it."""


def token(host: str, port: str, user: str, environment: Mapping[str, str]) -> str:
    """A token for a user of a database.

    host: the name that RDS gave it; no alias works. environment: of a Lambda function, which has
    its credentials. Raises NotConfigured without these.
    """
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    try:
        credentials = Credentials(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment.get("AWS_SESSION_TOKEN"),
        )
        region = environment.get("AWS_REGION") or environment["AWS_DEFAULT_REGION"]
    except KeyError as error:
        raise NotConfigured(
            f"{error.args[0]} is not set: DECANTER_DATABASE_IAM takes region and credentials from"
            " the environment of a Lambda function"
        ) from None
    query = urlencode({"Action": "connect", "DBUser": user})
    request = AWSRequest("GET", f"https://{host}:{port}/?{query}")
    SigV4QueryAuth(credentials, "rds-db", region, expires=SECONDS).add_auth(request)
    return str(request.url).removeprefix("https://")
