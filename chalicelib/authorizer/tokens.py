"""Tokens: their validation, the caller that they name, and its scopes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.authorizer.keys import Keys
from chalicelib.authorizer.settings import JwtSettings
from chalicelib.ops import READ, WRITE, scopes

MAX_LENGTH = 10_000
"""Characters. API Gateway accepts 10,240 bytes of headers."""

_SCOPE = re.compile(rf"\S+:(?:{'|'.join([READ, WRITE, *scopes()])})")


class InvalidToken(Exception):
    """The token is invalid; the text says why, without any of its contents."""


@dataclass(frozen=True)
class Token:
    """A valid token. scopes: only those of this API. expires: seconds since the epoch."""

    issuer: str
    subject: str
    scopes: tuple[str, ...]
    expires: int


def verify(text: str, settings: JwtSettings, keys: Keys) -> Token:
    """Check a JWT. Raises InvalidToken, and IssuerUnavailable if it cannot be checked now."""
    import jwt

    if len(text) > MAX_LENGTH:
        raise InvalidToken("too long")
    try:
        header = jwt.get_unverified_header(text)
        algorithm = header.get("alg")
        if algorithm not in settings.algorithms:
            raise InvalidToken("algorithm")
        key = keys.find(header.get("kid"))
        if key is None or key.get("alg", algorithm) != algorithm:
            raise InvalidToken("unknown key")
        claims = jwt.decode(
            text,
            jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            audience=settings.audience,
            issuer=settings.issuer,
            leeway=settings.leeway,
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "enforce_minimum_key_length": True,
            },
        )
        return Token(
            issuer=settings.issuer,
            subject=_subject(claims),
            scopes=_scopes(claims),
            expires=int(claims["exp"]) + settings.leeway,
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidToken(type(error).__name__) from None


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not subject:
        raise InvalidToken("subject")
    return subject


def _scopes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    found = claims.get("scope", claims.get("scp", ""))
    if isinstance(found, str):
        found = found.split()
    if not isinstance(found, list):
        raise InvalidToken("scopes")
    ours = (scope for scope in found if isinstance(scope, str) and _SCOPE.fullmatch(scope))
    return tuple(dict.fromkeys(ours))
