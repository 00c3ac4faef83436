"""The secrets of the database roles, made from the owner's URL."""

import secrets
from typing import Any

from chalicelib.postgres.connecting.access import role_url, url_parts
from chalicelib.settings import role_names
from decanter.deployment import functions
from decanter.deployment.aws import Aws

_PASSWORD_BYTES = 32


def ensure(aws: Aws, prefix: str, *, tokens: bool = False, rotate: bool = False) -> list[str]:
    """Make or update the secrets of the roles; returns the names of those that were written.

    An existing one keeps its password, and follows the owner's URL to another server. tokens: roles
    log in with RDS tokens, so URLs have no password. rotate: make new passwords. Where a role's way
    to log in changes, its URL names the other role of its kind, so that the running version is not
    locked out. Raises botocore's ClientError, and NotConfigured for an unreadable URL of the owner.
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
