"""What a month of traffic costs at AWS, line by line: with the stage as it is, and with the two
other ways of writing the same rows.

Left out are free tiers and savings plans, data transfer, the database itself, reads and questions
for the outcome of a write, the authorizer (its answers are kept for minutes), the compute of
functions that a schedule invokes, but for `publish`, and what is stored in a front table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

from chalicelib.settings import AUDIT_MINUTES
from decanter.deployment import alarms, dashboard, functions
from decanter.deployment.stage import Stage
from decanter.deployment.template.parameters import LOG_RETENTION_DAYS
from decanter.planning import memory
from decanter.planning.memory import Container, Work, billed, megabytes
from decanter.planning.outcome import BufferOutcome, Outcome
from decanter.planning.price_list import PriceList
from decanter.planning.profile import Profile, Traffic
from decanter.planning.service import PROCESSOR_MEGABYTES, OpService, Service

MONTH_HOURS = 730
"""Of a month, as AWS reckons."""

CHUNK_BYTES = 64 * 1_024
"""Of a call of SQS that count as a request."""

PLATFORM_LOG_BYTES = 370
"""Of Lambda's own lines for an invocation: START, END and REPORT with its trace, as AWS shows them:
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html (read on 2026-11-26)"""

TRACED_SHARE = 0.05
"""Of invocations that are traced, beside the first one each second: X-Ray's default rule.
https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html (read on 2026-11-26)"""

LEAST_PROXY_CPUS = 2
"""Processors of a database for which RDS Proxy is billed at least."""

PUBLISH_SECONDS = 50
"""Of each minute in which the function that publishes events works."""

ITEM_BYTES = 350
"""Of an item of the front table, beside its row twice."""

_UNIT_BYTES = 1_024  # of an entry that a write unit of DynamoDB pays for
_MONTH_SECONDS = MONTH_HOURS * 3_600


class Line(NamedTuple):
    """One line of a bill. usd: None where the region's file has no price for it."""

    item: str
    quantity: float
    unit: str
    usd: float | None


@dataclass(frozen=True)
class Bill:
    """One way to write the traffic, and what a month of it costs."""

    way: str
    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """Of all lines that have a price."""
        return sum(each.usd or 0.0 for each in self.lines)

    @property
    def unpriced(self) -> list[str]:
        """The lines without a price."""
        return [each.item for each in self.lines if each.usd is None]


@dataclass(frozen=True)
class Month:
    """What the bills are made of.

    times: as they were measured. found: what
    containers of `api` and `drain` were measured to use. database_cpus: processors of the database,
    for which RDS Proxy would be billed.
    """

    stage: Stage
    profile: Profile
    outcome: Outcome
    times: Service
    found: Mapping[str, Container]
    prices: PriceList
    database_cpus: int = LEAST_PROXY_CPUS

    @property
    def months(self) -> float:
        """How many times the outcome's traffic is in a month."""
        return _MONTH_SECONDS / self.outcome.seconds

    @property
    def requests(self) -> float:
        return self.outcome.requests * self.months

    def line(self, item: str, quantity: float, price: str) -> Line:
        """A line with its price in the region."""
        found = self.prices.get(price)
        unit = found.unit if found else ""
        return Line(item, quantity, unit, found.of(quantity) if found else None)

    def function(self, name: str, work: Work, memory_megabytes: int) -> list[Line]:
        """The lines of a function's invocations."""
        seconds = work.invocations * billed(work.seconds(memory_megabytes))
        compute = f"lambda_{self.stage.architecture}"
        return [
            self.line(f"{name}: invocations", work.invocations, "lambda_requests"),
            self.line(f"{name}: compute", seconds * memory_megabytes / 1_024, compute),
        ]


def bills(month: Month) -> list[Bill]:
    """The stage as it is, direct writes from the API function behind RDS Proxy, and the same
    traffic with every resource in front of a DynamoDB table."""
    return [
        Bill("as the stage is", tuple(_as_it_is(month))),
        Bill("direct writes with RDS Proxy", tuple(_direct(month))),
        Bill("every resource in front (DynamoDB)", tuple(_in_front(month))),
    ]


def _as_it_is(month: Month) -> Iterator[Line]:
    yield month.line("API Gateway", month.requests, "api_requests")
    api = memory.request(month.outcome, month.found["api"], month.months)
    yield from month.function("api", api, megabytes(month.stage, "api"))
    invoked = [(api.invocations, month.found["api"])]
    for each in month.outcome.buffers:
        batches = each.batches * month.months
        yield from _buffer(month, each)
        yield month.line(f"{each.function}: invocations", batches, "lambda_requests")
        gb = megabytes(month.stage, each.function) / 1_024
        compute = f"lambda_{month.stage.architecture}"
        # Lambda rounds up to a millisecond: half of one, on average.
        seconds = each.busy_seconds * month.months + 0.0005 * batches
        yield month.line(f"{each.function}: compute", seconds * gb, compute)
        invoked.append((batches, month.found["drain"]))
    yield from _schedules(month)
    yield from _watching(month, invoked)


def _direct(month: Month) -> Iterator[Line]:
    """The API function pours each request itself, as one message."""
    yield month.line("API Gateway", month.requests, "api_requests")
    api = month.found["api"]
    buffers = {each.resource: each.buffer for each in month.outcome.resources}
    own, waiting = 0.0, 0.0
    for each in month.profile.resources:
        known = _alone(month.times, buffers[each.resource])
        for op, share in each.ops.items():
            times = known.op(op)
            took = _message_seconds(times, each)
            away = times.round_trips * month.profile.round_trip_seconds
            own += each.share * share * times.processor_share * took
            waiting += each.share * share * ((1 - times.processor_share) * took + away)
    further = sum(each.share * (each.rows - 1) for each in month.profile.resources)
    checking = api.request_seconds + further * api.row_seconds
    work = Work(checking + own, waiting, month.requests)
    yield from month.function("api", work, megabytes(month.stage, "api"))
    hours = max(LEAST_PROXY_CPUS, month.database_cpus) * float(MONTH_HOURS)
    yield month.line("RDS Proxy", hours, "rds_proxy")
    yield from _watching(month, [(month.requests, api)])


def _in_front(month: Month) -> Iterator[Line]:
    """Each row is an item, and the stream's drain is invoked once a second while there are any."""
    yield month.line("API Gateway", month.requests, "api_requests")
    api, known = month.found["api"], _alone(month.times, "stream")
    own = writes = reads = items = waiting = further = 0.0
    for each in month.profile.resources:
        sent = month.requests * each.share
        items += sent * each.rows
        writes += sent * each.rows * write_units(each.row_bytes, each.rows > 1)
        reads += sent * each.ops.get("merge", 0.0)
        calls = max(1, ceil(each.rows / 100)) + each.ops.get("merge", 0.0)
        waiting += each.share * calls * memory.CALL_SECONDS
        further += each.share * (each.rows - 1)
        for op, share in each.ops.items():
            own += sent * share * each.rows * _item_seconds(known.op(op), each.row_bytes)
    work = Work(api.request_seconds + further * api.row_seconds, waiting, month.requests)
    yield from month.function("api", work, megabytes(month.stage, "api"))
    yield month.line("DynamoDB: writes", writes, "dynamodb_writes")
    yield month.line("DynamoDB: reads", reads, "dynamodb_reads")
    batches = min(items, float(_MONTH_SECONDS))
    name = "drain_stream"
    size = megabytes(month.stage, name)
    share = memory.processor_share(known)
    fixed = max(each.batch_seconds for each in known.ops.values())
    seconds = fixed + (own / batches if batches else 0.0)
    trips = max(each.round_trips for each in known.ops.values())
    away = trips * month.profile.round_trip_seconds
    drain = Work(share * seconds, (1 - share) * seconds + away, batches)
    yield from month.function(name, drain, size)
    yield from _watching(month, [(month.requests, api), (batches, month.found["drain"])])


def write_units(row_bytes: int, is_transaction: bool) -> int:
    """Write units of DynamoDB for an item, which has its row twice. is_transaction: of a request of
    many rows, which costs twice as much."""
    units = ceil((2 * row_bytes + ITEM_BYTES) / _UNIT_BYTES)
    return 2 * units if is_transaction else units


def _message_seconds(times: OpService, traffic: Traffic) -> float:
    """What pouring one message of a resource's rows takes."""
    return (
        times.batch_seconds
        + times.message_seconds
        + traffic.rows * (times.row_seconds + traffic.row_bytes * times.byte_seconds)
    )


def _item_seconds(times: OpService, row_bytes: int) -> float:
    """What an item adds to a batch."""
    return times.message_seconds + times.row_seconds + row_bytes * times.byte_seconds


def _alone(times: Service, buffer: str) -> Service:
    """Times of a drain with a processor to itself, beside the database."""
    return times.at(buffer, PROCESSOR_MEGABYTES, 0.0)


def _buffer(month: Month, buffer: BufferOutcome) -> Iterator[Line]:
    """What a buffer itself costs."""
    resources = [each for each in month.outcome.resources if each.buffer == buffer.name]
    if buffer.name not in {each.name for each in functions.QUEUES}:
        traffic = {each.resource: each for each in month.profile.resources}
        units = sum(
            each.rows * write_units(traffic[each.resource].row_bytes, each.rows > each.requests)
            for each in resources
        )
        reads = sum(
            each.requests * traffic[each.resource].ops.get("merge", 0.0) for each in resources
        )
        yield month.line("DynamoDB: writes", units * month.months, "dynamodb_writes")
        yield month.line("DynamoDB: reads", reads * month.months, "dynamodb_reads")
        return
    fifo = next(each.is_fifo for each in functions.QUEUES if each.name == buffer.name)
    price = "sqs_fifo" if fifo else "sqs_standard"
    puts = sum(each.puts for each in resources)
    for item, calls, chunks in (
        ("send", puts, _chunks(buffer.bytes, puts)),
        ("receive", buffer.receives, _chunks(buffer.bytes, buffer.receives)),
        ("delete", buffer.receives, 1.0),
    ):
        yield month.line(f"SQS {buffer.name}: {item}", calls * chunks * month.months, price)


def _chunks(bytes_: float, calls: float) -> float:
    """Requests that a call counts as."""
    return float(max(1, ceil(bytes_ / calls / CHUNK_BYTES))) if calls else 1.0


_MINUTES = {"audit": AUDIT_MINUTES, "sweep": 60, "settle": 1, "publish": 1}
"""How often a schedule invokes a function that has no buffer."""


def _schedules(month: Month) -> Iterator[Line]:
    """What schedules invoke, once a minute or less."""
    count = sum(
        MONTH_HOURS * 60 / (1 if each.has_clock else _MINUTES[each.name])
        for each in month.stage.functions
        if each.has_clock or each.name in _MINUTES
    )
    yield month.line("schedules: invocations", count, "lambda_requests")
    if any(each.name == "publish" for each in month.stage.functions):
        seconds = PUBLISH_SECONDS * MONTH_HOURS * 60
        gb = megabytes(month.stage, "publish") / 1_024
        compute = f"lambda_{month.stage.architecture}"
        yield month.line("publish: compute", seconds * gb, compute)


def _watching(month: Month, invoked: Sequence[tuple[float, Container]]) -> Iterator[Line]:
    """Logs, traces, alarms, metrics, dashboard and secrets. invoked: invocations in a month, and
    what logs how much in each."""
    gigabytes = sum(count * (each.log_bytes + PLATFORM_LOG_BYTES) for count, each in invoked) / 1e9
    yield month.line("logs: written", gigabytes, "logs")
    yield month.line("logs: kept", gigabytes * LOG_RETENTION_DAYS / 30, "logs_kept")
    traces = sum(_traced(count) for count, _ in invoked)
    yield month.line("traces", traces, "traces")
    resources = alarms.resources(month.stage, "")
    yield month.line("alarms", sum(map(_alarm_metrics, resources.values())), "alarms")
    filters = {
        each["Properties"]["MetricTransformations"][0]["MetricName"]
        for each in resources.values()
        if each["Type"] == "AWS::Logs::MetricFilter"
    }
    yield month.line("metrics", len(filters), "metrics")
    yield month.line("dashboards", len(dashboard.resources(month.stage, "")), "dashboards")
    yield month.line("secrets", len(functions.secret_parameters()), "secrets")


def _traced(invocations: float) -> float:
    """Traces of so many invocations, if they are spread evenly over a month: at most so many."""
    first = min(invocations, float(_MONTH_SECONDS))
    return first + TRACED_SHARE * (invocations - first)


def _alarm_metrics(resource: Mapping[str, Any]) -> int:
    """Metrics of an alarm, each of which is billed; 0 for what is none."""
    if resource["Type"] != "AWS::CloudWatch::Alarm":
        return 0
    metrics = resource["Properties"].get("Metrics")
    return sum("MetricStat" in each for each in metrics) if metrics else 1


def table(found: Iterable[Bill]) -> list[str]:
    """Lines of the bills, each with its sum."""
    lines: list[str] = []
    for bill in found:
        lines += [*([""] if lines else []), f"{bill.way}:"]
        for each in bill.lines:
            usd = "no price" if each.usd is None else f"{each.usd:,.2f}"
            lines.append(f"  {each.item:<28}{each.quantity:>18,.0f} {each.unit:<18}{usd:>12}")
        lines.append(f"  {'sum, USD a month':<28}{'':>18} {'':<18}{bill.usd:>12,.2f}")
        if bill.unpriced:
            lines.append(f"  without {', '.join(bill.unpriced)}: the region's file has no price")
    return lines


def document(found: Iterable[Bill]) -> list[dict[str, Any]]:
    """The bills as JSON."""
    return [
        {"way": each.way, "usd": each.usd, "lines": [line._asdict() for line in each.lines]}
        for each in found
    ]
