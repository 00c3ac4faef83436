"""Direct invocations of deployed functions."""

import json
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from chalicelib.messages import questions
from chalicelib.messages.questions import Question
from decanter.deployment.aws import Aws
from decanter.deployment.findings import DeploymentError
from decanter.deployment.references import Json

_Answer = TypeVar("_Answer")

_PAUSE_SECONDS = 1.0
_BUSY_SECONDS = 60.0
_READ_SECONDS = 15.0


class RowsTooLarge(DeploymentError):
    """Rows have more text than an answer of the reader holds. next: where the list continues behind
    the first of them; None at its end, or if they are in none."""

    def __init__(self, next: str | None) -> None:
        super().__init__("Rows have more text than the reader can answer with.")
        self.next = next


def invoke(aws: Aws, function: str, event: Mapping[str, Any]) -> Json:
    """Invoke the migrate function and return its answer; wait while another deployment uses it.
    Raises DeploymentError with the reason of a failure."""
    from botocore.exceptions import ClientError

    client, deadline = aws("lambda"), time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
            break
        except ClientError as error:  # not started: it may have only one container
            if error.response["Error"]["Code"] != "TooManyRequestsException":
                raise
            if time.monotonic() >= deadline:
                raise DeploymentError(
                    f"The migrate function is at work for another deployment ({error}). Run this"
                    " again when that one has ended."
                ) from error
            time.sleep(_PAUSE_SECONDS)
    payload = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        reason = payload.get("errorMessage", payload) if isinstance(payload, dict) else payload
        raise DeploymentError(f"The migrate function failed, and nothing else changed: {reason}")
    return payload if isinstance(payload, dict) else {}


def ask(aws: Aws, function: str, question: Question[_Answer]) -> _Answer:
    """The answer of the deployed reader; waits while it is busy with those of others. Raises
    DeploymentError, and RowsTooLarge."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while (payload := _asked(aws, function, question)) is None:
        if time.monotonic() >= deadline:
            raise DeploymentError(
                f"{function} cannot answer: the database is unavailable, or too many read from it."
                " Run this again when it can."
            )
        time.sleep(_PAUSE_SECONDS)
    try:
        return question.read_answer(payload)
    except ValueError as error:
        raise DeploymentError(
            f"{function} gave an answer that this version cannot read ({error}): deploy this"
            " version first."
        ) from error


def _asked(aws: Aws, function: str, question: Question[Any]) -> Json | None:
    """The payload of an answer; None: ask again. Raises DeploymentError, RowsTooLarge."""
    from botocore.exceptions import ClientError

    event = questions.to_event(question, _READ_SECONDS)
    try:
        answer = aws("lambda").invoke(FunctionName=function, Payload=event)
    except ClientError as error:
        if error.response["Error"]["Code"] != "TooManyRequestsException":
            raise
        return None
    payload: Json = json.loads(answer["Payload"].read() or b"null")
    if answer.get("FunctionError"):
        reason = payload.get("errorMessage", payload)
        raise DeploymentError(
            f"{function} failed: {reason}. The database may not match the models: migrate it; or"
            " another version is deployed: deploy this one."
        )
    match questions.read_refusal(payload):
        case questions.Unavailable():
            return None
        case questions.PageTooLarge(next=place):
            raise RowsTooLarge(place)
        case questions.TooLarge():
            raise RowsTooLarge(None)
    return payload


def served_contract(aws: Aws, function: str) -> Any:
    """The contract that a deployed API function serves; None: it does not answer."""
    event = gateway_event("GET", "/openapi.json", {}, None, scope="*:read")
    answer = aws("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    if answer.get("FunctionError"):
        return None
    payload = json.loads(answer["Payload"].read())
    return json.loads(payload["body"]) if payload.get("statusCode") == 200 else None


def gateway_event(
    method: str, resource: str, parameters: Mapping[str, str], body: str | None, scope: str
) -> Json:
    """An event as API Gateway makes it for a caller with that scope. resource: the route, with
    parameters in braces."""
    path = resource.format(**parameters)
    subject = "decanter-deploy"
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": {"content-type": "application/json"},
        "multiValueHeaders": {"content-type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": dict(parameters) or None,
        "stageVariables": None,
        "requestContext": {
            "httpMethod": method,
            "resourcePath": resource,
            "authorizer": {
                "principalId": subject,
                "iss": subject,
                "sub": subject,
                "scope": scope,
                "exp": "9999999999",
            },
            "identity": {"userArn": f"arn:aws:iam::000000000000:user/{subject}"},
        },
        "body": body,
        "isBase64Encoded": False,
    }
