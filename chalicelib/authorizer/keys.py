"""The public keys of the issuer, fetched when they are needed and cached by the container."""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.authorizer.settings import JwtSettings, is_loopback, is_trustworthy

logger = logging.getLogger("decanter.authorizer")

FRESH_SECONDS = 600
"""Age at which keys are fetched again, so that withdrawn ones are forgotten."""

REFETCH_SECONDS = 30
"""Shortest time between two fetches, because strangers choose the key names in tokens."""

RETRY_SECONDS = 2
"""The same while no key is known."""

TIMEOUT_SECONDS = 3
_MAX_BYTES = 1_000_000
_KINDS = frozenset({"RSA", "EC", "OKP"})


class IssuerUnavailable(Exception):
    """The keys cannot be fetched now, so tokens cannot be checked."""


class Keys:
    """The issuer's keys (JWK), by the names in tokens. Safe to share between threads.

    fetch: returns the JSON at a URL, or raises OSError or ValueError. now: a monotonic clock,
    seconds.
    """

    def __init__(
        self,
        settings: JwtSettings,
        fetch: Callable[[str], Any] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._fetch = fetch or fetch_json
        self._now = now
        self._lock = threading.Lock()
        self._keys: dict[str | None, Mapping[str, Any]] = {}
        self._fetched: float | None = None
        self._tried: float | None = None

    def find(self, name: str | None) -> Mapping[str, Any] | None:
        """The key of that name, or the only key if there is no name; None if the issuer has none.

        Raises IssuerUnavailable if that is not known.
        """
        with self._lock:
            now = self._now()
            key = self._named(name)
            is_fresh = self._fetched is not None and now - self._fetched < FRESH_SECONDS
            if (key is None or not is_fresh) and self._may_try(now):
                self._refresh(now)
                key = self._named(name)
            if key is None and (self._fetched is None or self._fetched != self._tried):
                raise IssuerUnavailable("the keys of the issuer cannot be fetched now")
            return key

    def _named(self, name: str | None) -> Mapping[str, Any] | None:
        if name is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(name)

    def _may_try(self, now: float) -> bool:
        pause = REFETCH_SECONDS if self._keys else RETRY_SECONDS
        return self._tried is None or now - self._tried >= pause

    def _refresh(self, now: float) -> None:
        self._tried = now
        try:
            self._keys = _usable(self._fetch(self._url()))
        except (OSError, ValueError) as error:
            logger.error("cannot fetch the keys of %s: %s", self._settings.issuer, error)
        else:
            self._fetched = now

    def _url(self) -> str:
        if self._settings.jwks_url is not None:
            return self._settings.jwks_url
        issuer = self._settings.issuer
        document = self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise ValueError("its discovery document names another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not is_trustworthy(url):
            raise ValueError(f"its discovery document has no https URL of keys: {url!r}")
        return url


def fetch_json(url: str) -> Any:
    """The JSON at a URL. Raises OSError and ValueError."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        body = answer.read(_MAX_BYTES + 1)
    if len(body) > _MAX_BYTES:
        raise ValueError(f"{url} answers more than {_MAX_BYTES} bytes")
    return json.loads(body)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Turns redirects into an HTTPError, because they could lead away from https."""

    def redirect_request(self, *_request: Any) -> None:
        return None


def _usable(document: Any) -> dict[str | None, Mapping[str, Any]]:
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("its answer is no key set")
    found: dict[str | None, Mapping[str, Any]] = {
        key.get("kid"): key
        for key in listed
        if isinstance(key, dict)
        and key.get("kty") in _KINDS
        and key.get("use", "sig") == "sig"
        and isinstance(key.get("kid"), str | None)
    }
    if not found:
        raise ValueError("its key set has no signing key")
    return found
