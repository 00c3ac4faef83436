"""The secrets of a stage; those of the database roles are made from the owner's URL."""

import secrets

from chalicelib.postgres.connecting.access import role_url, url_parts
from chalicelib.settings import role_names
from decanter.deployment import functions
from decanter.deployment.aws import Aws
from decanter.deployment.findings import Finding, PreflightFailed

_PASSWORD_BYTES = 32


def ensure(aws: Aws, prefix: str, *, tokens: bool = False, rotate: bool = False) -> list[str]:
    """Make or update the secrets of the roles; returns the names of those that were written.

    An existing one keeps its password, and follows the owner's URL to another server. tokens: roles
    log in with RDS tokens, so URLs have no password. rotate: make new passwords. Where a role's way
    to log in changes, its URL names the other role of its kind, so that the running version is not
    locked out. Raises PreflightFailed, and NotConfigured for an unreadable URL of the owner.
    """
    client, owner = aws("secretsmanager"), owner_url(aws, prefix)
    database = url_parts(owner).get("dbname", "")
    written = []
    for kind in functions.roles():
        name = f"{prefix}/{kind}-url"
        present = read(aws, name)
        known = url_parts(present) if present else {}
        password, names = known.get("password"), role_names(database, kind)
        turn = names.index(known["user"]) if known.get("user") in names else 0
        if present and (rotate or tokens == bool(password)):
            password, turn = None, 1 - turn
        if tokens:
            url = role_url(owner, kind, None, turn)
        else:
            url = role_url(owner, kind, password or secrets.token_urlsafe(_PASSWORD_BYTES), turn)
        if url != present:
            if present is None:
                client.create_secret(Name=name, SecretString=url)
            else:
                client.put_secret_value(SecretId=name, SecretString=url)
            written.append(name)
    return written


def owner_url(aws: Aws, prefix: str) -> str:
    """The URL of the database's owner. Raises PreflightFailed."""
    name = f"{prefix}/database-url"
    if (url := read(aws, name)) is None:
        raise PreflightFailed([missing(functions.secret_parameter(functions.OWNER), name)])
    return url


def read(aws: Aws, name: str) -> str | None:
    """The value of a secret; None: it does not exist."""
    client = aws("secretsmanager")
    try:
        return str(client.get_secret_value(SecretId=name)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None


def missing(parameter: str, name: str) -> Finding:
    """The finding for a secret that does not exist. parameter: of the template."""
    if parameter in ("DatabaseUrlSecret", "ReceiptKeySecret"):
        what = "the URL of the database" if parameter.startswith("D") else "the receipt key"
        cure = (
            f"run `aws secretsmanager create-secret --name {name} --secret-string file://FILE` with"
            f" {what} in FILE"
        )
    else:
        cure = "`python -m decanter secrets` makes it from the owner's URL"
    return Finding("missing-secret", f"the secret {name} ({parameter}) does not exist: {cure}.")


def unsafe(name: str, why: str) -> Finding:
    """The finding for a secret with a URL that functions would refuse."""
    return Finding("unsafe-url", f"in the secret {name}: {why}")
