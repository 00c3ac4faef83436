"""Answers and problems → HTTP."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalice.app import Response

from chalicelib.errors import NotConfigured, Problem

logger = logging.getLogger("decanter.intake")

_SHOWN = 400
"""Characters of a detail, a pointer or a path that an answer repeats."""


@dataclass(frozen=True)
class Answer:
    """A successful answer. body: a JSON value, or JSON text that is passed on as it is."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def answered(handler: Callable[[], Answer], instance: str) -> Response:
    """Run a handler; whatever goes wrong becomes problem+json. instance: the path asked for."""
    try:
        answer = handler()
    except Problem as problem:
        return _problem(problem, instance)
    except NotConfigured as error:
        logger.error("%s", error)
        return _problem(Problem("not-configured", str(error)), instance)
    except Exception:
        logger.exception("unexpected error while answering %s", instance)
        detail = "the fault is ours and was logged; a retry with the same Idempotency-Key is safe"
        return _problem(Problem("internal", detail), instance)
    text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
    return _response(answer.status, text, {"Content-Type": "application/json", **answer.headers})


def _problem(problem: Problem, instance: str) -> Response:
    body: dict[str, Any] = {
        "type": f"urn:decanter:problem:{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": _shortened(problem.detail),
        "instance": _shortened(instance),
    }
    if problem.faults:
        body["errors"] = [
            {
                "pointer": _shortened(fault.pointer),
                "rule": fault.rule,
                "detail": _shortened(fault.detail),
            }
            for fault in problem.faults
        ]
    headers = {"Content-Type": "application/problem+json", **problem.headers}
    return _response(problem.status, json.dumps(body), headers)


def _shortened(text: str) -> str:
    """A fault shows the value that is wrong, which may be megabytes; what is right comes last."""
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[:half]} … {text[-half:]}"


def _response(status: int, text: str, headers: Mapping[str, str]) -> Response:
    return Response(body=text, status_code=status, headers=dict(headers))
