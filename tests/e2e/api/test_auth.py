"""Who may do what, on the deployed stack: tokens, scopes, signatures, other origins."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.errors import PROBLEMS
from decanter.local import issuer
from decanter.local.issuer import Issuer
from decanter.local.ministack import REGION
from decanter.package import Package
from tests.kit.deployment import HTTP, Answer, Deployment
from tests.kit.waiting import LONG, until

METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})
STATION = {
    "name": "Auth",
    "country": "CH",
    "elevation_ft": 1,
    "latitude": 2,
    "longitude": 3,
    "timezone": "UTC",
}


def assert_unauthorized(answer: Answer, method: str) -> None:
    if method == "HEAD":
        assert (answer.status, answer.body) == (401, b"")
        assert "WWW-Authenticate" in answer.headers
    else:
        problem(answer, "unauthorized")


def problem(answer: Answer, kind: str) -> Any:
    """The problem that the answer is; fails unless it is one of that type."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    assert answer.body["type"] == f"urn:decanter:problem:{kind}", answer
    assert answer.status == answer.body["status"] == PROBLEMS[kind][0]
    assert answer.body["title"] == PROBLEMS[kind][1]
    assert answer.body["detail"]
    assert answer.body["instance"]
    return answer.body


def routes(deployment: Deployment) -> list[tuple[str, str, Any]]:
    """Method, path and definition of everything that API Gateway serves, of what was packaged."""
    package = Package(deployment.cloud.home / "build" / deployment.stack.name / "package")
    body = package.template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    found = [
        (method.upper(), path, definition)
        for path, methods in body["paths"].items()
        for method, definition in methods.items()
        if method in METHODS
    ]
    assert {"/health", "/openapi.json", "/writes/{receipt}"} <= {path for _, path, _ in found}
    return found


def filled(path: str) -> str:
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def changed(token: str) -> str:
    """The token, for someone else, with the signature it had."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{part({**claims, 'sub': 'eve'})}.{signature}"


def signed_with_public_key(deployment: Deployment) -> str:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    ours = deployment.cloud.issuer
    secret: Any = load_pem_private_key(ours.key.encode(), None)
    public = secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = jwt.decode(deployment.token(), options={"verify_signature": False})
    text = f"{part({'alg': 'HS256', 'kid': ours.jwk['kid']})}.{part(claims)}"
    return f"{text}.{part(hmac.digest(public, text.encode(), hashlib.sha256))}"


def unsigned(deployment: Deployment) -> str:
    claims = jwt.decode(deployment.token(), options={"verify_signature": False})
    return jwt.encode(claims, None, "none", headers={"kid": deployment.cloud.issuer.jwk["kid"]})


def unknown_kid(deployment: Deployment) -> str:
    key = rsa.generate_private_key(65537, 2048)
    claims = jwt.decode(deployment.token(), options={"verify_signature": False})
    return jwt.encode(claims, key, "RS256", headers={"kid": "made-up"})


NOW = int(time.time())
REFUSED: dict[str, Callable[[Deployment, Path], str]] = {
    "no scheme": lambda d, _: d.token(),
    "another scheme": lambda d, _: f"Digest {d.token()}",
    "nothing": lambda d, _: "Bearer ",
    "garbage": lambda d, _: "Bearer garbage",
    "long garbage": lambda d, _: f"Bearer {'A' * 8000}",
    "a signature of AWS": lambda d, _: "AWS4-HMAC-SHA256 Credential=a/b/c, Signature=d",
    "another key": lambda d, home: f"Bearer {Issuer(home).token()}",
    "changed": lambda d, _: f"Bearer {changed(d.token())}",
    "another issuer": lambda d, _: f"Bearer {d.token(iss='https://issuer.test')}",
    "another audience": lambda d, _: f"Bearer {d.token(aud='other')}",
    "expired": lambda d, _: f"Bearer {d.token(exp=NOW - 60)}",
    "not yet valid": lambda d, _: f"Bearer {d.token(nbf=NOW + 3600)}",
    "alg none": lambda d, _: f"Bearer {unsigned(d)}",
    "HS256 with the public key": lambda d, _: f"Bearer {signed_with_public_key(d)}",
    "unknown kid": lambda d, _: f"Bearer {unknown_kid(d)}",
    "a password that is no token": lambda d, _: f"Basic {base64.b64encode(b'x:y').decode()}",
}


def test_what_proves_nothing_is_a_401(deployed: Deployment, tmp_path: Path) -> None:
    def ask(kind: str) -> Answer:
        headers = {"Authorization": REFUSED[kind](deployed, tmp_path)}
        return deployed.call("GET", "/openapi.json", headers=headers, token="")

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(REFUSED, pool.map(ask, REFUSED), strict=True))

    for kind, answer in answers.items():
        assert answer.status == 401, (kind, answer)
        problem(answer, "unauthorized")
        assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_100_kilobytes_of_token_are_refused(deployed: Deployment) -> None:
    answer = deployed.call("GET", "/openapi.json", token="A" * 100_000)

    assert answer.status in (401, 431)  # by what stands before API Gateway


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
def test_the_scheme_is_written_in_any_case(deployed: Deployment, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {deployed.token()}"}

    assert deployed.call("GET", "/openapi.json", headers=headers, token="").status == 200


def test_no_route_is_open_but_health(deployed: Deployment) -> None:
    for method, path, definition in routes(deployed):
        body = None if method in ("GET", "HEAD") else {}
        answer = deployed.call(method, filled(path), body, token="")
        if path == "/health":
            assert answer.status == 200
            assert "security" not in definition
        else:
            assert definition["security"] == [{"bearer": []}], (method, path)
            assert_unauthorized(answer, method)


def test_an_unknown_path_is_a_404_with_or_without_credentials(deployed: Deployment) -> None:
    for method, path in (("GET", "/"), ("GET", "/a" * 12), ("DELETE", "/health")):
        for token in (None, ""):
            problem(deployed.call(method, path, token=token), "unknown-path")


CALLS = {
    "read": ("GET", "/stations/AUTH", None),
    "create": ("POST", "/stations", {"icao": "AUTH", **STATION}),
    "replace": ("PUT", "/stations/AUTH", STATION),
    "merge": ("PATCH", "/stations/AUTH", {"name": "Merged"}),
    "delete": ("DELETE", "/stations/AUTH", None),
}


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        *((f"stations:{op}", {op}) for op in CALLS),
        ("stations:write", set(CALLS) - {"read"}),
        ("*:write *:read", set(CALLS)),
        ("*:create", {"create"}),
        ("observations:write observations:read", set()),
        ("", set()),
    ],
)
def test_a_scope_opens_what_it_names(deployed: Deployment, scope: str, allowed: set[str]) -> None:
    token = deployed.token(scope)

    for op, (method, path, body) in CALLS.items():
        answer = deployed.call(method, path, body, token=token)
        if op in allowed:
            assert answer.status in (200, 202, 404), (op, answer)
        else:
            assert f"stations:{op}" in problem(answer, "missing-scope")["detail"]


def test_lists_want_the_scope_to_read(deployed: Deployment) -> None:
    ours = deployed.call("GET", "/stations?limit=1", token=deployed.token("stations:read"))
    others = deployed.call("GET", "/stations?limit=1", token=deployed.token("stations:write"))

    assert ours.status == 200
    problem(others, "missing-scope")


def test_to_create_or_merge_wants_both_scopes(deployed: Deployment) -> None:
    body = {"icao": "AUTH", **STATION}
    headers = {"Prefer": "resolution=merge-duplicates"}

    def status(scope: str) -> int:
        token = deployed.token(scope)
        return deployed.call("POST", "/stations", body, headers, token).status

    assert status("stations:create") == status("stations:merge") == 403
    assert status("stations:create stations:merge") == 202


def test_a_receipt_is_its_callers_own(deployed: Deployment) -> None:
    anna, bert = deployed.token(subject="anna"), deployed.token(subject="bert")
    later = deployed.token("stations:read", subject="anna", seconds=60)

    accepted = deployed.call("PUT", "/stations/OWNR", STATION, token=anna)
    location = accepted.headers["Location"]

    assert deployed.call("GET", location, token=anna).status == 200
    assert deployed.call("GET", location, token=later).status == 200
    problem(deployed.call("GET", location, token=bert), "unknown-receipt")
    problem(deployed.call("GET", location, token=""), "unauthorized")


def test_an_idempotency_key_is_its_callers_own(deployed: Deployment) -> None:
    headers = {"Idempotency-Key": '"auth-shared"'}

    receipts = [
        deployed.call(
            "PUT", "/stations/KEYS", STATION, headers, deployed.token(subject=subject)
        ).body["receipt"]
        for subject in ("anna", "bert", "anna")
    ]

    assert receipts[0] == receipts[2] != receipts[1]


def test_a_password_opens_the_contract_and_no_rows(deployed: Deployment) -> None:
    password = base64.b64encode(f"any:{deployed.token()}".encode()).decode()
    headers = {"Authorization": f"Basic {password}"}

    assert deployed.call("GET", "/openapi.json", headers=headers, token="").status == 200
    for method, path, body in (
        ("GET", "/stations/LSZH", None),
        ("GET", "/stations", None),
        ("GET", "/writes/x", None),
        ("POST", "/stations", {"icao": "AUTH", **STATION}),
        ("POST", "/openapi.json", {}),
        ("DELETE", "/docs/x", None),
        ("GET", "/ops/overview", None),
        ("POST", "/ops/acts", {"kind": "pause", "buffer": "ordered"}),
    ):
        problem(deployed.call(method, path, body, headers, token=""), "forbidden")


def test_a_browser_asks_for_the_password_and_uses_it(
    deployed: Deployment, headless: list[str]
) -> None:
    """Chromium sends what stands in the URL only after a challenge that it understands."""
    url = deployed.api_url.replace("://", f"://any:{deployed.token()}@")

    done = subprocess.run(
        [*headless, "--dump-dom", f"{url}/openapi.json"],
        capture_output=True,
        text=True,
        timeout=LONG,
    )

    assert "openapi" in done.stdout, done.stdout[:500]
    assert "/stations" in done.stdout


# A stage of its own: another issuer, found by discovery; an origin whose scripts may call.


class Page:
    """A web site on loopback with one page. answer: what its script wrote."""

    def __init__(self, headless: list[str]) -> None:
        outer = self
        self.headless = headless
        self.script = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"<body><script>{outer.script}</script></body>".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def run(self, script: str) -> str:
        """The text of the page after its script has run in Chromium."""
        self.script = script
        done = subprocess.run(
            [*self.headless, "--virtual-time-budget=20000", "--dump-dom", f"{self.origin}/"],
            capture_output=True,
            text=True,
            timeout=LONG,
        )
        return done.stdout


@pytest.fixture(scope="module")
def headless(chromium: str) -> list[str]:
    """The command of a Chromium without a window."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return [chromium, "--headless", "--disable-gpu", *sandbox]


@pytest.fixture(scope="module")
def page(headless: list[str]) -> Iterator[Page]:
    served = Page(headless)
    yield served
    served.close()


def configure(project: Path, **variables: str) -> None:
    path = project / ".chalice" / "config.json"
    document = json.loads(path.read_text())
    document["stages"]["dev"]["environment_variables"] |= variables
    path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def front(
    deploy: Callable[..., Deployment], copied: Callable[[], Path], page: Page, deployed: Deployment
) -> Deployment:
    project = copied()
    configure(
        project,
        DECANTER_CORS_ORIGIN=page.origin,
        DECANTER_JWT_LEEWAY="0",
        DECANTER_JWT_AUDIENCE="front",
    )
    url = f"{deployed.cloud.ministack.endpoint}/front-issuer"
    return deploy(project, "front", {"JwtIssuer": url, "JwtJwksUrl": "", "JwtAudience": "front"})


@pytest.fixture(scope="module")
def front_token(front: Deployment) -> Callable[..., str]:
    """`front_token(**claims)`: a token for that stage, whose issuer is there from now on."""
    url = f"{front.cloud.ministack.endpoint}/front-issuer"

    def token(seconds: int = issuer.HOUR, **claims: Any) -> str:
        return front.token(seconds=seconds, **{"iss": url, "aud": "front", **claims})

    answer = front.call("GET", "/openapi.json", token=token())
    problem(answer, "unavailable")  # nobody is called a stranger while the issuer is away
    assert answer.headers["Retry-After"] == "1"

    bucket = front.aws("s3")
    bucket.create_bucket(Bucket="front-issuer")
    documents = {
        ".well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/jwks"},
        "jwks": front.cloud.issuer.jwks,
    }
    for name, document in documents.items():
        bucket.put_object(Bucket="front-issuer", Key=name, Body=json.dumps(document).encode())
    until(lambda: front.call("GET", "/openapi.json", token=token()).status != 503)
    return token


def test_the_issuer_says_by_itself_where_its_keys_are(
    front: Deployment, front_token: Callable[..., str]
) -> None:
    assert front.call("GET", "/openapi.json", token=front_token()).status == 200
    problem(front.call("GET", "/openapi.json", token=front.token()), "unauthorized")
    problem(front.call("GET", "/openapi.json", token=front_token(aud="decanter")), "unauthorized")


def test_a_token_that_expires_in_the_gateways_memory_is_refused(
    front: Deployment, front_token: Callable[..., str]
) -> None:
    for seconds in (3, 15, 60):  # as long as the first call may take here
        token = front_token(seconds=seconds)
        before = front.call("PUT", "/stations/SOON", STATION, token=token)
        if before.status == 202:
            break
    time.sleep(seconds + 0.1)
    after = front.call("PUT", "/stations/SOON", STATION, token=token)

    assert before.status == 202
    # The path in `instance` is the API function's; the gateway's own problems have an id there.
    assert problem(after, "unauthorized")["instance"] == "/stations/SOON"


def test_preflight_requests_are_answered_for_every_path(front: Deployment, page: Page) -> None:
    found = routes(front)
    for path in {path for _, path, _ in found}:
        methods = {method for method, other, _ in found if other == path}
        assert "OPTIONS" in methods, path
        answer = front.call(
            "OPTIONS",
            filled(path),
            headers={"Origin": page.origin, "Access-Control-Request-Method": "GET"},
            token="",
        )
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == page.origin
        allowed = answer.headers["Access-Control-Allow-Methods"].split(",")
        assert set(allowed) == methods
        sent = {each.lower() for each in answer.headers["Access-Control-Allow-Headers"].split(",")}
        assert {
            "authorization", "content-type", "idempotency-key", "prefer", "if-match",
            "if-none-match",
        } <= sent  # fmt: skip
        assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_no_route_is_open_but_health_and_preflight_requests(front: Deployment) -> None:
    for method, path, _ in routes(front):
        if method != "OPTIONS" and path != "/health":
            assert_unauthorized(front.call(method, filled(path), token=""), method)


def test_answers_say_which_origin_may_read_them(
    front: Deployment, front_token: Callable[..., str], page: Page
) -> None:
    accepted = front.call("PUT", "/stations/CORS", STATION, token=front_token())
    refused = front.call("PUT", "/stations/CORS", STATION, token="")
    unknown = front.call("GET", "/a" * 12, token="")

    assert [each.status for each in (accepted, refused, unknown)] == [202, 401, 404]
    for answer in (accepted, refused, unknown):
        assert answer.headers["Access-Control-Allow-Origin"] == page.origin
        exposed = answer.headers["Access-Control-Expose-Headers"].split(",")
        assert {"Location", "Retry-After", "ETag", "Link", "Preference-Applied"} <= set(exposed)


def test_a_script_of_that_origin_writes_and_reads_the_receipt(
    front: Deployment, front_token: Callable[..., str], page: Page
) -> None:
    text = page.run(
        """
        const ask = (path, options) => fetch(API + path, {credentials: "omit", ...options})
        const told = []
        const run = async () => {
          const headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json",
            "Idempotency-Key": '"script"', "Prefer": "respond-async"}
          const body = JSON.stringify(STATION)
          const accepted = await ask("/stations/SCRI", {method: "PUT", headers, body})
          told.push(accepted.status, accepted.headers.get("Location").slice(0, 8))
          const status = await ask(accepted.headers.get("Location"), {headers})
          told.push(status.status, "state" in await status.json())
          const refused = await ask("/stations/SCRI", {headers: {"Authorization": "Bearer x"}})
          told.push(refused.status, (await refused.json()).title)
        }
        run().catch(error => told.push(error)).then(() => { document.body.innerText = told.join() })
        """.replace("API", json.dumps(front.api_url))
        .replace("TOKEN", json.dumps(front_token()))
        .replace("STATION", json.dumps(STATION))
    )

    assert f"202,/writes/,200,true,401,{PROBLEMS['unauthorized'][1]}" in text


def test_scripts_may_not_call_a_stage_that_names_no_origin(
    deployed: Deployment, page: Page
) -> None:
    answer = deployed.call("GET", "/openapi.json", headers={"Origin": page.origin})
    preflight = deployed.call("OPTIONS", "/openapi.json", headers={"Origin": page.origin})
    text = page.run(
        f"fetch({json.dumps(deployed.api_url + '/health')}).then("
        "a => a.status, e => 'refused').then(t => { document.body.innerText = 'told ' + t })"
    )

    for each in (answer, preflight):
        assert not [name for name in each.headers if name.startswith("access-control")]
    problem(preflight, "unknown-path")
    assert "told refused" in text


def test_too_many_requests_are_a_problem(
    front: Deployment, front_token: Callable[..., str]
) -> None:
    stage = {"restApiId": front.stack.outputs["RestAPIId"], "stageName": "api"}

    def throttle(op: str, limit: str) -> None:
        front.aws("apigateway").update_stage(
            **stage,
            patchOperations=[
                {"op": op, "path": f"/*/*/throttling/{name}", "value": limit}
                for name in ("rateLimit", "burstLimit")
            ],
        )

    throttle("replace", "0")
    try:
        answer = front.call("GET", "/health")
    finally:
        throttle("replace", "10000")

    problem(answer, "throttled")
    assert answer.headers["Retry-After"] == "1"
    assert front.call("GET", "/health").status == 200


# A stage with signatures.


@pytest.fixture(scope="module")
def signed(deploy: Callable[..., Deployment], copied: Callable[[], Path]) -> Deployment:
    project = copied()
    configure(project, DECANTER_AUTH="iam")
    return deploy(project, "signed")


def test_a_stage_with_signatures_has_no_authorizer(signed: Deployment) -> None:
    api = signed.stack.outputs["RestAPIId"]
    client = signed.aws("apigateway")

    resources = client.get_resources(restApiId=api, limit=500)["items"]
    kinds = {
        (method, resource["path"]): client.get_method(
            restApiId=api, resourceId=resource["id"], httpMethod=method
        )["authorizationType"]
        for resource in resources
        for method in resource.get("resourceMethods", {})
    }

    assert kinds.pop(("GET", "/health")) == kinds.pop(("HEAD", "/health")) == "NONE"
    assert len(kinds) > 10
    assert set(kinds.values()) == {"AWS_IAM"}
    assert "bearer" not in signed.stack.functions
    assert not client.get_authorizers(restApiId=api).get("items")


def test_who_signs_is_the_caller_and_who_does_not_is_refused(signed: Deployment) -> None:
    users = signed.aws("iam")

    def ask(name: str, method: str, path: str, body: Any = None) -> Answer:
        if name not in keys:
            users.create_user(UserName=name)
            key = users.create_access_key(UserName=name)["AccessKey"]
            keys[name] = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        sent = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = AWSRequest(method=method, url=signed.api_url + path, data=sent, headers=headers)
        SigV4Auth(keys[name], "execute-api", REGION).add_auth(request)
        answer = HTTP.request(method, request.url, body=sent, headers=dict(request.headers))
        return Answer(answer.status, answer.headers, json.loads(answer.data))

    keys: dict[str, Credentials] = {}
    accepted = ask("anna", "PUT", "/stations/SIGN", STATION)

    assert accepted.status == 202
    assert ask("anna", "GET", accepted.headers["Location"]).status == 200
    problem(ask("bert", "GET", accepted.headers["Location"]), "unknown-receipt")
    refused = signed.call("PUT", "/stations/SIGN", STATION, token="")
    problem(refused, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "AWS4-HMAC-SHA256"
