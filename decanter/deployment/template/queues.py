"""The queues with their dead-letter queues and policies."""

from typing import Any

from chalicelib.settings import queue_bytes
from decanter.deployment.functions import QUEUES, Queue
from decanter.deployment.references import RETAINED, Json, arn

RETENTION_SECONDS = 14 * 24 * 3600  # the most SQS allows
MAX_RECEIVES = 1000  # the most SQS allows: every retry of a long database outage counts as one
VISIBILITY_MARGIN_SECONDS = 15
"""From when SQS hands out a message to when its drain begins to count its timeout: the batching
window (1 s), a cold start (10 s at most), and a little."""


def resources(prefix: str) -> Json:
    """All of them. They need ``parameters``."""
    return {name: each for queue in QUEUES for name, each in _queue(queue, prefix).items()}


def outputs() -> Json:
    """URLs of the queues."""
    names = [
        *(f"{queue.logical}Queue" for queue in QUEUES),
        *(f"{queue.logical}DeadLetterQueue" for queue in QUEUES),
    ]
    return {f"{name}Url": {"Value": {"Ref": name}} for name in names}


def parameters(drain_seconds: int) -> Json:
    """What the queues refer to."""
    least = least_visibility(drain_seconds)
    return {
        "VisibilityTimeout": {
            "Type": "Number",
            "Default": least,
            "MinValue": least,
            # Longer would not help: messages would be too old before they are dead letters.
            "MaxValue": RETENTION_SECONDS // MAX_RECEIVES,
            "Description": (
                "Seconds until a message that was not poured is tried again. The least that is "
                f"safe is the default: the timeout of the drain functions and "
                f"{VISIBILITY_MARGIN_SECONDS} s. With {MAX_RECEIVES} deliveries, a database may be "
                f"away for {MAX_RECEIVES} times as long before good messages become dead letters."
            ),
        }
    }


def least_visibility(drain_seconds: int) -> int:
    """The shortest visibility timeout, in seconds, in which a drain is done with a message.

    AWS advises six times the timeout, for messages that are throttled: those of a mapping with
    MaximumConcurrency are not.
    """
    return drain_seconds + VISIBILITY_MARGIN_SECONDS


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
    # It cannot be referred to, for it refers to this one.
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
    """Whoever asks, and may: not without TLS."""
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
