"""Settings of the authorizer: the issuer of tokens."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from chalicelib.errors import NotConfigured

ALGORITHMS = frozenset(
    "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split()  # noqa: SIM905
)
"""Those with a key pair. `none` is no signature; with HS256 a public key would be a password."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_LEEWAY_SECONDS = 600


@dataclass(frozen=True)
class JwtSettings:
    """The tokens that are accepted.

    issuer: exactly as in the claim `iss`. jwks_url: of the issuer's keys; None: from its discovery
    document. leeway: seconds that clocks may differ.
    """

    issuer: str
    audience: str
    algorithms: frozenset[str]
    leeway: int
    jwks_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "JwtSettings":
        """Raises NotConfigured, which says how to correct the setting."""
        issuer = _required(environment, "DECANTER_JWT_ISSUER")
        jwks_url = environment.get("DECANTER_JWT_JWKS_URL") or None
        for name, url in (("DECANTER_JWT_ISSUER", issuer), ("DECANTER_JWT_JWKS_URL", jwks_url)):
            if url is not None and not is_trustworthy(url):
                raise NotConfigured(f"{name} must be an https URL (http only on loopback): {url}")
        return cls(
            issuer=issuer,
            audience=_required(environment, "DECANTER_JWT_AUDIENCE"),
            algorithms=_algorithms(environment.get("DECANTER_JWT_ALGORITHMS") or "RS256,ES256"),
            leeway=_leeway(environment.get("DECANTER_JWT_LEEWAY") or "30"),
            jwks_url=jwks_url,
        )


def is_trustworthy(url: str) -> bool:
    """Whether nobody in between can change the response: https, or http on this machine."""
    if re.search(r"[\s\x00-\x1f]", url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise NotConfigured(
            f"{name} is not set; the template sets it from its parameters. On your machine: "
            "`make dev` starts the database, the queues, an issuer of tokens and this server"
        )
    return value


def _algorithms(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(","))
    if not names <= ALGORITHMS:
        refused = ", ".join(sorted(names - ALGORITHMS)) or "nothing"
        raise NotConfigured(
            f"DECANTER_JWT_ALGORITHMS names {refused!r}; separate by commas any of "
            f"{', '.join(sorted(ALGORITHMS))}"
        )
    return names


def _leeway(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_LEEWAY_SECONDS:
        raise NotConfigured(
            f"DECANTER_JWT_LEEWAY is {text!r}; it must be seconds from 0 to {_MAX_LEEWAY_SECONDS}"
        )
    return int(text)
