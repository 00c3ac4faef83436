"""The front table, its stream, and how the stream invokes its drain."""

import json

from decanter.deployment.functions import (
    FRONT_STREAM_OUTPUT,
    FRONT_TABLE,
    FRONT_TABLE_OUTPUT,
    PARTIAL_RESPONSES,
)
from decanter.deployment.references import RETAINED, Json
from decanter.deployment.stage import Stage

SUFFIX = "front"
"""End of the table's name, after the stage's prefix."""

KEY, EXPIRY, WRITE = "pk", "ttl", "write"
"""Attributes of an entry: its key, when the table may remove it, and the message of a write."""

TIME_TO_LIVE = {"AttributeName": EXPIRY, "Enabled": True}

MAPPING: Json = {
    # Only entries with a message: claims, key records and entries that were removed have none.
    "FilterCriteria": {
        "Filters": [
            {"Pattern": json.dumps({"dynamodb": {"NewImage": {WRITE: {"S": [{"exists": True}]}}}})}
        ]
    },
    # A partition of the table takes 1,000 writes a second, and one container pours more than that.
    "ParallelizationFactor": 1,
    # Nothing is given up: what cannot be poured is kept as a rejection, not dropped by Lambda.
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": -1,
    # Of a batch that a container cannot finish in its time, half may pass.
    "BisectBatchOnFunctionError": True,
    "FunctionResponseTypes": [PARTIAL_RESPONSES],
}
"""What Chalice does not say about the mapping of the stream."""


def resources(stage: Stage) -> Json:
    """The front table; nothing if no resource is written to one."""
    if not stage.has_front:
        return {}
    return {
        FRONT_TABLE: {
            "Type": "AWS::DynamoDB::Table",
            **RETAINED,
            "Properties": {
                "TableName": table_name(stage.prefix),
                "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                "SSESpecification": {"SSEEnabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "TimeToLiveSpecification": TIME_TO_LIVE,
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
            },
        }
    }


def outputs(stage: Stage) -> Json:
    """Outputs with the name of the table, and with the ARN of its stream."""
    if not stage.has_front:
        return {}
    return {
        FRONT_TABLE_OUTPUT: {"Value": {"Ref": FRONT_TABLE}},
        FRONT_STREAM_OUTPUT: {"Value": stream_arn()},
    }


def table_name(prefix: str) -> str:
    """The name of a stage's front table. prefix: of the names of its stack and queues."""
    return f"{prefix}-{SUFFIX}"


def stream_arn() -> Json:
    """The ARN of the stream, which has the time when it was created in it."""
    return {"Fn::GetAtt": [FRONT_TABLE, "StreamArn"]}


def event() -> Json:
    """Properties of the event source that Chalice makes of ``on_dynamodb_record``."""
    return {"Stream": stream_arn(), **MAPPING}
