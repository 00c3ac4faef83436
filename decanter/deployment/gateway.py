"""Errors that API Gateway answers before or instead of the API function, as problem+json.

The details are fixed texts, as nothing of a request can be quoted safely; ``instance`` is the ID of
the request, as in the logs.
"""

import json
from dataclasses import dataclass

from chalicelib.errors import PROBLEMS
from chalicelib.stage import EXPOSED_HEADERS, Authentication
from decanter.deployment.references import Json

# Basic makes browsers ask for a password; Chromium only if it comes first and each scheme has a
# parameter.
CHALLENGES = {
    "jwt": 'Basic realm="decanter docs", Bearer realm="decanter"',
    "iam": "AWS4-HMAC-SHA256",
}
RETRY_AFTER = {"unavailable": "1", "throttled": "1"}
"""Seconds, by problem."""


@dataclass(frozen=True)
class GatewayAnswer:
    """An error. problem: a type in ``PROBLEMS``, which gives its status and title."""

    problem: str
    detail: str
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return PROBLEMS[self.problem][0]

    def body(self, request_id: str = "$context.requestId") -> str:
        """The problem as JSON; by default a template that API Gateway fills in."""
        return json.dumps(
            {
                "type": f"urn:decanter:problem:{self.problem}",
                "title": PROBLEMS[self.problem][1],
                "status": self.status,
                "detail": self.detail,
                "instance": f"urn:uuid:{request_id}",
            }
        )


def answers(authentication: Authentication, cors_origin: str | None) -> dict[str, GatewayAnswer]:
    """The answers of a stage by API Gateway's response type."""
    common = {"Content-Type": "application/problem+json"}
    if cors_origin:
        common |= {
            "Access-Control-Allow-Origin": cors_origin,
            "Access-Control-Expose-Headers": ",".join(EXPOSED_HEADERS),
        }
    found = {}
    for kind, (problem, detail) in (_COMMON | _BY_AUTHENTICATION[authentication]).items():
        headers = dict(common)
        if problem == "unauthorized":
            headers["WWW-Authenticate"] = CHALLENGES[authentication]
        if problem in RETRY_AFTER:
            headers["Retry-After"] = "3600" if kind == "QUOTA_EXCEEDED" else RETRY_AFTER[problem]
        found[kind] = GatewayAnswer(problem, detail, headers)
    return found


def definition(authentication: Authentication, cors_origin: str | None) -> Json:
    """The answers as a member of the API's OpenAPI document."""
    return {
        "x-amazon-apigateway-gateway-responses": {
            kind: {
                "statusCode": str(answer.status),
                "responseParameters": {
                    f"gatewayresponse.header.{name}": f"'{value}'"
                    for name, value in answer.headers.items()
                },
                "responseTemplates": {"application/json": answer.body()},
            }
            for kind, answer in answers(authentication, cors_origin).items()
        }
    }


_NO_PATH = "there is no such path with this method; /openapi.json lists all paths"
_CANNOT_CHECK = "the credentials cannot be checked now: the issuer's keys cannot be reached"
_NO_ANSWER = (
    "no answer came in time, so whether a write was accepted is not known; to repeat it with the "
    "same Idempotency-Key is safe"
)

_COMMON = {
    "RESOURCE_NOT_FOUND": ("unknown-path", _NO_PATH),
    "INVALID_API_KEY": ("forbidden", "the API key is not known here"),
    "WAF_FILTERED": ("forbidden", "a rule of the firewall refuses the request"),
    "AUTHORIZER_FAILURE": ("unavailable", _CANNOT_CHECK),
    "AUTHORIZER_CONFIGURATION_ERROR": ("unavailable", _CANNOT_CHECK),
    "API_CONFIGURATION_ERROR": ("unavailable", _NO_ANSWER),
    "INTEGRATION_FAILURE": ("unavailable", _NO_ANSWER),
    "INTEGRATION_TIMEOUT": ("unavailable", _NO_ANSWER),
    "DEFAULT_5XX": ("unavailable", _NO_ANSWER),
    "THROTTLED": ("throttled", "more requests per second than this stage accepts"),
    "QUOTA_EXCEEDED": ("throttled", "the quota is used up"),
    "REQUEST_TOO_LARGE": (
        "body-too-large",
        "the request is larger than API Gateway or Lambda accepts; send its rows in several "
        "requests",
    ),
    "UNSUPPORTED_MEDIA_TYPE": (
        "unsupported-media-type",
        "the route does not accept this Content-Type",
    ),
    "BAD_REQUEST_BODY": ("bad-request", "the route does not accept this body"),
    "BAD_REQUEST_PARAMETERS": ("bad-request", "a parameter that the route needs is missing"),
}

_BY_AUTHENTICATION: dict[Authentication, dict[str, tuple[str, str]]] = {
    "jwt": {
        "UNAUTHORIZED": (
            "unauthorized",
            'send a valid token of the issuer for this API as "Authorization: Bearer TOKEN"',
        ),
        "ACCESS_DENIED": (
            "forbidden",
            "Basic credentials open the documentation only; send the token as Bearer",
        ),
        # No method of the stage wants signatures, so both mean that no method was found. With an
        # Authorization header in the request API Gateway tries to read a signature there first.
        "MISSING_AUTHENTICATION_TOKEN": ("unknown-path", _NO_PATH),
        "DEFAULT_4XX": ("unknown-path", _NO_PATH),
        "INVALID_SIGNATURE": ("unknown-path", _NO_PATH),
        "EXPIRED_TOKEN": ("unknown-path", _NO_PATH),
    },
    "iam": {
        "UNAUTHORIZED": ("unauthorized", "sign the request (AWS Signature 4)"),
        "ACCESS_DENIED": (
            "forbidden",
            "no policy of the caller allows execute-api:Invoke on this method and path",
        ),
        # Where the path or the method is unknown, API Gateway says this as well.
        "MISSING_AUTHENTICATION_TOKEN": (
            "unauthorized",
            "sign the request (AWS Signature 4), and check its path and method",
        ),
        "DEFAULT_4XX": ("bad-request", "the request or its signature is malformed"),
        "INVALID_SIGNATURE": ("unauthorized", "the signature does not match the request"),
        "EXPIRED_TOKEN": ("unauthorized", "the session token has expired"),
    },
}
