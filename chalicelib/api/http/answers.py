"""Answers and problems → HTTP."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple

from chalice.app import Response

from chalicelib.errors import Fault, NotConfigured, Problem, shortened

logger = logging.getLogger("decanter.intake")

MAX_LISTED = 50
"""Faults that a problem lists."""

_SHOWN = 400
"""Characters of a detail, a pointer or a path that an answer repeats. A fault shows the value that
is wrong, which may be megabytes; what is right comes last."""


Handler = Callable[..., Any]
"""From a request, and what its path names, to an Answer."""


class Answer(NamedTuple):
    """A successful answer. body: a JSON value; or text that is passed on as it is, of the type that
    the headers say, JSON without one."""

    status: int
    body: Any
    headers: Mapping[str, str] = MappingProxyType({})


def chosen(handlers: Mapping[str, Handler], method: str) -> Handler:
    """The handler of a method. Raises Problem 405 where the path has none.

    HEAD is answered as GET is, with the body too: whoever sends it on leaves that out, and tells
    its length (RFC 9110).
    """
    handler = handlers.get("GET" if method == "HEAD" else method)
    if handler is None:
        allowed = ", ".join(handlers).replace("GET", "GET, HEAD")
        detail = f"this path takes {allowed}, not {method}"
        raise Problem("op-not-allowed", detail, headers={"Allow": allowed})
    return handler


def answered(handler: Callable[[], Answer], instance: str) -> Response:
    """Run a handler; whatever goes wrong becomes problem+json. instance: the path asked for."""
    try:
        return _rendered(handler())
    except Problem as problem:
        return _problem(problem, instance)
    except NotConfigured as error:
        logger.error("%s", error)
        return _problem(Problem("not-configured", str(error)), instance)
    except Exception:
        logger.exception("unexpected error while answering %s", instance)
        detail = "the fault is ours and was logged; a retry with the same Idempotency-Key is safe"
        return _problem(Problem("internal", detail), instance)


def _rendered(answer: Answer) -> Response:
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    type_ = {"Content-Type": "application/json"} if text else {}
    return _response(answer.status, text, {**type_, **answer.headers})


def _problem(problem: Problem, instance: str) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:decanter:problem:{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": shortened(problem.detail, _SHOWN),
        "instance": shortened(instance, _SHOWN),
    }
    if problem.faults:
        body["errors"] = listed(problem.faults)
    headers = {"Content-Type": "application/problem+json", **problem.headers}
    return _response(problem.status, json.dumps(body), headers)


def more(token: str, item: int) -> dict[str, str]:
    """The header that leads to what the status of a receipt lists behind an item."""
    return {"Link": f'</writes/{token}?after_item={item}>; rel="next"'}


def listed(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """The first faults as JSON."""
    return [
        {
            "pointer": shortened(fault.pointer, _SHOWN),
            **({} if fault.line is None else {"line": fault.line}),
            "rule": fault.rule,
            "detail": shortened(fault.detail, _SHOWN),
        }
        for fault in islice(faults, MAX_LISTED)
    ]


def _response(status: int, text: str, headers: Mapping[str, str]) -> Response:
    return Response(body=text, status_code=status, headers=dict(headers))
