"""Database URLs → parameters of libpq: a verified server, and a password or a token.

The server's certificate is verified with certificates beside this module, those of RDS or those
that Aurora DSQL's are issued by, unless the URL names others. Only for a server on the same machine
may a URL ask for less.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from chalicelib.errors import NotConfigured
from chalicelib.postgres.engine import ENGINES
from chalicelib.settings import database_tokens, engine, role_names

BUNDLE = Path(__file__).parent / "rds-global-bundle.pem"
"""Certificates of Amazon RDS, PEM; docs/operating.md says where to get them."""

AMAZON_ROOTS = Path(__file__).parent / "amazon-root-cas.pem"
"""Certificates that those of Aurora DSQL are issued by, PEM: Amazon Root CA 1 to 4."""

_VERIFIED = "verify-full"
_PORT = "5432"
_NEEDED = {"user": "user", "dbname": "database"}  # libpq would guess them
_RDS = re.compile(r"\.([a-z]+(?:-[a-z]+)+-[0-9])\.rds\.amazonaws\.com$")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def parameters(url: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The parameters of psycopg2.connect: the URL as `dsn`, and others that override it.

    A token is valid for 15 minutes, so each connection needs new parameters. Raises NotConfigured,
    which never shows the password.
    """
    parts = url_parts(url)
    if unsafe := _unsafe(parts):
        raise NotConfigured(unsafe)
    is_dsql = ENGINES[engine(environment)].login == "dsql"
    found = {"dsn": url, "sslmode": parts.get("sslmode", _VERIFIED), "gssencmode": "disable"}
    if found["sslmode"].startswith("verify-") and "sslrootcert" not in parts:
        found["sslrootcert"] = str(AMAZON_ROOTS if is_dsql else BUNDLE)
    if "password" not in parts and database_tokens(environment):
        found["password"] = _token(parts, environment, is_dsql)
    return found


def url_parts(url: str) -> dict[str, str]:
    """A URL's parts by libpq's names: host, port, dbname, user, …

    Raises NotConfigured for a URL that libpq would misread. libpq's own error would show the
    password.
    """
    try:
        parts = parse_dsn(url)
        ports = parts.get("port", "").split(",")  # one for each host, or none
        fits = "@" not in parts.get("host", "") and all(not p or p.isdecimal() for p in ports)
    except psycopg2.ProgrammingError:
        fits = False
    if not fits:
        raise NotConfigured(
            "DECANTER_DATABASE_URL is not a URL of libpq:"
            " postgresql://user:password@host:port/database?sslmode=verify-full,"
            " with / @ : % in user and password percent-encoded"
        )
    return parts


def role_url(owner_url: str, kind: str, password: str | None, turn: int = 0) -> str:
    """The URL of a kind's role in the owner's database. password: None if tokens are used. turn:
    selects one of the role's two names. Raises NotConfigured."""
    database = url_parts(owner_url).get("dbname")
    if not database:
        raise NotConfigured("the database URL names no database, which the roles are named after")
    name = role_names(database, kind)[turn]
    if not owner_url.startswith(("postgresql://", "postgres://")):
        if password is None:
            return str(make_dsn(**{**url_parts(owner_url), "user": name, "password": None}))
        return str(make_dsn(owner_url, user=name, password=password))
    split = urlsplit(owner_url)
    secret = "" if password is None else f":{quote(password, safe='')}"
    place = split.netloc.rpartition("@")[2]
    query = [(key, value) for key, value in parse_qsl(split.query, keep_blank_values=True)]
    kept = urlencode([(k, v) for k, v in query if k not in ("user", "password")], quote_via=quote)
    return split._replace(netloc=f"{quote(name, safe='')}{secret}@{place}", query=kept).geturl()


def objection(url: str) -> str | None:
    """Why no function should be deployed with this URL, and the cure; None if it is fine. It reads
    the URL and the certificates, and does not connect."""
    try:
        parts = url_parts(url)
    except NotConfigured as error:
        return str(error)
    if missing := [what for part, what in _NEEDED.items() if not parts.get(part)]:
        return (
            f"the database URL names no {missing[0]}. Write it as"
            " postgresql://user:password@host:port/database."
        )
    region = _RDS.search(parts.get("host", ""))
    verifies = parts.get("sslmode", _VERIFIED).startswith("verify-")
    if region and verifies and "sslrootcert" not in parts and not _covers(region[1]):
        return (
            f"chalicelib/postgres/connecting/{BUNDLE.name} has no certificate for {region[1]}."
            " Fetch a newer one from"
            " https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem into that"
            " file (GovCloud and China have bundles of their own)."
        )
    return _unsafe(parts)


def _unsafe(parts: Mapping[str, str]) -> str | None:
    mode = parts.get("sslmode", _VERIFIED)
    if mode == _VERIFIED or _is_local(parts):
        return None
    return (
        f"the database URL asks for sslmode={mode}, with which anything on the way could pretend to"
        f" be {parts.get('host') or 'the server'}. Use sslmode=verify-full (the default), with"
        " sslrootcert=FILE if its certificate is not from RDS."
    )


def _is_local(parts: Mapping[str, str]) -> bool:
    if "service" in parts or parts.keys().isdisjoint(("host", "hostaddr")):
        return False  # a file or the environment names the host
    places = parts.get("hostaddr") or parts.get("host", "")
    return all(map(_is_loopback, places.split(",")))


def _is_loopback(place: str) -> bool:
    if place == "localhost" or place.startswith("/"):
        return True
    try:
        return ip_address(place).is_loopback
    except ValueError:
        return False


def _token(parts: Mapping[str, str], environment: Mapping[str, str], is_dsql: bool) -> str:
    from chalicelib.postgres.connecting import token

    host, port, user = parts.get("host", ""), parts.get("port", _PORT), parts.get("user")
    if not host or not user or "," in host:
        needing = "DECANTER_ENGINE=dsql" if is_dsql else "DECANTER_DATABASE_IAM"
        example = "admin@cluster.dsql.region.on.aws:5432/postgres"
        if not is_dsql:
            example = "user@name.region.rds.amazonaws.com:5432/database"
        raise NotConfigured(
            f"{needing} needs a database URL that names one host and a user, such as"
            f" postgresql://{example}"
        )
    if is_dsql:
        return token.of_dsql(host, user, environment)
    return token.of_rds(host, port, user, environment)


def _covers(region: str) -> bool:
    """Whether one of the certificates is of that region. Its name is plain text within DER."""
    from base64 import b64decode

    name = f"RDS {region} ".encode()
    return any(name in b64decode(body) for body in _PEM.findall(BUNDLE.read_text()))
