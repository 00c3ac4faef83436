"""Settings of a deployment, read from the environment when they are needed."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from chalicelib.errors import NotConfigured

LANES = 16
"""Message groups of the ordered queue, four per concurrent drain. Changing the number while
messages are queued can reorder writes to one key: drain the queue first."""

MAX_BODY_BYTES = 6_200_000
"""Largest request body in a Lambda event, which has it as a JSON string: quotes, backslashes and
line breaks take two bytes there. An event has 6 MiB; the rest is for path, query, claims and
headers, of which API Gateway accepts 10,240 bytes and passes them on twice."""

MAX_ROWS = 100_000
"""Most rows of one request, limited by the memory and time of the API function."""

MAX_FRONT_ROWS = 10_000
"""Most rows of one request to a resource behind the front table: a hundred transactions, one after
the other."""

MAX_MESSAGE_BYTES = 1_000_000
"""Largest message, UTF-8, unless the stage sets less. SQS accepts 1 MiB for a message and for a
whole batch."""

LEAST_MESSAGE_BYTES = 10_000
"""Anything smaller would be mostly header."""

ENGINES = ("postgres", "citus", "dsql")
"""Kinds of servers that a stage's database may be on. `chalicelib.postgres.engine` says what each
can do."""

_MOST_MESSAGE_ROWS = {"dsql": 1_400}
"""A message is poured in one transaction, in which Aurora DSQL changes at most 3,000 rows. Of each
row of the message, itself, its rejection or its place among those that wait is one; the keys that
are made for it may be another, if it has other members than its neighbours. A few of the ledger and
the outbox come on top, and rows that foreign keys change."""

_QUEUE_BYTES = 1_048_576

MAX_SHOWN_BYTES = 60_000_000
"""Most bytes of all rows of one request, both as they are read, with all digits of their numbers,
and as JSON in messages. A single row takes at most MAX_MESSAGE_BYTES in both."""

SLOW_TRIES = 3
"""Invocations of a drain that a write may have for itself before it is rejected as slow."""

LEDGER_DAYS = 30
"""How long the ledger remembers a message: longer than SQS can keep one (14 days, and 14 more in
the dead-letter queue). An older message is refused, never poured twice."""

AUDIT_MINUTES = 5
"""How often the audit function runs."""

_SAMPLE_PREFIX = "decanter-dev"

BUFFERS = ("ordered", "unordered", "stream")
"""Where accepted writes wait: the two queues, and the stream of the front table."""

ROLES = ("drain", "reader", "sweep")
"""Kinds of functions that have a database role of their own, if they are given one."""

_LONGEST_NAME = 63

START_LOCAL_CLOUD = "on your machine: `make dev` starts the database, the queues and this server"


class IntakeSettings(NamedTuple):
    """Of the API function: URLs of both queues, name of the reader, keys of receipts.

    receipt_keys: the first signs, all verify. has_events: see `has_events`.
    """

    ordered_queue_url: str
    unordered_queue_url: str
    reader_function: str
    receipt_keys: tuple[bytes, ...]
    has_events: bool

    def queue_url(self, is_ordered: bool) -> str:
        return self.ordered_queue_url if is_ordered else self.unordered_queue_url

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "IntakeSettings":
        return cls(
            ordered_queue_url=queue_url(True, environment),
            unordered_queue_url=queue_url(False, environment),
            reader_function=reader_function(environment),
            receipt_keys=receipt_keys(environment),
            has_events=has_events(environment),
        )


class DatabaseSettings(NamedTuple):
    """Of drain, reader, sweep and migrate. `url` is a libpq connection URI."""

    url: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "DatabaseSettings":
        return cls(url=_required(environment, "DECANTER_DATABASE_URL"))


class RoleSettings(NamedTuple):
    """A database role of the functions of one kind, which the migrate function makes.

    kind: drain, reader or sweep. url: they log in with it. connections: most that they may hold.
    iam_roles: ARNs of the roles of IAM that may log in as it, on an engine that maps them.
    """

    kind: str
    url: str
    connections: int
    iam_roles: tuple[str, ...] = ()


def role_settings(environment: Mapping[str, str] = os.environ) -> tuple[RoleSettings, ...]:
    """Of the migrate function: `DECANTER_{KIND}_URL` and `DECANTER_{KIND}_CONNECTIONS` for each
    role that it is to make, and `DECANTER_{KIND}_IAM_ROLES` with ARNs, separated by spaces. Raises
    NotConfigured for one of the first two without the other."""
    found = []
    for kind in ROLES:
        url_name, most_name = f"DECANTER_{kind.upper()}_URL", f"DECANTER_{kind.upper()}_CONNECTIONS"
        if not (url := environment.get(url_name, "")):
            continue
        most = environment.get(most_name, "")
        if not most.isdecimal() or int(most) == 0:
            raise NotConfigured(
                f"{most_name} is {most!r}; set it to the most connections that the role of"
                f" {url_name} may hold. `python -m decanter budget` prints the number."
            )
        iam_roles = environment.get(f"DECANTER_{kind.upper()}_IAM_ROLES", "").split()
        found.append(RoleSettings(kind, url, int(most), tuple(iam_roles)))
    return tuple(found)


def role_names(database: str, kind: str) -> tuple[str, str]:
    """What the role of a kind is called by turns, such as `decanter_drain` and `decanter_drain_2`:
    the one has the new password while the other has the old one."""

    def name(suffix: str) -> str:
        return database.encode()[: _LONGEST_NAME - len(suffix)].decode(errors="ignore") + suffix

    return name(f"_{kind}"), name(f"_{kind}_2")


def database_tokens(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a URL without a password is used with a token: of RDS' IAM authentication, or of
    Aurora DSQL, which takes nothing else."""
    return environment.get("DECANTER_DATABASE_IAM") == "1" or engine(environment) == "dsql"


def engine(environment: Mapping[str, str] = os.environ) -> str:
    """The kind of server that the stage declares its database to be on. Raises NotConfigured."""
    declared = environment.get("DECANTER_ENGINE") or ENGINES[0]
    if declared not in ENGINES:
        raise NotConfigured(
            f"DECANTER_ENGINE is {declared!r}; set it to one of {', '.join(ENGINES)}, or leave it"
            f" out for {ENGINES[0]}"
        )
    return declared


def message_rows(environment: Mapping[str, str] = os.environ) -> int | None:
    """Most rows of one message of this stage; None: as many as fit. Raises NotConfigured."""
    return _MOST_MESSAGE_ROWS.get(engine(environment))


def partial_responses(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the mapping is known to have ReportBatchItemFailures on. Without it, an answer that
    names failed messages is taken for a success and they are deleted."""
    return environment.get("DECANTER_PARTIAL_RESPONSES") == "1"


def reader_function(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the reader function. Raises NotConfigured."""
    return _required(environment, "DECANTER_READER_FUNCTION")


def queue_url(is_ordered: bool, environment: Mapping[str, str] = os.environ) -> str:
    """URL of the ordered queue, or of the unordered one. Raises NotConfigured."""
    kind = "ORDERED" if is_ordered else "UNORDERED"
    return _required(environment, f"DECANTER_{kind}_QUEUE_URL")


def operate_function(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the operate function. Raises NotConfigured."""
    return _required(environment, "DECANTER_OPERATE_FUNCTION")


def api_logs(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the log group of the API function. Raises NotConfigured."""
    return _required(environment, "DECANTER_API_LOGS")


def log_days(environment: Mapping[str, str] = os.environ) -> int | None:
    """For how many days logs are kept; None: for ever. Raises NotConfigured."""
    cure = "the days for which logs are kept, or leave it out if that is for ever"
    return _number(environment, "DECANTER_LOG_DAYS", None, cure, least=1)


def is_in_lambda(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this runs in Lambda, whose output is a log of CloudWatch."""
    return "AWS_LAMBDA_FUNCTION_NAME" in environment


def metric_namespace(environment: Mapping[str, str] = os.environ) -> str:
    """Namespace of the metrics that are made of the functions' logs."""
    return namespace(stage_prefix(environment))


def stage_prefix(environment: Mapping[str, str] = os.environ) -> str:
    """Prefix of the names of the stage's stack and queues, set in `.chalice/config.json`."""
    return environment.get("DECANTER_QUEUES", _SAMPLE_PREFIX)


def namespace(prefix: str) -> str:
    """Namespace of the metrics of a stage. prefix: of the names of its queues."""
    return f"Decanter/{prefix}"


def mapping_variable(buffer: str) -> str:
    """The variable with the UUID of a buffer's event source mapping."""
    return f"DECANTER_{buffer.upper()}_MAPPING"


def mapping_ids(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """UUIDs of event source mappings, by buffer, as far as they are set."""
    named = {each: environment.get(mapping_variable(each), "") for each in BUFFERS}
    return {buffer: uuid for buffer, uuid in named.items() if uuid}


def front_table(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the front table. Raises NotConfigured for a stage without one."""
    return _required(environment, "DECANTER_FRONT_TABLE")


def has_front_table(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the stage has a front table."""
    return bool(environment.get("DECANTER_FRONT_TABLE"))


def has_events(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the stage publishes an event for each request that is done."""
    return bool(environment.get("DECANTER_EVENTS"))


def stream_function(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the function that the front table's stream invokes. Raises NotConfigured."""
    return _required(environment, "DECANTER_STREAM_FUNCTION")


def connection_budget(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Most connections of the functions, by the kind of their database role. Raises
    NotConfigured."""
    found: dict[str, int] = json.loads(_required(environment, "DECANTER_BUDGET"))
    return found


def backlog_limit_seconds(environment: Mapping[str, str] = os.environ) -> int | None:
    """The age of a queue's oldest message above which writes to it are refused; None: any age.
    Raises NotConfigured."""
    cure = "a number of seconds, such as 900, or leave it out for no limit"
    return _number(environment, "DECANTER_BACKLOG_LIMIT_SECONDS", None, cure, least=1)


class CallerLimits(NamedTuple):
    """Most messages of one caller that may wait in the ordered queue, while others write as well
    and while it is alone; None: any number."""

    among_others: int
    alone: int | None


CALLER_BACKLOG = 100_000
"""All others wait until these messages are poured: a minute and a half at 1,000 a second."""

LONE_CALLER_BACKLOG = 10_000_000
"""Nobody else waits for these messages, and SQS keeps them for 14 days, in which nine a second are
poured."""


def caller_limits(environment: Mapping[str, str] = os.environ) -> CallerLimits | None:
    """Limits on what one caller may have waiting; None: there are none. Raises NotConfigured."""
    cure = "a number of messages, such as 100000, or to 0 for no limit"
    among_others = _number(environment, "DECANTER_CALLER_BACKLOG", CALLER_BACKLOG, cure)
    alone = _number(environment, "DECANTER_LONE_CALLER_BACKLOG", LONE_CALLER_BACKLOG, cure)
    return CallerLimits(among_others, alone or None) if among_others else None


def message_bytes(environment: Mapping[str, str] = os.environ) -> int:
    """Largest message of this stage. Raises NotConfigured."""
    least, most = LEAST_MESSAGE_BYTES, MAX_MESSAGE_BYTES
    cure = f"a number of bytes between {least} and {most}, or leave it out for the most"
    return _number(environment, "DECANTER_MESSAGE_BYTES", most, cure, least, most)


def message_version(newest: int, environment: Mapping[str, str] = os.environ) -> int:
    """The highest version of messages that are written where an older one can express the same.
    newest: of this deployment. Raises NotConfigured."""
    cure = f"a version from 1 to {newest}, or leave it out for the newest"
    return _number(environment, "DECANTER_MESSAGE_VERSION", newest, cure, 1, newest)


def queue_bytes(message_bytes: int = MAX_MESSAGE_BYTES) -> int:
    """What a queue has to take (its MaximumMessageSize) for messages of that size: some more, for
    what a header may hold beside the rows."""
    return _QUEUE_BYTES * message_bytes // MAX_MESSAGE_BYTES


def parent_patience_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """How long a write waits for the row that it refers to before it is rejected: longer than a
    visibility time-out, during which the parent's lane may be blocked. Time in the queue comes on
    top; time without a database does not count. Raises NotConfigured."""
    cure = "a number of seconds, such as 90, or to 0 if no parent comes late"
    return _number(environment, "DECANTER_PARENT_PATIENCE_SECONDS", 90, cure)


def queue_name(suffix: str, environment: Mapping[str, str] = os.environ) -> str:
    """Name of a queue of this stage."""
    return f"{stage_prefix(environment)}-{suffix}"


def local_hint(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """A hint for a developer who starts `chalice local` without queues; empty otherwise. arguments:
    of the command line."""
    is_chalice = "AWS_CHALICE_CLI_MODE" in environment and "local" in arguments
    has_queue = "DECANTER_ORDERED_QUEUE_URL" in environment
    hint = f"There is no queue to write to; {START_LOCAL_CLOUD}\n"
    return hint if is_chalice and not has_queue else ""


_Number = TypeVar("_Number", int, int | None)


def _number(
    environment: Mapping[str, str],
    name: str,
    default: _Number,
    cure: str,
    least: int = 0,
    most: float = math.inf,
) -> _Number:
    value = environment.get(name, "")
    if not value:
        return default
    if not value.isdecimal() or not least <= int(value) <= most:
        raise NotConfigured(f"{name} is {value!r}; set it to {cure}")
    return int(value)


def receipt_keys(environment: Mapping[str, str] = os.environ) -> tuple[bytes, ...]:
    """Keys of receipts: one, or several with white space between them, as none has any in it. The
    first signs, all verify. Raises NotConfigured."""
    name = "DECANTER_RECEIPT_KEY"
    if keys := _required(environment, name).split():
        return tuple(key.encode() for key in keys)
    raise NotConfigured(f"{name} holds no key; it takes one, or several with spaces between them")


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise NotConfigured(f"{name} is not set; {START_LOCAL_CLOUD}")
    return value
