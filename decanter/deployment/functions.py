"""The registry of functions, queues and database roles, and of the front table's outputs.

The stage, its template, budget, alarms, dashboard and secrets, and the checks before a deployment
all read ``FUNCTIONS``. Another function is another row there; variables and permissions that only
it has stand in ``decanter.deployment.template.functions``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decanter.deployment import log_metrics

OWNER = "owner"
"""Kind of the role that owns the tables."""

PARTIAL_RESPONSES = "ReportBatchItemFailures"
"""Response type of mappings that delete only what a drain has poured of a batch."""

WAKE_UP = "rate(1 minute)"
"""Schedule on which a drain is invoked without messages, to pour writes that wait in the
database."""

WAKE_UP_CONFIG = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
"""Settings of these invocations, which are not retried: the next one follows in a minute."""


@dataclass(frozen=True)
class Queue:
    """A queue of accepted writes, and its dead-letter queue."""

    name: str
    is_fifo: bool = False

    @property
    def logical(self) -> str:
        """Prefix of its resources' names in the template."""
        return self.name.capitalize()

    @property
    def suffix(self) -> str:
        """End of its name, after the stage's prefix."""
        return f"{self.name}{self._type}"

    @property
    def dead_letter_suffix(self) -> str:
        """End of the name of its dead-letter queue."""
        return f"{self.name}-dlq{self._type}"

    @property
    def url_output(self) -> str:
        """The stack's output with its URL."""
        return f"{self.logical}QueueUrl"

    @property
    def url_variable(self) -> str:
        """The API's environment variable with its URL."""
        return f"DECANTER_{self.name.upper()}_QUEUE_URL"

    @property
    def _type(self) -> str:
        return ".fifo" if self.is_fifo else ""


FRONT_TABLE = "FrontTable"
"""Name, in the template, of the table that resources with ``info={"front": "dynamodb"}`` are
written to."""

FRONT_TABLE_OUTPUT, FRONT_STREAM_OUTPUT = "FrontTableName", "FrontStreamArn"
"""The stack's outputs with the name of the front table, and with the ARN of its stream."""


@dataclass(frozen=True)
class Function:
    """A function of app.py.

    name: of the Python function; ``api`` has all routes. role: kind of the database role that it
    logs in as; empty: it holds no connection, and must not be in a VPC. queue: that invokes it.
    needs_front: it is only deployed in stages with a front table. needs_events: it is only deployed
    in stages that publish events. reads_stream: the front table's stream invokes it. has_clock: a
    schedule invokes it as well, once a minute. is_steady: it holds its connection all the time
    under load, not just now and then. authentication: it is only deployed in stages with this one;
    None: in all. metrics: made from its log. errors: description of the alarm on repeated failures;
    empty: it has none. may_be_throttled: throttling raises no alarm.
    """

    name: str
    role: str = ""
    queue: Queue | None = None
    needs_front: bool = False
    needs_events: bool = False
    reads_stream: bool = False
    has_clock: bool = False
    is_steady: bool = False
    authentication: str | None = None
    metrics: tuple[log_metrics.LogMetric, ...] = ()
    errors: str = ""
    may_be_throttled: bool = True

    @property
    def chalice_name(self) -> str:
        """Its name in ``.chalice/config.json``."""
        return "api_handler" if self.name == "api" else self.name

    @property
    def logical(self) -> str:
        """Name of the function in Chalice's template."""
        return "APIHandler" if self.name == "api" else _camel(self.name)

    @property
    def execution_role(self) -> str:
        """Name of its IAM role in Chalice's template."""
        return f"{_camel(self.chalice_name)}Role"

    @property
    def output(self) -> str:
        """The stack's output with its deployed name."""
        return f"{self.logical}Function"

    @property
    def buffer(self) -> str | None:
        """The buffer that it takes from; None: it takes from none."""
        return "stream" if self.reads_stream else self.queue.name if self.queue else None

    @property
    def event_source(self) -> str:
        """Name, in Chalice's template, of the event source of its buffer."""
        return f"{self.logical}{'Dynamodb' if self.reads_stream else 'Sqs'}EventSource"

    @property
    def mapping(self) -> str:
        """Name of the event source mapping that SAM makes of it; a reference to it is its UUID."""
        return f"{self.logical}{self.event_source}"

    def deployed_name(self, application: str) -> str:
        """Its name when ``chalice deploy`` makes it. application: names of app and stage."""
        return application if self.name == "api" else f"{application}-{self.name}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _drain_errors(queue: Queue, function: str) -> str:
    return (
        f"The drain of the {queue.name} queue fails repeatedly; the messages stay queued. See the "
        f"log of {function} for the reason: bring the database back, invoke migrate, or grant the "
        "missing privilege."
    )


ORDERED, UNORDERED = QUEUES = (Queue("ordered", is_fifo=True), Queue("unordered"))

FUNCTIONS = (
    Function("api", may_be_throttled=False),
    Function(
        "bearer",
        authentication="jwt",
        metrics=(log_metrics.AUTHORIZER_ERRORS,),
        may_be_throttled=False,
    ),
    Function(
        "drain_ordered",
        "drain",
        ORDERED,
        # One clock is enough: it pours waiting writes of both queues. It may be throttled while the
        # queue keeps all containers busy.
        has_clock=True,
        is_steady=True,
        metrics=(log_metrics.REJECTIONS, log_metrics.LAG, log_metrics.WAITING),
        errors=_drain_errors(ORDERED, "DrainOrdered"),
    ),
    Function(
        "drain_unordered",
        "drain",
        UNORDERED,
        is_steady=True,
        metrics=(log_metrics.REJECTIONS, log_metrics.LAG),
        errors=_drain_errors(UNORDERED, "DrainUnordered"),
        may_be_throttled=False,
    ),
    Function(
        "drain_stream",
        "drain",
        needs_front=True,
        reads_stream=True,
        # Lambda repeats what it throttles: reserved concurrency is the only cap of a stream's
        # function.
        is_steady=True,
        metrics=(log_metrics.REJECTIONS, log_metrics.LAG),
        errors="The drain of the front table's stream fails repeatedly; the stream keeps each "
        "record for 24 hours. See the log of DrainStream for the reason: bring the database back, "
        "invoke migrate, or grant the missing privilege.",
    ),
    Function(
        "reader",
        "reader",
        is_steady=True,
        errors="The reader fails repeatedly: reads are answered with 5xx. See the log of Reader "
        "for the reason.",
        may_be_throttled=False,
    ),
    Function("migrate", OWNER),
    # With the drains' role, as it tries writes as they would.
    Function("operate", "drain"),
    Function("sweep", "sweep", metrics=(log_metrics.SWEPT,)),
    Function(
        "audit",
        metrics=(log_metrics.UNACCOUNTED, log_metrics.PAUSED),
        errors="It is repeatedly not found out whether all accepted writes are accounted for. See "
        "the log of Audit for the reason: its time does not suffice, or the log of the API "
        "function or the reader does not answer.",
    ),
    Function(
        "settle",
        needs_front=True,
        metrics=(log_metrics.MARKED,),
        errors="Rows that Postgres refused are repeatedly not set back in the front table, so that "
        "reads by key go on showing them. See the log of Settle for the reason.",
    ),
    Function(
        "publish",
        needs_events=True,
        metrics=(log_metrics.UNPUBLISHED, log_metrics.REFUSED_EVENTS),
        errors="Events about requests are repeatedly not published; they wait in decanter.outbox. "
        "See the log of Publish for the reason: the topic or bus does not exist or lets nobody in, "
        "or the operate function does not answer.",
    ),
)


def function(name: str) -> Function:
    """The function of that name."""
    return next(each for each in FUNCTIONS if each.name == name)


def holders() -> list[Function]:
    """Functions that hold database connections, and may be in a VPC."""
    return [each for each in FUNCTIONS if each.role]


def holders_in(document: Mapping[str, Any]) -> list[Function]:
    """The functions of a packaged template that hold database connections."""
    return [each for each in holders() if each.logical in document["Resources"]]


def drains() -> list[tuple[Function, Queue]]:
    """Functions that a queue invokes, each with its queue."""
    return [(each, each.queue) for each in FUNCTIONS if each.queue]


def roles() -> list[str]:
    """Kinds of database roles besides the owner; functions may share one."""
    return [*dict.fromkeys(each.role for each in holders() if each.role != OWNER)]


def queue_outputs() -> dict[str, str]:
    """The stack's outputs with URLs of queues, by name: ordered, ordered_dlq, and so on."""
    dead_letters = {f"{each.name}_dlq": f"{each.logical}DeadLetterQueueUrl" for each in QUEUES}
    return {each.name: each.url_output for each in QUEUES} | dead_letters


def secret_parameters() -> list[str]:
    """Parameters of the template that name secrets which must exist before the stack."""
    return [*map(secret_parameter, (OWNER, *roles())), "ReceiptKeySecret"]


def secret_parameter(role: str) -> str:
    """Parameter of the template that names the secret with the URL of a role."""
    return "DatabaseUrlSecret" if role == OWNER else f"{role.capitalize()}UrlSecret"
