"""Which functions, queues and database roles there are.

The stage, its template, budget, alarms and secrets, the checks before a deployment and the way of
``chalice deploy`` all read ``FUNCTIONS``. Another function is another row there; what it alone has
to know and may do stands in ``decanter.deployment.template.functions``.
"""

from dataclasses import dataclass

from decanter.deployment import log_metrics

OWNER = "owner"
"""The role that owns the tables, which the migrate function logs in as."""

WAKE_UP = "rate(1 minute)"
"""When a drain is invoked without messages: rows that wait in the database are settled then."""

WAKE_UP_CONFIG = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
"""Of these invocations: the next minute has its own."""


@dataclass(frozen=True)
class Queue:
    """A queue of accepted writes, and its dead-letter queue."""

    name: str
    is_fifo: bool = False

    @property
    def logical(self) -> str:
        """What its resources' names begin with in the template."""
        return self.name.capitalize()

    @property
    def suffix(self) -> str:
        """What its name ends with, after the stage's prefix."""
        return f"{self.name}{self._type}"

    @property
    def dead_letter_suffix(self) -> str:
        """The same of its dead-letter queue."""
        return f"{self.name}-dlq{self._type}"

    @property
    def _type(self) -> str:
        return ".fifo" if self.is_fifo else ""


@dataclass(frozen=True)
class Function:
    """A function of app.py.

    name: the function's there; ``api`` has all routes. role: kind of the database role that it logs
    in as, or OWNER; empty: it holds no connection, and must not be in a VPC. queue: whose messages
    it takes. has_clock: it is invoked once a minute as well. is_steady: it holds its connection for
    as long as there is work, not now and then. authentication: the only one with which a stage has
    it. metrics: made of its log. errors: text of the alarm that goes off when it fails again and
    again; empty: it has none. may_be_throttled: without an alarm.
    """

    name: str
    role: str = ""
    queue: Queue | None = None
    has_clock: bool = False
    is_steady: bool = False
    authentication: str | None = None
    metrics: tuple[log_metrics.LogMetric, ...] = ()
    errors: str = ""
    may_be_throttled: bool = True

    @property
    def chalice_name(self) -> str:
        """As ``.chalice/config.json`` has it."""
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
        """Output of the stack that says what the function is called."""
        return f"{self.logical}Function"

    def deployed_name(self, application: str) -> str:
        """What ``chalice deploy`` calls it. application: the app's name and the stage's."""
        return application if self.name == "api" else f"{application}-{self.name}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _drain_errors(queue: Queue, function: str) -> str:
    return (
        f"The drain of the {queue.name} queue fails again and again. The messages stay queued. The "
        f"log of {function} says why: bring the database back, invoke migrate, or grant what is "
        "missing."
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
        # One clock is enough: rows that wait are in the database, whichever queue they came from.
        # It asks for a container more than the queue takes, and may go without while there is work.
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
        "reader",
        "reader",
        is_steady=True,
        errors="The reader fails again and again: reads are answered with 5xx. The log of Reader "
        "says why.",
        may_be_throttled=False,
    ),
    Function("migrate", OWNER),
    Function("sweep", "sweep", metrics=(log_metrics.SWEPT,)),
)


def function(name: str) -> Function:
    """The function of that name."""
    return next(each for each in FUNCTIONS if each.name == name)


def holders() -> list[Function]:
    """Functions that hold database connections; no other may be in a VPC."""
    return [each for each in FUNCTIONS if each.role]


def drains() -> list[tuple[Function, Queue]]:
    """Functions that take from a queue, and the queue."""
    return [(each, each.queue) for each in FUNCTIONS if each.queue]


def roles() -> list[str]:
    """Kinds of database roles beside the owner; functions of one kind share it."""
    return [*dict.fromkeys(each.role for each in holders() if each.role != OWNER)]


def secret_parameters() -> list[str]:
    """Parameters of the template that name secrets, which are there before the stack is."""
    return [*map(secret_parameter, (OWNER, *roles())), "ReceiptKeySecret"]


def secret_parameter(role: str) -> str:
    """Parameter of the template that names the secret with a role's URL."""
    return "DatabaseUrlSecret" if role == OWNER else f"{role.capitalize()}UrlSecret"
