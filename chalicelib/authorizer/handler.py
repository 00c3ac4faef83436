"""The authorizer function: the header `Authorization` → the caller and its rights.

API Gateway caches the answer for all routes, for `ttl_seconds` in app.py. So the answer never
depends on the route of the request.
"""

import base64
import logging
from functools import cache

from chalice.app import AuthRequest, AuthResponse, AuthRoute

from chalicelib.authorizer.keys import Keys
from chalicelib.authorizer.settings import JwtSettings
from chalicelib.authorizer.tokens import MAX_LENGTH, InvalidToken, verify

logger = logging.getLogger("decanter.authorizer")

PAGES = ("/docs", "/docs/*", "/openapi.json", "/console", "/console/*")
"""Pages that a browser opens. It can ask for a password but not for a token, so these routes alone
also accept a token as the password."""


class Unauthorized(Exception):
    """API Gateway answers 401 if the text is exactly "Unauthorized", otherwise 500."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


def authorize(request: AuthRequest) -> AuthResponse:
    """The routes that the credentials open, and the caller.

    Raises Unauthorized for invalid credentials, IssuerUnavailable if they cannot be checked, and
    NotConfigured.
    """
    try:
        settings, keys = _issuer()
        scheme, text = _credentials(request.token)
        token = verify(text, settings, keys)
    except InvalidToken as reason:
        logger.info("refused: %s", reason)
        raise Unauthorized from None
    except Exception as error:
        # A metric filter reads this line.
        logger.error("unable to check a token: %s", error)
        raise
    name = f"{token.issuer} {token.subject}"
    pages: list[str | AuthRoute] = [AuthRoute(path, ["GET", "HEAD"]) for path in PAGES]
    return AuthResponse(
        routes=["*"] if scheme == "bearer" else pages,
        principal_id=name,
        context={"name": name, "scopes": " ".join(token.scopes), "exp": str(token.expires)},
    )


@cache
def _issuer() -> tuple[JwtSettings, Keys]:
    settings = JwtSettings.from_environment()
    return settings, Keys(settings)


def _credentials(header: str) -> tuple[str, str]:
    """Scheme in lower case, and the token."""
    scheme, _, text = header.strip().partition(" ")
    scheme, text = scheme.lower(), text.strip()
    if scheme == "basic":
        return scheme, _password(text)
    if scheme != "bearer":
        raise InvalidToken("scheme")
    return scheme, text


def _password(text: str) -> str:
    if len(text) > 2 * MAX_LENGTH:
        raise InvalidToken("too long")
    try:
        return base64.b64decode(text, validate=True).decode("ascii").partition(":")[2]
    except ValueError:
        raise InvalidToken("not base64") from None
