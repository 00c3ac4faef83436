"""The authorizer: which tokens are good, whose keys it believes, and which routes it opens."""

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from chalice.app import AuthRequest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.warnings import InsecureKeyLengthWarning

from chalicelib.authorizer import handler, keys
from chalicelib.authorizer.handler import Unauthorized, authorize
from chalicelib.authorizer.keys import (
    FRESH_SECONDS,
    REFETCH_SECONDS,
    RETRY_SECONDS,
    IssuerUnavailable,
    Keys,
    fetch_json,
)
from chalicelib.authorizer.settings import ALGORITHMS, JwtSettings, is_trustworthy
from chalicelib.authorizer.tokens import MAX_LENGTH, InvalidToken, verify
from chalicelib.errors import NotConfigured
from tests.kit.growth import calls

ISSUER = "https://issuer.test/tenant"
JWKS_URL = "https://keys.issuer.test/jwks"
AUDIENCE = "weather"
ARN = "arn:aws:execute-api:eu-central-1:123456789012:abc123/api/GET/stations/LSZH"

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def jwk(key: Any, name: str | None, **members: Any) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    [algorithm] = [kinds[kind] for kind in kinds if isinstance(key, kind)] or [OKPAlgorithm]
    named = {} if name is None else {"kid": name}
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **named, **members}


JWKS = {
    "keys": [
        jwk(RSA, "rsa", use="sig", alg="RS256"),
        jwk(EC, "ec"),
        jwk(EC384, "ec384"),
        jwk(ED, "ed"),
        jwk(WEAK_RSA, "weak"),
        jwk(OTHER_RSA, "sealed", use="enc"),
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken"},
        "no key",
    ]
}


class Web:
    """Stands where the network is: answers of URLs, and how often each was asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            f"{ISSUER}/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": JWKS_URL},
            JWKS_URL: JWKS,
        }
        self.asked: list[str] = []

    def fetch(self, url: str) -> Any:
        self.asked.append(url)
        answer = self.answers.get(url, urllib.error.URLError("no route"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def fetches(self) -> int:
        """Of the keys."""
        return self.asked.count(JWKS_URL)


class Clock:
    """Seconds, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(**changes: str) -> JwtSettings:
    known = {
        "DECANTER_JWT_ISSUER": ISSUER,
        "DECANTER_JWT_AUDIENCE": AUDIENCE,
        "DECANTER_JWT_ALGORITHMS": "RS256,ES256,EdDSA",
    }
    return JwtSettings.from_environment(
        known | {f"DECANTER_JWT_{name}": value for name, value in changes.items()}
    )


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; None leaves a claim out."""
    now = int(time.time())
    known = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "anna",
        "exp": now + 60,
        "iat": now,
        "scope": "stations:read",
    }
    return {name: value for name, value in {**known, **changes}.items() if value is not None}


def token(
    key: Any = RSA,
    algorithm: str = "RS256",
    kid: str | None = "rsa",
    header: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    named = {} if kid is None else {"kid": kid}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        return jwt.encode(claims(**changes), key, algorithm, headers={**named, **(header or {})})


def part(value: Any) -> str:
    """A part of a token made by hand."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed_with_public_key() -> str:
    """HS256, with what everybody knows as the secret."""
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims())}"
    return f"{text}.{part(hmac.digest(PUBLIC_PEM, text.encode(), hashlib.sha256))}"


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(web: Web, clock: Clock) -> Keys:
    return Keys(settings(), web.fetch, clock)


@pytest.fixture
def ask(web: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """`ask(header)`: the authorizer's answer."""
    monkeypatch.setenv("DECANTER_JWT_ISSUER", ISSUER)
    monkeypatch.setenv("DECANTER_JWT_AUDIENCE", AUDIENCE)
    monkeypatch.setattr(keys, "fetch_json", web.fetch)
    handler._issuer.cache_clear()

    def ask(header: str) -> dict[str, Any]:
        request = AuthRequest("TOKEN", header, ARN)
        answer: dict[str, Any] = authorize(request).to_dict(request)
        return answer

    yield ask
    handler._issuer.cache_clear()


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")],
)
def test_a_good_token_says_who_and_what(known: Keys, key: Any, algorithm: str, kid: str) -> None:
    expires = int(time.time()) + 60

    found = verify(token(key, algorithm, kid, exp=expires), settings(), known)

    assert (found.issuer, found.subject) == (ISSUER, "anna")
    assert found.scopes == ("stations:read",)
    assert found.expires == expires + 30


NOW = int(time.time())
BAD: dict[str, Callable[[], str]] = {
    "signed by another key": lambda: token(OTHER_RSA),
    "changed after signing": lambda: (lambda a: f"{a[0]}.{part(claims(sub='eve'))}.{a[2]}")(
        token().split(".")
    ),
    "without signature": lambda: ".".join([*token().split(".")[:2], ""]),
    "another issuer": lambda: token(iss="https://issuer.test/other"),
    "an issuer with a slash more": lambda: token(iss=ISSUER + "/"),
    "issuers": lambda: f"{part({'alg': 'RS256', 'kid': 'rsa'})}.{part(claims(iss=[ISSUER]))}.AAAA",
    "another audience": lambda: token(aud="other"),
    "other audiences": lambda: token(aud=["other", "third"]),
    "expired": lambda: token(exp=NOW - 31),
    "expired long ago": lambda: token(exp=0),
    "not yet valid": lambda: token(nbf=int(time.time()) + 60),
    "issued in future": lambda: token(iat=int(time.time()) + 60),
    "without exp": lambda: token(exp=None),
    "without iss": lambda: token(iss=None),
    "without aud": lambda: token(aud=None),
    "without sub": lambda: token(sub=None),
    "empty sub": lambda: token(sub=""),
    "sub no text": lambda: token(sub=7),
    "exp no number": lambda: token(exp="soon"),
    "exp infinite": lambda: token(exp=float("inf")),
    "exp NaN": lambda: token(exp=float("nan")),
    "scope no text": lambda: token(scope={"stations": "read"}),
    "alg none": lambda: jwt.encode(claims(), None, "none", headers={"kid": "rsa"}),
    "alg None": lambda: f"{part({'alg': 'None', 'kid': 'rsa'})}.{part(claims())}.",
    "no alg": lambda: f"{part({'kid': 'rsa'})}.{part(claims())}.AAAA",
    "alg no text": lambda: f"{part({'alg': ['RS256'], 'kid': 'rsa'})}.{part(claims())}.AAAA",
    "HS256 with the public key": signed_with_public_key,
    "HS256 with the shared key": lambda: jwt.encode(
        claims(), "secret" * 6, "HS256", headers={"kid": "shared"}
    ),
    "an algorithm that is not on the list": lambda: token(EC384, "ES384", "ec384"),
    "another algorithm of the key": lambda: token(RSA, "PS256"),
    "the key of another algorithm": lambda: token(RSA, "RS256", "ec"),
    "a curve of another algorithm": lambda: token(EC, "ES256", "ec384"),
    "a weak key": lambda: token(WEAK_RSA, "RS256", "weak"),
    "a key that does not sign": lambda: token(OTHER_RSA, "RS256", "sealed"),
    "a broken key": lambda: token(RSA, "RS256", "broken"),
    "unknown kid": lambda: token(kid="other"),
    "no kid": lambda: token(kid=None),
    "kid no text": lambda: f"{part({'alg': 'RS256', 'kid': ['rsa']})}.{part(claims())}.AAAA",
    "its own key": lambda: token(OTHER_RSA, header={"jwk": jwk(OTHER_RSA, "rsa")}),
    "a place of its own": lambda: token(OTHER_RSA, header={"jku": "https://evil.test"}),
    "critical header": lambda: token(header={"crit": ["x"], "x": 1}),
    "detached": lambda: f"{part({'alg': 'RS256', 'kid': 'rsa', 'b64': False})}..AAAA",
    "empty": lambda: "",
    "garbage": lambda: "garbage",
    "dots": lambda: "..",
    "not base64": lambda: "ä.ö.ü",
    "a lone surrogate": lambda: "\udc80.a.b",
    "header no object": lambda: f"{part([])}.{part(claims())}.AAAA",
    "header deeply nested": lambda: f"{part(b'[' * 7000)}.e30.AAAA",
    "header not UTF-8": lambda: part(bytes([0xFF, 0xFE])) + ".e30.AAAA",
    "encrypted": lambda: "a.b.c.d.e",
    "two tokens": lambda: f"{token()} {token()}",
    "a good one that is too long": lambda: token(more="x" * MAX_LENGTH),
    "100 KB": lambda: f"{token()}{'A' * 100_000}",
    "10 MB": lambda: "." * 10_000_000,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused_for_hardly_more_than_a_good_one_costs(
    known: Keys, kind: str
) -> None:
    ours, good, bad = settings(), token(), BAD[kind]()

    def refuse() -> None:
        with pytest.raises(InvalidToken):
            verify(bad, ours, known)

    verify(good, ours, known)  # fetches the keys
    # Its header may have a level for each of its characters.
    assert calls(refuse) < 2 * calls(lambda: verify(good, ours, known)) + MAX_LENGTH


@pytest.mark.parametrize("length", [MAX_LENGTH + 1, 10_000_000])
def test_a_token_that_is_too_long_is_not_looked_at(
    known: Keys, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.delattr(jwt, "get_unverified_header")

    with pytest.raises(InvalidToken, match="too long"):
        verify("." * length, settings(), known)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_answered_with_the_word_that_makes_a_401(
    ask: Callable[..., Any], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = BAD[kind]()
    caplog.set_level(logging.DEBUG)

    with pytest.raises(Unauthorized) as raised:
        ask(f"Bearer {text}")

    assert str(raised.value) == "Unauthorized"
    assert len(text) < 20 or text not in caplog.text


@pytest.mark.parametrize(
    "header", ["", " ", "Bearer", "Bearer ", "{}", "Digest {}", "Bearer{}", "Token {}", "Basic {}"]
)
def test_only_a_bearer_is_taken(ask: Callable[..., Any], header: str) -> None:
    with pytest.raises(Unauthorized):
        ask(header.format(token()))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", " Bearer"])
def test_the_scheme_is_written_in_any_case(ask: Callable[..., Any], scheme: str) -> None:
    answer = ask(f"{scheme} {token()}")

    [statement] = answer["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Resource"] == ["arn:aws:execute-api:eu-central-1:123456789012:abc123/api/*/*"]


def test_the_answer_names_the_caller(ask: Callable[..., Any]) -> None:
    expires = int(time.time()) + 60

    answer = ask(f"Bearer {token(scope='stations:read *:write', exp=expires)}")

    assert answer["principalId"] == f"{ISSUER} anna"
    assert answer["context"] == {
        "name": f"{ISSUER} anna",
        "scopes": "stations:read *:write",
        "exp": str(expires + 30),
    }


def test_a_password_opens_pages_only(ask: Callable[..., Any]) -> None:
    password = base64.b64encode(f"any:{token()}".encode()).decode()

    for scheme in ("Basic", "basic", "BASIC"):
        answer = ask(f"{scheme} {password}")
        [statement] = answer["policyDocument"]["Statement"]
        base = "arn:aws:execute-api:eu-central-1:123456789012:abc123/api"
        assert statement["Resource"] == [
            f"{base}/{method}/{page}"
            for page in ("docs", "docs/*", "openapi.json", "console", "console/*")
            for method in ("GET", "HEAD")
        ]
        assert answer["context"]["name"] == f"{ISSUER} anna"


@pytest.mark.parametrize(
    "password",
    [
        lambda: base64.b64encode(token().encode()).decode(),
        lambda: base64.b64encode(f"{token()}:".encode()).decode(),
        lambda: base64.b64encode(f"any:{token(aud='other')}".encode()).decode(),
        lambda: base64.b64encode(b"any:\xff\xfe").decode(),
        lambda: base64.b64encode(b"any:" + b"A" * 100_000).decode(),
        lambda: "!!!",
        lambda: "",
    ],
)
def test_a_bad_password_is_refused(ask: Callable[..., Any], password: Callable[[], str]) -> None:
    with pytest.raises(Unauthorized):
        ask(f"Basic {password()}")


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "openid stations:read  email *:write"}, "stations:read *:write"),
        ({"scope": None, "scp": ["stations:read", "openid", "a:delete"]}, "stations:read a:delete"),
        ({"scope": None, "scp": "stations:read a:merge"}, "stations:read a:merge"),
        ({"scope": ["stations:read"]}, "stations:read"),
        ({"scope": None, "scp": ["a:read b:read", 7, None]}, ""),
        ({"scope": "a:read a:read"}, "a:read"),
        ({"scope": ""}, ""),
        ({"scope": None}, ""),
    ],
)
def test_scopes_are_read_as_issuers_write_them(
    ask: Callable[..., Any], given: dict[str, Any], scopes: str
) -> None:
    assert ask(f"Bearer {token(**given)}")["context"]["scopes"] == scopes


@pytest.mark.parametrize("changes", [{"exp": NOW - 5}, {"nbf": NOW + 20}, {"iat": NOW + 20}])
def test_clocks_may_differ(known: Keys, changes: dict[str, int]) -> None:
    shift = int(time.time()) - NOW
    text = token(**{name: value + shift for name, value in changes.items()})

    assert verify(text, settings(), known).subject == "anna"
    with pytest.raises(InvalidToken):
        verify(text, settings(LEEWAY="0"), known)


def test_one_of_several_audiences_is_enough(known: Keys) -> None:
    assert verify(token(aud=["other", AUDIENCE]), settings(), known).subject == "anna"


def test_a_key_is_good_for_its_own_algorithm_only(web: Web) -> None:
    web.answers[JWKS_URL] = {"keys": [jwk(RSA, "one", alg="RS256"), jwk(RSA, "any")]}
    both = settings(ALGORITHMS="RS256, RS512")
    found = Keys(both, web.fetch)

    assert verify(token(RSA, "RS512", "any"), both, found).subject == "anna"
    with pytest.raises(InvalidToken):
        verify(token(RSA, "RS512", "one"), both, found)


def test_keys_are_fetched_once(known: Keys, web: Web) -> None:
    for _ in range(20):
        verify(token(), settings(), known)

    assert web.asked == [f"{ISSUER}/.well-known/openid-configuration", JWKS_URL]


def test_keys_may_have_a_place_of_their_own(web: Web) -> None:
    web.answers["https://elsewhere.test/keys"] = JWKS
    there = settings(JWKS_URL="https://elsewhere.test/keys")

    verify(token(), there, Keys(there, web.fetch))

    assert web.asked == ["https://elsewhere.test/keys"]


def test_strangers_cannot_have_keys_fetched(known: Keys, web: Web, clock: Clock) -> None:
    for number in range(1000):
        clock.now += REFETCH_SECONDS / 500
        with pytest.raises(InvalidToken):
            verify(token(kid=f"made up {number}"), settings(), known)

    assert web.fetches <= 3


def test_a_new_key_is_found(known: Keys, web: Web, clock: Clock) -> None:
    verify(token(), settings(), known)
    web.answers[JWKS_URL] = {"keys": [jwk(OTHER_RSA, "new")]}
    clock.now += REFETCH_SECONDS

    assert verify(token(OTHER_RSA, kid="new"), settings(), known).subject == "anna"
    with pytest.raises(InvalidToken):
        verify(token(), settings(), known)


def test_a_key_that_was_withdrawn_is_forgotten(known: Keys, web: Web, clock: Clock) -> None:
    verify(token(), settings(), known)
    web.answers[JWKS_URL] = {"keys": [jwk(OTHER_RSA, "new")]}
    clock.now += FRESH_SECONDS - 1
    verify(token(), settings(), known)
    clock.now += 1

    with pytest.raises(InvalidToken):
        verify(token(), settings(), known)


def test_known_keys_outlive_an_issuer_that_is_away(known: Keys, web: Web, clock: Clock) -> None:
    verify(token(), settings(), known)
    web.answers.clear()
    clock.now += FRESH_SECONDS

    for _ in range(10):
        assert verify(token(), settings(), known).subject == "anna"

    assert len(web.asked) == 2 + 1
    clock.now += REFETCH_SECONDS
    verify(token(), settings(), known)
    assert len(web.asked) == 2 + 2


DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {DISCOVERY: TimeoutError()},
        {DISCOVERY: json.JSONDecodeError("", "", 0)},
        {DISCOVERY: []},
        {DISCOVERY: {"jwks_uri": JWKS_URL}, JWKS_URL: JWKS},
        {DISCOVERY: {"issuer": "https://evil.test", "jwks_uri": JWKS_URL}, JWKS_URL: JWKS},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": "http://evil.test"}, "http://evil.test": JWKS},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": "file:///keys"}, "file:///keys": JWKS},
        {DISCOVERY: {"issuer": ISSUER}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": JWKS_URL}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": JWKS_URL}, JWKS_URL: []},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": JWKS_URL}, JWKS_URL: {"keys": "none"}},
        {DISCOVERY: {"issuer": ISSUER, "jwks_uri": JWKS_URL}, JWKS_URL: {"keys": []}},
        {
            DISCOVERY: {"issuer": ISSUER, "jwks_uri": JWKS_URL},
            JWKS_URL: {"keys": [{"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"}]},
        },
    ],
)
def test_nobody_is_called_a_stranger_while_no_key_is_known(
    ask: Callable[..., Any], web: Web, answers: dict[str, Any]
) -> None:
    web.answers = answers

    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            ask(f"Bearer {token()}")

    assert len(web.asked) <= 2


def test_an_unknown_key_is_not_refused_while_the_issuer_is_away(
    known: Keys, web: Web, clock: Clock
) -> None:
    verify(token(), settings(), known)
    web.answers.clear()
    clock.now += REFETCH_SECONDS

    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            verify(token(kid="new"), settings(), known)

    assert len(web.asked) == 2 + 1


def test_an_issuer_that_is_back_is_noticed_soon(known: Keys, web: Web, clock: Clock) -> None:
    there, web.answers = web.answers, {}
    with pytest.raises(IssuerUnavailable):
        verify(token(), settings(), known)
    web.answers = there
    clock.now += RETRY_SECONDS

    assert verify(token(), settings(), known).subject == "anna"


def test_the_only_key_needs_no_name(web: Web) -> None:
    web.answers[JWKS_URL] = {"keys": [jwk(RSA, None)]}
    only = Keys(settings(), web.fetch)

    assert verify(token(kid=None), settings(), only).subject == "anna"
    with pytest.raises(InvalidToken):
        verify(token(OTHER_RSA, kid=None), settings(), only)


def test_what_is_garbage_costs_no_fetch(known: Keys, web: Web) -> None:
    for text in ("garbage", signed_with_public_key(), BAD["alg none"]()):
        with pytest.raises(InvalidToken):
            verify(text, settings(), known)

    assert web.asked == []


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server on loopback: its URL, and the answers by path: status, headers, body."""
    answers: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", answers
    served.shutdown()
    served.server_close()
    thread.join()


def test_keys_come_over_http(server: tuple[str, dict[str, Any]]) -> None:
    url, answers = server
    document = {"issuer": url, "jwks_uri": f"{url}/jwks"}
    answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(document).encode())
    answers["/jwks"] = (200, {}, json.dumps(JWKS).encode())
    there = settings(ISSUER=url)

    assert verify(token(iss=url), there, Keys(there)).subject == "anna"


def test_no_redirection_is_followed(server: tuple[str, dict[str, Any]]) -> None:
    url, answers = server
    answers["/there"] = (200, {}, b"{}")
    answers["/here"] = (302, {"Location": f"{url}/there"}, b"")

    assert fetch_json(f"{url}/there") == {}
    with pytest.raises(OSError, match="302"):
        fetch_json(f"{url}/here")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {}, b"<html>"), ValueError),
        ((200, {}, b"{}" + b" " * 1_000_000), ValueError),
        ((500, {}, b"{}"), OSError),
    ],
)
def test_what_is_no_json_is_an_error_that_is_expected(
    server: tuple[str, dict[str, Any]], answer: Any, error: type[Exception]
) -> None:
    url, answers = server
    answers["/jwks"] = answer

    with pytest.raises(error):
        fetch_json(f"{url}/jwks")


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    server: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = server
    answers["/jwks"] = (200, {}, b"{}")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert fetch_json(f"{url}/jwks") == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://issuer.test", True),
        ("https://issuer.test/tenant?x", True),
        ("http://127.0.0.1:4566/x", True),
        ("http://localhost", True),
        ("http://[::1]:80", True),
        ("http://issuer.test", False),
        ("http://127.0.0.1.evil.test", False),
        ("http://localhost@evil.test", False),
        ("ftp://localhost", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("issuer.test", False),
        ("https://a b", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_only_what_cannot_be_forged_on_the_way_is_believed(url: str, expected: bool) -> None:
    assert is_trustworthy(url) is expected


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"ISSUER": ""}, "make dev"),
        ({"AUDIENCE": ""}, "make dev"),
        ({"ISSUER": "http://issuer.test"}, "https"),
        ({"JWKS_URL": "http://issuer.test"}, "https"),
        ({"ALGORITHMS": "RS256,none"}, "'none'"),
        ({"ALGORITHMS": "HS256"}, "'HS256'"),
        ({"ALGORITHMS": "RS256,"}, "RS512"),
        ({"ALGORITHMS": "rs256"}, "RS512"),
        ({"LEEWAY": "-1"}, "seconds"),
        ({"LEEWAY": "601"}, "seconds"),
        ({"LEEWAY": "1.5"}, "seconds"),
        ({"LEEWAY": "٣"}, "seconds"),
    ],
)
def test_settings_that_cannot_be_say_what_would_be_right(
    changes: dict[str, str], cure: str
) -> None:
    with pytest.raises(NotConfigured, match=cure):
        settings(**changes)


def test_settings_have_defaults() -> None:
    found = JwtSettings.from_environment(
        {"DECANTER_JWT_ISSUER": ISSUER, "DECANTER_JWT_AUDIENCE": AUDIENCE}
    )

    assert found == JwtSettings(ISSUER, AUDIENCE, frozenset({"RS256", "ES256"}), 30, None)
    assert all(not name.startswith(("HS", "none")) for name in ALGORITHMS)
