"""The queues, their dead-letter queues and policies."""

from typing import Any

from chalicelib.settings import queue_bytes
from decanter.deployment.functions import QUEUES, Queue, queue_outputs
from decanter.deployment.references import RETAINED, Json, arn

RETENTION_SECONDS = 14 * 24 * 3600  # the most SQS allows
MAX_RECEIVES = 1000  # the most SQS allows; in a long database outage, every retry counts
VISIBILITY_MARGIN_SECONDS = 15
"""From a message's delivery to the start of its drain's timeout: batching window (1 s), cold start
(10 s at most), and some reserve."""


def resources(prefix: str) -> Json:
    """All queues of a stage, which refer to ``parameters``."""
    return {name: each for queue in QUEUES for name, each in _queue(queue, prefix).items()}


def outputs() -> Json:
    """Outputs with the URLs of the queues."""
    return {name: {"Value": {"Ref": name.removesuffix("Url")}} for name in queue_outputs().values()}


def parameters(drain_seconds: int) -> Json:
    """Parameters that the queues refer to. drain_seconds: the longest timeout of a drain."""
    # AWS advises six times the timeout, for throttled messages; those of a mapping with
    # MaximumConcurrency are not throttled.
    least = drain_seconds + VISIBILITY_MARGIN_SECONDS
    return {
        "VisibilityTimeout": {
            "Type": "Number",
            "Default": least,
            "MinValue": least,
            # With a longer one, messages would expire before they become dead letters.
            "MaxValue": RETENTION_SECONDS // MAX_RECEIVES,
            "Description": (
                "Seconds until a message that was not poured is delivered again. The default is "
                "the least that is safe: the longest timeout of a drain plus "
                f"{VISIBILITY_MARGIN_SECONDS} s. The database may be down {MAX_RECEIVES} times as "
                "long before good messages become dead letters."
            ),
        }
    }


def _queue(queue: Queue, prefix: str) -> Json:
    common: dict[str, Any] = {
        "MaximumMessageSize": queue_bytes(),
        "MessageRetentionPeriod": RETENTION_SECONDS,
        "SqsManagedSseEnabled": True,
    }
    if queue.is_fifo:
        common |= {
            "FifoQueue": True,
            "ContentBasedDeduplication": False,
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
        }
    name, dead_letters = f"{queue.logical}Queue", f"{queue.logical}DeadLetterQueue"
    queue_name = f"{prefix}-{queue.suffix}"
    # A reference would be circular: the queue refers to its dead-letter queue.
    source = f"arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{queue_name}"
    special: Json = {
        dead_letters: {
            "QueueName": f"{prefix}-{queue.dead_letter_suffix}",
            "RedriveAllowPolicy": {
                "redrivePermission": "byQueue",
                "sourceQueueArns": [{"Fn::Sub": source}],
            },
        },
        name: {
            "QueueName": queue_name,
            "VisibilityTimeout": {"Ref": "VisibilityTimeout"},
            "RedrivePolicy": {
                "deadLetterTargetArn": arn(dead_letters),
                "maxReceiveCount": MAX_RECEIVES,
            },
        },
    }
    return {
        **{
            each: {"Type": "AWS::SQS::Queue", **RETAINED, "Properties": {**own, **common}}
            for each, own in special.items()
        },
        **{f"{each}Policy": _encrypted_only(each) for each in special},
    }


def _encrypted_only(queue: str) -> Json:
    """A policy that denies requests without TLS."""
    statement = {
        "Sid": "OnlyWithTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": arn(queue),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": [{"Ref": queue}],
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        },
    }
