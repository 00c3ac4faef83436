"""The public keys of the issuer: fetched when they are needed, and remembered by the container."""

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
"""After which keys are fetched again, so that one that was withdrawn is forgotten."""

REFETCH_SECONDS = 30
"""Least time between two fetches, whatever keys tokens name: strangers choose those names."""

RETRY_SECONDS = 2
"""The same while no key is known at all."""

TIMEOUT_SECONDS = 3
_MAX_BYTES = 1_000_000
_KINDS = frozenset({"RSA", "EC", "OKP"})


class IssuerOutOfReach(Exception):
    """The keys cannot be had now, so nobody can tell whether a token is good."""


class Keys:
    """The issuer's keys (JWK), by the name that tokens call them.

    fetch: gives the JSON that a URL answers, and raises OSError or ValueError. now: a clock that
    never goes back, seconds. May be shared by threads.
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
        """The key of that name, or the only one there is; None: the issuer has no such key.

        Raises IssuerOutOfReach where that is not known.
        """
        with self._lock:
            now = self._now()
            key = self._named(name)
            is_fresh = self._fetched is not None and now - self._fetched < FRESH_SECONDS
            if (key is None or not is_fresh) and self._may_try(now):
                self._refresh(now)
                key = self._named(name)
            if key is None and (self._fetched is None or self._fetched != self._tried):
                raise IssuerOutOfReach("the keys of the issuer cannot be fetched now")
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
            raise ValueError("its discovery document is another issuer's")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not is_trustworthy(url):
            raise ValueError(f"its discovery document names no https URL of keys: {url!r}")
        return url


def fetch_json(url: str) -> Any:
    """The JSON that a URL answers. Raises OSError and ValueError."""
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
    """A redirection could lead from https to anywhere; it ends as an HTTPError."""

    def redirect_request(self, *_request: Any) -> None:
        return None


def _usable(document: Any) -> dict[str | None, Mapping[str, Any]]:
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("what it answers is no key set")
    found: dict[str | None, Mapping[str, Any]] = {
        key.get("kid"): key
        for key in listed
        if isinstance(key, dict)
        and key.get("kty") in _KINDS
        and key.get("use", "sig") == "sig"
        and isinstance(key.get("kid"), str | None)
    }
    if not found:
        raise ValueError("its key set has no key that signs")
    return found
