"""Answers and problems → HTTP."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from chalice.app import Response

from chalicelib.errors import Fault, NotConfigured, Problem, shortened

logger = logging.getLogger("decanter.intake")

_Handler = TypeVar("_Handler")

MAX_LISTED = 50
"""Most faults that a problem lists."""

_SHOWN = 400
"""Most characters of a detail, pointer or path in an answer. A fault shows the invalid value, which
may have megabytes, and then what is expected; so the middle is left out."""


class Answer(NamedTuple):
    """A successful answer. body: a JSON value, or text that is sent as it is; its type is JSON
    unless the headers say otherwise."""

    status: int
    body: Any
    headers: Mapping[str, str] = MappingProxyType({})


def choose(handlers: Mapping[str, _Handler], method: str) -> _Handler:
    """The handler of a method. Raises Problem 405 where the path has none.

    HEAD is answered like GET, with the body: the server in front drops it and keeps its length
    (RFC 9110).
    """
    handler = handlers.get("GET" if method == "HEAD" else method)
    if handler is None:
        allowed = ", ".join(handlers).replace("GET", "GET, HEAD")
        detail = f"this path allows {allowed}, not {method}"
        raise Problem("op-not-allowed", detail, headers={"Allow": allowed})
    return handler


def respond(handler: Callable[[], Answer], instance: str) -> Response:
    """Run a handler; every error becomes problem+json. instance: the path of the request."""
    try:
        answer = handler()
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        type_ = {"Content-Type": "application/json"} if text else {}
        return Response(text, {**type_, **answer.headers}, answer.status)
    except Problem as problem:
        return _problem(problem, instance)
    except NotConfigured as error:
        logger.error("%s", error)
        return _problem(Problem("not-configured", str(error)), instance)
    except Exception:
        logger.exception("unexpected error while answering %s", instance)
        detail = (
            "an unexpected error, which was logged; a retry with the same Idempotency-Key is safe"
        )
        return _problem(Problem("internal", detail), instance)


def _problem(problem: Problem, instance: str) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:decanter:problem:{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": shortened(problem.detail, _SHOWN),
        "instance": shortened(instance, _SHOWN),
    }
    if problem.faults:
        body["errors"] = faults_json(problem.faults)
    body |= problem.members
    headers = {"Content-Type": "application/problem+json", **problem.headers}
    return Response(json.dumps(body), {**headers}, problem.status)


def link_to_rest(token: str, item: int) -> dict[str, str]:
    """The header that leads to the rest of a status' lists, after an item."""
    return {"Link": f'</writes/{token}?after_item={item}>; rel="next"'}


def path_to_rejections(token: str) -> str:
    """Where all rejections of a request are listed, with their rows."""
    return f"/writes/{token}/rejections"


def faults_json(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """The first faults, as JSON."""
    return [
        {
            "pointer": shortened(fault.pointer, _SHOWN),
            **({} if fault.line is None else {"line": fault.line}),
            "rule": fault.rule,
            "detail": shortened(fault.detail, _SHOWN),
        }
        for fault in islice(faults, MAX_LISTED)
    ]
