"""``python -m decanter secrets``: the secrets of the database roles, made of the owner's URL."""

import secrets
from typing import Any

from chalicelib.postgres.connecting.access import role_url, url_parts
from chalicelib.settings import role_names
from decanter.deployment import functions
from decanter.deployment.aws import Aws

_PASSWORD_BYTES = 32


def ensure(aws: Aws, prefix: str, *, tokens: bool = False, rotate: bool = False) -> list[str]:
    """Make the secrets of the roles that are missing; returns the names of those that were written.

    One that is there keeps its password, and follows the owner's URL to another server. tokens: the
    roles log in with tokens of RDS, so their URLs have no password. rotate: to new passwords. What
    logs in otherwise than before is another role, so that the version that runs is not locked out.
    Raises botocore's ClientError, and NotConfigured for an owner's URL that cannot be read.
    """
    client = aws("secretsmanager")
    owner = client.get_secret_value(SecretId=f"{prefix}/database-url")["SecretString"]
    database = url_parts(owner).get("dbname", "")
    written = []
    for kind in functions.roles():
        name = f"{prefix}/{kind}-url"
        present = _value(client, name)
        known = url_parts(present) if present else {}
        password, names = known.get("password"), role_names(database, kind)
        turn = names.index(known["user"]) if known.get("user") in names else 0
        if present and (rotate or tokens == bool(password)):
            password, turn = None, 1 - turn
        url = role_url(
            owner,
            kind,
            None if tokens else password or secrets.token_urlsafe(_PASSWORD_BYTES),
            turn,
        )
        if url == present:
            continue
        if present is None:
            client.create_secret(Name=name, SecretString=url)
        else:
            client.put_secret_value(SecretId=name, SecretString=url)
        written.append(name)
    return written


def _value(client: Any, name: str) -> str | None:
    try:
        return str(client.get_secret_value(SecretId=name)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None
