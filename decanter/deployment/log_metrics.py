"""Metrics that CloudWatch extracts from the functions' logs."""

from typing import Any, NamedTuple

# Chalice's prefix of log lines, in place of Lambda's: decanter.drain - INFO - …
_PREFIX = "logger, dash1, level, dash2, "


class LogMetric(NamedTuple):
    """A metric extracted from log lines that match a pattern.

    filter_name: of the filter, after the function's name. value: a field of the line, or a number.
    """

    name: str
    filter_name: str
    pattern: str
    value: str
    unit: str = "Count"

    def resource(self, function: str, namespace: str) -> dict[str, Any]:
        """The filter on a function's log. function: logical name in the template."""
        transformation = {
            "MetricNamespace": namespace,
            "MetricName": self.name,
            "MetricValue": self.value,
            "Unit": self.unit,
        }
        return {
            "Type": "AWS::Logs::MetricFilter",
            "Properties": {
                "LogGroupName": {"Ref": f"{function}Logs"},
                "FilterPattern": self.pattern,
                "MetricTransformations": [transformation],
            },
        }


LAG = LogMetric(
    "Lag",
    "Received",
    f'[{_PREFIX}word=received, messages, what="messages,", name=lag, lag, unit=s]',
    "$lag",
    "Seconds",
)
REJECTIONS = LogMetric(
    "Rejections",
    "Rejected",
    f'[{_PREFIX}word=rejected, rejected, what="writes;", ...]',
    "$rejected",
)
WAITING = LogMetric(
    "Waiting",
    "Waiting",
    f'[{_PREFIX}word=waiting, writes, what="writes,", the=the, oldest=oldest, for=for, seconds,'
    " unit=s]",
    "$seconds",
    "Seconds",
)
SWEPT = LogMetric("Swept", "Ended", f'[{_PREFIX}word=swept, rows, what="rows,", end=done]', "1")
MARKED = LogMetric(
    "MarkedItems",
    "Settled",
    f'[{_PREFIX}word=settled, refused=refused, what="writes:", back, items=items, set=set,'
    ' kind="back,", marked, last="marked,", ...]',
    "$marked",
)
_PUBLISHED = (
    f'[{_PREFIX}word=published, events, what="events,", refused, kind="refused;", left, rows=rows,'
    ' end="left,", the=the, oldest=oldest, for=for, seconds, unit=s]'
)
UNPUBLISHED = LogMetric("Unpublished", "Published", _PUBLISHED, "$seconds", "Seconds")
REFUSED_EVENTS = LogMetric("RefusedEvents", "Refused", _PUBLISHED, "$refused")
UNACCOUNTED = LogMetric(
    "Unaccounted",
    "Audited",
    f'[{_PREFIX}word=audited, requests, what="requests,", missing, kind=writes, end=missing]',
    "$missing",
)
PAUSED = LogMetric(
    "PausedBuffers", "Paused", f'[{_PREFIX}word=paused, paused, what="buffers:", ...]', "$paused"
)
AUTHORIZER_ERRORS = LogMetric(
    "AuthorizerErrors", "Unable", f"[{_PREFIX}word=unable, to=to, check=check, ...]", "1"
)
