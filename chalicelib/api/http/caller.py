"""Who calls, and what they may do, as API Gateway has checked it."""

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib import ops, stage
from chalicelib.errors import Problem

_BEYOND = {
    "merge-duplicates": "Prefer: resolution=merge-duplicates changes rows that exist: send PUT"
    " or PATCH for each of them",
    "representation": "Prefer: return=representation reads rows: send GET, with ?after={receipt},"
    " once the write is accepted",
}
_SESSION = re.compile(r"^(arn:[^:]+:sts::[^:]*:assumed-role/.+)/[^/]+$")


class Caller(NamedTuple):
    """Whom the credentials name.

    name: issuer and subject of a token, or the ARN of an IAM role or user. Receipts and
        Idempotency-Keys are this caller's own.
    scopes: `{resource}:{scope}`; the resource may be `*`. None: not limited (IAM).
    """

    name: str
    scopes: frozenset[str] | None

    def require(self, resource: str, *scopes: str) -> None:
        """Raises Problem `missing-scope` unless the caller has all of the scopes for the resource.

        scopes: `read`, or those of an op.
        """
        missing = [f"{resource}:{scope}" for scope in scopes if not self.may(resource, scope)]
        if missing:
            raise Problem("missing-scope", f"the token needs the scope {' '.join(missing)}")

    def require_preference(self, preference: str) -> None:
        """Raises Problem `forbidden` unless a write of the caller may have the preference, one of
        `stage.BEYOND`: by it a write does what no policy of IAM was asked about."""
        if self.scopes is None and preference not in stage.iam_preferences():
            raise Problem(
                "forbidden",
                f"{_BEYOND[preference]}. Policies of IAM speak of methods and paths only; the"
                f" operator may allow {preference} to all signed callers of the stage, in"
                " DECANTER_IAM_PREFERENCES",
            )

    def may(self, resource: str, scope: str) -> bool:
        """Whether the caller has the scope for the resource."""
        if self.scopes is None:
            return True
        kinds = (scope, ops.WRITE) if scope in ops.scopes() else (scope,)
        names = {f"{name}:{kind}" for name in (resource, "*") for kind in kinds}
        return not names.isdisjoint(self.scopes)


def caller(context: Mapping[str, Any]) -> Caller:
    """The caller of a request, of its `requestContext`.

    Raises Problem `unauthorized` where the token has expired since API Gateway remembered the
    authorizer's answer, and where nobody is named: no route may come to be open by mistake.
    """
    token = context.get("authorizer")
    if token and token.get("name"):
        if not _is_future(token.get("exp")):
            raise _unauthorized("the token has expired", 'Bearer error="invalid_token"')
        return Caller(token["name"], frozenset(str(token.get("scopes", "")).split()))
    if arn := (context.get("identity") or {}).get("userArn"):
        return Caller(_SESSION.sub(r"\1", arn), None)
    raise _unauthorized("the request names no caller", "Bearer")


def _is_future(moment: Any) -> bool:
    """moment: seconds since the epoch; API Gateway makes text of it."""
    try:
        return float(moment) > time.time()
    except (TypeError, ValueError):
        return False


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})
