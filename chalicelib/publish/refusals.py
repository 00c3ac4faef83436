"""Why a service does not take an event, and what can be done."""

from typing import NamedTuple

from chalicelib import aws

_PASSING = (
    "thrott",
    "internal",
    "unavailable",
    "timeout",
    "requestlimitexceeded",
    "toomanyrequests",
)
"""Parts of the codes of errors that pass."""

_OWN = ("invalid", "malformed")
"""Beginnings of the codes of errors in an event itself."""


class Refusal(NamedTuple):
    """Why an event was not taken. code, text: of the service. passes: it may be taken later."""

    code: str
    text: str
    passes: bool

    @property
    def is_own(self) -> bool:
        """Whether it may be about this event, and not about all."""
        return not self.passes and self.code.lower().startswith(_OWN)


def of_entry(code: str, text: str, passes: bool = False) -> Refusal:
    """The refusal of one event of several. passes: the service says so; else its code decides."""
    return Refusal(code, text, passes or any(part in code.lower() for part in _PASSING))


def of_call(error: Exception) -> Refusal:
    """The refusal of all events of a call that failed."""
    code = aws.code(error)
    response = getattr(error, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    # Without a status there was no answer: it did not arrive, or nobody knows.
    passes = status is None or status >= 500 or status == 429
    return of_entry(code, response.get("Error", {}).get("Message", ""), passes)
