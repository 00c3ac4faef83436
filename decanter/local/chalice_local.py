"""``chalice local`` with the refusals, paths and HEAD answers of API Gateway.

Without this, it closes the connection when the authorizer raises, answers 403 to an unknown path,
cuts paths at a semicolon, and answers HEAD with a body.
"""

import sys
import traceback
import uuid
from typing import Any
from urllib.parse import urlsplit

from chalice import local

from chalicelib import stage
from chalicelib.authorizer.handler import Unauthorized
from decanter.deployment import gateway


def install() -> None:
    """Patch ``chalice local`` in this process."""
    original = local.LocalGateway.handle_request

    def handle_request(
        self: Any, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> dict[str, Any]:
        try:
            response: dict[str, Any] = original(self, method, path, headers, body)
        except (Unauthorized, local.NotAuthorizedError):
            return refusal("UNAUTHORIZED")
        except local.ForbiddenError as error:
            by_policy = b"not authorized to access" in (error.body or b"")
            return refusal("ACCESS_DENIED" if by_policy else "MISSING_AUTHENTICATION_TOKEN")
        except Exception:
            traceback.print_exc()
            return refusal("AUTHORIZER_FAILURE")
        return response

    local.LocalGateway.handle_request = handle_request  # type: ignore[method-assign]
    local.urlparse = urlsplit  # type: ignore

    send_body = local.ChaliceRequestHandler._send_http_response_with_body

    def send(self: Any, code: int, headers: dict[str, Any], body: str | bytes) -> None:
        if self.command != "HEAD":
            send_body(self, code, headers, body)
            return
        self.send_response(code)
        content = body if isinstance(body, bytes) else body.encode()
        length = {"Content-Length": str(len(content))}
        self._send_headers({"Content-Type": "application/json", **headers, **length})

    local.ChaliceRequestHandler._send_http_response_with_body = send  # type: ignore[method-assign]


def refusal(kind: str) -> dict[str, Any]:
    """Return a gateway response of that type in the format of a function's result."""
    answer = gateway.answers(stage.authentication(), stage.cors_origin())[kind]
    return {
        "statusCode": answer.status,
        "headers": dict(answer.headers),
        "multiValueHeaders": {},
        "body": answer.body(str(uuid.uuid4())),
    }


if __name__ == "__main__":
    from chalice.cli import main

    install()
    sys.exit(main())
