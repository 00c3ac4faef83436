"""A model of CloudWatch's metrics, log filters and alarms, as far as this project's alarms need it.

As AWS documents it: a period's datapoint is a statistic of its values, and is missing without any.
An alarm evaluates its last N periods, and a few earlier ones if some are missing: if N have data,
the newest N of them; otherwise all that have data, and the rest according to TreatMissingData.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Json = dict[str, Any]
Key = tuple[Any, ...]
Points = dict[int, float]
"""Values by number of period."""

_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Maximum": max,
    "SampleCount": len,
    "Average": lambda values: sum(values) / len(values),
}
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}


@dataclass(frozen=True)
class Reading:
    """Details that AWS does not document. extra: periods that are evaluated beyond N.
    fills_nothing: whether FILL returns nothing for a metric without data in these periods."""

    extra: int = 2
    fills_nothing: bool = False


def key(metric: Json) -> Key:
    """Return namespace, name and dimensions of a metric; a reference as its name in the
    template."""
    dimensions = {each["Name"]: _name(each["Value"]) for each in metric.get("Dimensions", [])}
    return (metric["Namespace"], metric["MetricName"], *sorted(dimensions.items()))


def _name(value: Any) -> str:
    match value:
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            return str(name)
    return str(value)


@dataclass
class Metrics:
    """Values of metrics by time in seconds. filters: metric filters of a template."""

    filters: Sequence[Json] = ()
    values: dict[Key, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def put(self, namespace: str, name: str, at: float, value: float, **dimensions: str) -> None:
        self.values[(namespace, name, *sorted(dimensions.items()))].append((at, value))

    def log(self, group: str, at: float, line: str) -> None:
        """Log a line to the log group of that name in the template."""
        for each in self.filters:
            if each["LogGroupName"] == {"Ref": group}:
                for made in each["MetricTransformations"]:
                    value = read(each["FilterPattern"], made["MetricValue"], line)
                    if value is not None:
                        self.put(made["MetricNamespace"], made["MetricName"], at, value)

    def stop(self, since: float, *names: str) -> None:
        """Remove later values of metrics with all these names."""
        for found, values in self.values.items():
            if {*names} <= {*found[:2], *(value for _, value in found[2:])}:
                values[:] = [each for each in values if each[0] < since]

    def datapoints(self, metric: Json, statistic: str, period: int) -> Points:
        """Return the datapoints of a metric."""
        found = defaultdict(list)
        for at, value in self.values.get(key(metric), ()):
            found[int(at // period)].append(value)
        return {number: _STATISTICS[statistic](values) for number, values in found.items()}


@cache
def fields(pattern: str, line: str) -> dict[str, str] | None:
    """Match a line with a pattern of space-separated fields; return the fields, or None."""
    wanted = [each.strip() for each in pattern.strip("[]").split(", ")]
    found = re.findall(r"\[[^]]*\]|\S+", line)
    if wanted[-1] == "...":
        wanted.pop()
        found = found[: len(wanted)]
    if len(found) != len(wanted):
        return None
    values = {}
    for each, value in zip(wanted, found, strict=True):
        name, _, required = each.partition("=")
        if required and required.strip('"') != value:
            return None
        values[name] = value
    return values


def read(pattern: str, value: str, line: str) -> float | None:
    """Return the value that a metric filter extracts from a line, or None."""
    found = fields(pattern, line)
    return None if found is None else float(found[value[1:]] if value[0] == "$" else value)


def states(
    alarm: Json,
    metrics: Metrics,
    parameters: Mapping[str, float],
    since: float,
    until: float,
    reading: Reading,
) -> Iterator[str]:
    """Return the states of an alarm at the end of each of its periods in that time."""
    counted: int = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm", counted)
    missing = alarm["TreatMissingData"]
    threshold = alarm["Threshold"]
    if isinstance(threshold, dict):
        threshold = parameters[threshold["Ref"]]
    breaches = _COMPARED[alarm["ComparisonOperator"]]
    period = _period(alarm)
    assert counted * period <= 86_400  # what AWS takes
    sources = _sources(alarm, metrics)
    is_sum = "Metrics" in alarm
    numbers = range(int(since // period), int(until // period))
    # Most have far too few anywhere to look at each period.
    if (
        missing == "notBreaching"
        and not is_sum
        and _many(sources[""], breaches, threshold) < needed
    ):
        yield from ["OK"] * len(numbers)
        return
    for number in numbers:
        seen = range(number, number - counted - reading.extra, -1)  # the newest first
        points = _points(alarm, sources, seen, reading) if is_sum else sources[""]
        real = [points[each] for each in seen if each in points][:counted]
        if not real and missing == "missing":
            yield "INSUFFICIENT_DATA"
            continue
        breaching = sum(breaches(value, threshold) for value in real)
        breaching += (counted - len(real)) * (missing == "breaching")
        yield "ALARM" if breaching >= needed else "OK"


def _many(points: Points, breaches: Callable[[float, float], bool], threshold: float) -> int:
    return sum(breaches(value, threshold) for value in points.values())


def _period(alarm: Json) -> int:
    if "Period" in alarm:
        return int(alarm["Period"])
    [period] = {each["MetricStat"]["Period"] for each in alarm["Metrics"] if "MetricStat" in each}
    return int(period)


def _sources(alarm: Json, metrics: Metrics) -> dict[str, Points]:
    if "Metrics" not in alarm:
        return {"": metrics.datapoints(alarm, alarm["Statistic"], alarm["Period"])}
    return {
        each["Id"]: metrics.datapoints(stat["Metric"], stat["Stat"], stat["Period"])
        for each in alarm["Metrics"]
        if (stat := each.get("MetricStat"))
    }


def _points(alarm: Json, sources: dict[str, Points], seen: range, reading: Reading) -> Points:
    """Evaluate an expression over the metrics in these periods."""
    shown = {
        name: _Series({each: points[each] for each in seen if each in points})
        for name, points in sources.items()
    }
    [expression] = [each["Expression"] for each in alarm["Metrics"] if each.get("ReturnData")]

    def fill(series: _Series, value: float) -> _Series:
        if reading.fills_nothing and not series.points:
            return series
        return _Series({each: series.points.get(each, value) for each in seen})

    def total(parts: Sequence[_Series]) -> _Series:
        found: Points = defaultdict(float)
        for part in parts:
            for each, value in part.points.items():
                found[each] += value
        return _Series(found)

    def either(condition: _Series, one: _Series, other: float) -> _Series:
        return _Series(
            {
                each: one.points[each] if value else other
                for each, value in condition.points.items()
                if not value or each in one.points
            }
        )

    known = {"FILL": fill, "SUM": total, "IF": either, **shown}
    found: _Series = eval(expression, {"__builtins__": {}}, known)
    return found.points


@dataclass(frozen=True)
class _Series:
    points: Points

    def __mul__(self, other: float) -> "_Series":
        return _Series({each: value * other for each, value in self.points.items()})

    def __gt__(self, other: float) -> "_Series":
        return _Series({each: float(value > other) for each, value in self.points.items()})
