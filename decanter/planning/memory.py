"""Which memory a function should have: what an invocation takes, and what a month of them costs,
with each size, from what ``python -m benchmarks service`` has measured.

Lambda gives a function a share of a processor that grows with its memory, and bills memory times
seconds. More memory costs nothing as long as all of the time is the function's own work; time that
is spent waiting for the database or for SQS costs more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from decanter.deployment import functions
from decanter.deployment.stage import DEFAULT_TIMEOUT_SECONDS, Stage
from decanter.planning import documents, service
from decanter.planning.outcome import BufferOutcome, Outcome
from decanter.planning.price_list import PriceList
from decanter.planning.service import PROCESSOR_MEGABYTES, Service

SIZES = (128, 192, 256, 384, 512, 640, 768, 1_024, 1_280, 1_536, PROCESSOR_MEGABYTES, 2_048, 3_008)
"""Sizes that are compared, in MB. Beyond 1,769 MB a function has more than one processor, which
Decanter's do not use."""

CALL_SECONDS = 0.01
"""Assumed of a call of SQS or DynamoDB by the API function, which waits for it."""

RESERVE = 1.25
"""Memory beside what was measured, for the runtime and for larger rows."""

DEFAULT_MEGABYTES = 128  # Chalice's

_SECONDS: Mapping[str, Any] = {"type": "number", "minimum": 0, "description": "seconds, from 0"}
_COUNT: Mapping[str, Any] = {"type": "number", "minimum": 0, "description": "bytes, from 0"}
_CONTAINER: Mapping[str, Any] = {
    "type": "object",
    "required": ["cold_start_seconds", "peak_bytes", "log_bytes"],
    "properties": {
        "cold_start_seconds": _SECONDS,
        "peak_bytes": _COUNT,
        "log_bytes": _COUNT,
        "request_seconds": _SECONDS,
        "row_seconds": _SECONDS,
    },
}
_API: Mapping[str, Any] = {
    **_CONTAINER,
    "required": [*_CONTAINER["required"], "request_seconds", "row_seconds"],
}
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["functions"],
    "properties": {
        "functions": {
            "type": "object",
            "required": ["api", "drain"],
            "properties": {"api": _API, "drain": _CONTAINER},
        }
    },
}


class Container(NamedTuple):
    """What a container of a function was measured to use, with a processor to itself.

    cold_start_seconds: of the processor, from the start of the process until its first call, in
    which it loads what it needs. peak_bytes: most memory, with the largest request or batch.
    log_bytes: that it logs in a call. request_seconds, row_seconds: of the processor, for a request
    and for each further row in it; of the API function.
    """

    cold_start_seconds: float
    peak_bytes: float
    log_bytes: float
    request_seconds: float = 0.0
    row_seconds: float = 0.0


class Work(NamedTuple):
    """An invocation of a function, on average, with a processor to itself.

    processor: seconds of its own work. waiting: other seconds. invocations: in a month.
    """

    processor: float
    waiting: float
    invocations: float

    def seconds(self, megabytes: float) -> float:
        """What it takes in a function of that memory."""
        return self.processor * slower(megabytes) + self.waiting


class Size(NamedTuple):
    """A function with so much memory.

    seconds: of an invocation on average. cold_seconds: of one that starts a container. usd: of a
    month's invocations. fits: whether the largest request or batch does. is_in_time: whether one
    that starts a container is done within the goal.
    """

    megabytes: int
    seconds: float
    cold_seconds: float
    usd: float
    fits: bool
    is_in_time: bool


@dataclass(frozen=True)
class Sweep:
    """One function with each size. now: its memory in the stage. needed: the least that fits, in
    MB. goal_seconds: for an invocation that starts a container."""

    function: str
    now: int
    needed: int
    goal_seconds: float
    sizes: tuple[Size, ...]

    @property
    def best(self) -> Size | None:
        """The cheapest of those that fit and are in time; of several, the quickest. None: there is
        none."""
        good = [each for each in self.sizes if each.fits and each.is_in_time]
        return min(good, key=lambda each: (round(each.usd, 2), each.seconds), default=None)


def slower(megabytes: float) -> float:
    """How many times as long a function works as with a whole processor."""
    return max(1.0, PROCESSOR_MEGABYTES / megabytes)


def megabytes(stage: Stage, function: str) -> int:
    """The memory of a function in a stage."""
    found = stage.setting(functions.function(function), "lambda_memory_size")
    return int(found or DEFAULT_MEGABYTES)


def containers(path: Path = service.FILE) -> dict[str, Container]:
    """Containers of `api` and `drain` in a file of service times. Raises PlanningError."""
    found = documents.read(path)
    documents.check(found, _SCHEMA, path.name)
    return {
        name: Container(**{key: each[key] for key in Container._fields if key in each})
        for name, each in found["functions"].items()
    }


def sweeps(
    stage: Stage,
    outcome: Outcome,
    found: Mapping[str, Container],
    times: Service,
    prices: PriceList,
    goal_seconds: float,
    months: float,
) -> list[Sweep]:
    """The sweep of the API function, whose goal is its timeout, and of each drain, whose goal is
    the lag's. times: as they were measured. months: of traffic like that of the
    outcome, in one."""
    api = functions.function("api")
    timeout = float(stage.setting(api, "lambda_timeout") or DEFAULT_TIMEOUT_SECONDS)
    works = [("api", found["api"], request(outcome, found["api"], months), timeout)]
    for each in outcome.buffers:
        if each.batches:
            work = batch(each, times, megabytes(stage, each.function), months)
            works.append((each.function, found["drain"], work, goal_seconds))
    return [
        sweep(function, megabytes(stage, function), work, container, goal, prices, stage)
        for function, container, work, goal in works
    ]


def request(outcome: Outcome, api: Container, months: float) -> Work:
    """An invocation of the API function. It waits for the calls that put its messages."""
    rows = sum(each.rows for each in outcome.resources)
    accepted = sum(each.requests for each in outcome.resources)
    puts = sum(each.puts for each in outcome.resources)
    further = max(0.0, rows - accepted)
    sent = outcome.requests or 1.0
    return Work(
        api.request_seconds + further / sent * api.row_seconds,
        puts / sent * CALL_SECONDS,
        outcome.requests * months,
    )


def batch(buffer: BufferOutcome, times: Service, now: int, months: float) -> Work:
    """An invocation of a drain: the seconds that the outcome has with the memory of the stage,
    parted into its own work and the rest as the ops of `times` are on average."""
    share = processor_share(times.at(buffer.name, PROCESSOR_MEGABYTES, 0.0))
    seconds = buffer.busy_seconds / buffer.batches / (share * slower(now) + 1 - share)
    return Work(share * seconds, (1 - share) * seconds, buffer.batches * months)


def processor_share(times: Service) -> float:
    """How much of a batch's time is the function's own work, as a mean over the ops."""
    return sum(each.processor_share for each in times.ops.values()) / len(times.ops)


def sweep(
    function: str,
    now: int,
    work: Work,
    container: Container,
    goal_seconds: float,
    prices: PriceList,
    stage: Stage,
) -> Sweep:
    """A function's work with each size, and with that of the stage."""
    needed = ceil(container.peak_bytes * RESERVE / 2**20)
    price = prices.prices[f"lambda_{stage.architecture}"]
    sizes = []
    for each in sorted({*SIZES, now}):
        seconds = work.seconds(each)
        cold = seconds + container.cold_start_seconds * slower(each)
        usd = price.of(work.invocations * billed(seconds) * each / 1_024)
        sizes.append(Size(each, seconds, cold, usd, each >= needed, cold <= goal_seconds))
    return Sweep(function, now, needed, goal_seconds, tuple(sizes))


def billed(seconds: float) -> float:
    """What Lambda bills for an invocation: whole milliseconds."""
    return ceil(round(seconds * 1_000, 6)) / 1_000


def table(found: Sweep) -> list[str]:
    """Lines of a table of the sizes."""
    best = found.best
    return [
        f"{found.function}: needs {found.needed} MB; an invocation that starts a container may take"
        f" {found.goal_seconds:g} s",
        f"{'MB':>6}{'ms':>10}{'ms, cold':>11}{'USD a month':>13}",
        *(_line(each, each.megabytes == found.now, each is best) for each in found.sizes),
    ]


def tables(found: Iterable[Sweep]) -> list[str]:
    """Lines of all tables, with an empty one between them."""
    lines: list[str] = []
    for each in found:
        lines += [*([""] if lines else []), *table(each)]
    return lines


def _line(size: Size, is_now: bool, is_best: bool) -> str:
    notes = {
        "now": is_now,
        "cheapest": is_best,
        "too small": not size.fits,
        "too slow": not size.is_in_time,
    }
    figures = f"{size.seconds * 1_000:>10,.1f}{size.cold_seconds * 1_000:>11,.0f}{size.usd:>13,.2f}"
    said = ", ".join(note for note, is_so in notes.items() if is_so)
    return f"{size.megabytes:>6,}{figures}  {said}".rstrip()


def document(found: Sequence[Sweep]) -> list[dict[str, Any]]:
    """The sweeps as JSON."""
    return [
        {
            "function": each.function,
            "now": each.now,
            "needed": each.needed,
            "goal_seconds": each.goal_seconds,
            "best": each.best.megabytes if each.best else None,
            "sizes": [size._asdict() for size in each.sizes],
        }
        for each in found
    ]
