"""RDS' IAM authentication: a signed URL that stands for a password.

It is computed here, with the function's own credentials, and nothing is asked for it: a function in
a VPC without a way out can use it. This module alone knows botocore, and is imported only where
tokens are used.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

from chalicelib.errors import NotConfigured

SECONDS = 900
"""How long a connection can be made with a token. One that is made stays."""


def token(host: str, port: str, user: str, environment: Mapping[str, str]) -> str:
    """A token for that user of that database.

    host: as RDS names it; a name of one's own for it does not do. environment: of a Lambda
    function, which holds its credentials. Raises NotConfigured without these.
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
