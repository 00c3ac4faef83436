"""Settings that change what is deployed, from `environment_variables` in `.chalice/config.json`.

app.py reads them when it is imported, also by the commands of Chalice, so that an invalid setting
is refused before anything is deployed.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, cast

from chalicelib.errors import NotConfigured
from chalicelib.ops import OPS

Authentication = Literal["jwt", "iam"]

BEYOND = (
    *(facts.resolution for facts in OPS.values() if facts.resolution and facts.upserts),
    "representation",
)
"""Preferences with which a write does more than its method says: it changes existing rows, or reads
rows."""

EXPOSED_HEADERS = (
    "Location", "Retry-After", "ETag", "Link", "Content-Range", "Preference-Applied", "Allow",
    "Decanter-Lag", "Decanter-Refused",
)  # fmt: skip
"""Headers of answers that scripts of another origin may read."""

ALLOWED_HEADERS = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer",
)  # fmt: skip
"""Headers of requests that scripts of another origin may send."""

CORS_SECONDS = 600
"""How long a browser may remember the answer to a preflight request."""

_RULES = Path(__file__).with_name("rules.jsonl")
_NO_STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/front/stream/2000-01-01T00:00:00.000"

_LEAST_CAP, _MOST_CAP = 2, 1_000  # what AWS accepts

_WHERE = "in environment_variables of the stage in .chalice/config.json"
_ORIGIN = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?"
)
_TOPIC = r"arn:aws[a-z-]*:(sns):([a-z0-9-]+):[0-9]{12}:([\w-]{1,256}|[\w-]{1,251}\.fifo)"
_BUS = r"arn:aws[a-z-]*:(events):([a-z0-9-]+):[0-9]{12}:event-bus/([\w./-]{1,256})"


class Destination(NamedTuple):
    """Where events about requests are published: an SNS topic or an EventBridge bus.

    service: as it is in the ARN, `sns` or `events`. name: of the topic or bus.
    """

    arn: str
    service: str
    region: str
    name: str

    @property
    def is_topic(self) -> bool:
        return self.service == "sns"

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO topic."""
        return self.is_topic and self.name.endswith(".fifo")


def authentication(environment: Mapping[str, str] = os.environ) -> Authentication:
    """How callers authenticate. Raises NotConfigured unless DECANTER_AUTH says so."""
    chosen = environment.get("DECANTER_AUTH")
    if chosen not in ("jwt", "iam"):
        found = f"is {chosen!r}" if chosen else "is not set"
        raise NotConfigured(
            f'DECANTER_AUTH {found}. Set it to "jwt" (bearer tokens of an OIDC issuer) or "iam" '
            f"(AWS signatures) {_WHERE}."
        )
    return cast(Authentication, chosen)


def iam_preferences(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The preferences of BEYOND that callers with AWS signatures may send. IAM policies cover only
    methods and paths, so any caller that may POST could also change or read rows. Raises
    NotConfigured."""
    value = environment.get("DECANTER_IAM_PREFERENCES", "")
    chosen = frozenset(value.replace(",", " ").split())
    if not chosen <= {*BEYOND}:
        raise NotConfigured(
            f"DECANTER_IAM_PREFERENCES is {value!r}. Name the preferences that writes with AWS "
            f"signatures may have, {' and '.join(BEYOND)}, or leave it out for neither; {_WHERE}."
        )
    return chosen


def cors_origin(environment: Mapping[str, str] = os.environ) -> str | None:
    """The origin whose scripts may call the API from a browser; None: only its own.

    Raises NotConfigured for a DECANTER_CORS_ORIGIN that is not an origin.
    """
    origin = environment.get("DECANTER_CORS_ORIGIN")
    if not origin:
        return None
    if not _ORIGIN.fullmatch(origin):
        raise NotConfigured(
            f"DECANTER_CORS_ORIGIN is {origin!r}. Name one origin as browsers send it, such as "
            f'"https://app.example.com": no path, no list, no "*"; {_WHERE}.'
        )
    return origin


def events(environment: Mapping[str, str] = os.environ) -> Destination | None:
    """Where events about requests are published; None: nowhere.

    Raises NotConfigured for a DECANTER_EVENTS that is the ARN of neither a topic nor a bus.
    """
    arn = environment.get("DECANTER_EVENTS")
    if not arn:
        return None
    if not (found := re.fullmatch(f"{_TOPIC}|{_BUS}", arn, re.ASCII)):
        raise NotConfigured(
            f"DECANTER_EVENTS is {arn!r}. Set it to the ARN of an SNS topic, such as"
            ' "arn:aws:sns:eu-central-1:123456789012:requests" or the same with ".fifo" at the'
            " end, or of an EventBridge bus, such as"
            ' "arn:aws:events:eu-central-1:123456789012:event-bus/requests"; or leave it out for'
            f" no events; {_WHERE}."
        )
    service, region, name = filter(None, found.groups())
    return Destination(arn, service, region, name)


def cap_variable(queue: str) -> str:
    """The variable with the cap of a queue's mapping."""
    return f"DECANTER_{queue.upper()}_CAP"


def cap(queue: str, default: int, environment: Mapping[str, str] = os.environ) -> int:
    """Most batches of a queue that are poured at once: the maximum concurrency of its mapping.

    default: of stages that do not set it. Raises NotConfigured for one that AWS refuses.
    """
    value = environment.get(cap_variable(queue), "") or str(default)
    if not value.isdecimal() or not _LEAST_CAP <= int(value) <= _MOST_CAP:
        raise NotConfigured(
            f"{cap_variable(queue)} is {value!r}. Set it to a whole number from {_LEAST_CAP} to"
            f" {_MOST_CAP:,}, or leave it out for {default}; {_WHERE}."
        )
    return int(value)


def fronts() -> dict[str, str]:
    """The resources that need the front table, by the compiled contract: `dynamodb` for those that
    are behind it, `closed` for those on their way there or back."""
    lines = _RULES.read_text(encoding="utf-8").split("\n")
    # Only lines that may say so are parsed; a column may be called like that as well.
    found = [json.loads(line) for line in lines if '"front":{' in line]
    return {
        each["name"]: "closed" if each["front"].get("closed") else "dynamodb"
        for each in found
        if "front" in each
    }


def has_front() -> bool:
    """Whether the stage needs the front table."""
    return bool(fronts())


def front_stream(environment: Mapping[str, str] = os.environ) -> str:
    """The ARN of the front table's stream. It holds the time when the stream was made, so that the
    template alone knows it: there this one is replaced."""
    return environment.get("DECANTER_FRONT_STREAM") or _NO_STREAM
