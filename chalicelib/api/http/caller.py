"""The caller and its rights, as checked by API Gateway."""

import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib import ops, stage
from chalicelib.errors import Problem

_INSTEAD = {
    "merge-duplicates": "Prefer: resolution=merge-duplicates changes existing rows: send PUT or"
    " PATCH for each of them",
    "representation": "Prefer: return=representation reads rows: send GET, with ?after={receipt},"
    " once the write is accepted",
}
_SESSION = re.compile(r"^(arn:[^:]+:sts::[^:]*:assumed-role/.+)/[^/]+$")


class Caller(NamedTuple):
    """The caller that the credentials name.

    name: issuer and subject of a token, or the ARN of an IAM role or user. Receipts and
        Idempotency-Keys belong to the caller.
    scopes: `{resource}:{scope}`; the resource may be `*`. None: no limit (IAM).
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

    def require_operator(self, scope: str) -> None:
        """Raises Problem `missing-scope` unless the caller is an operator.

        scope: `read` or `write`. Rights on all resources (`*`) are none of an operator's; with IAM,
        policies decide by path.
        """
        needed = f"ops:{scope}"
        if self.scopes is not None and needed not in self.scopes:
            raise Problem("missing-scope", f"the token needs the scope {needed}")

    def require_preference(self, preference: str) -> None:
        """Raises Problem `forbidden` unless the caller may send the preference, one of
        `stage.BEYOND`: with it, a write does more than IAM policies have checked."""
        if self.scopes is None and preference not in stage.iam_preferences():
            raise Problem(
                "forbidden",
                f"{_INSTEAD[preference]}. IAM policies cover methods and paths only; the"
                f" operator may allow {preference} for all signed callers of the stage, with"
                " DECANTER_IAM_PREFERENCES",
            )

    def may(self, resource: str, scope: str) -> bool:
        """Whether the caller has the scope for the resource."""
        if self.scopes is None:
            return True
        kinds = (scope, ops.WRITE) if ops.is_writing(scope) else (scope,)
        names = {f"{name}:{kind}" for name in (resource, "*") for kind in kinds}
        return not names.isdisjoint(self.scopes)

    def may_be_shown(self, resource: str) -> bool:
        """Whether the answer to a write may show more of a row than the caller has sent."""
        is_allowed = self.scopes is not None or "representation" in stage.iam_preferences()
        return is_allowed and self.may(resource, ops.READ)


def caller(context: Mapping[str, Any]) -> Caller:
    """The caller of a request. context: its `requestContext`.

    Raises Problem `unauthorized` if the token has expired while API Gateway cached the authorizer's
    answer, or if no caller is named, so that no route is open by mistake.
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
    """moment: seconds since the epoch, which API Gateway turns into text."""
    try:
        return float(moment) > time.time()
    except (TypeError, ValueError):
        return False


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})
