"""The pattern of AWS's documentation: Powertools' batch processors, one record a transaction.

https://docs.aws.amazon.com/powertools/python/latest/utilities/batch/
https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/

The messages are those of Decanter's API function. Each row has a savepoint, as in SQLAlchemy's
documentation of `begin_nested`, so that a bad row does not take the others of its record with it. A
lasting error is logged, because a retry would only hold up the message group.
"""

import datetime
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    base,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyValidationError
from aws_lambda_powertools.utilities.idempotency.persistence import base as persistence
from aws_lambda_powertools.utilities.idempotency.persistence import datarecord, dynamodb
from sqlalchemy.orm import Session

from chalicelib import aws
from chalicelib.messages.message import decode
from decanter.proof.peers import writing
from decanter.proof.peers.log import Log

_EXPIRY_SECONDS = 30 * 86_400  # as long as Decanter's ledger remembers

Handle = Callable[..., None]


def install(log: Log, is_idempotent: bool) -> None:
    """Make this container's drains the peer's. is_idempotent: with the idempotency utility."""
    import app  # needs the settings of a worker

    engine = writing.engine()

    def handle(message: dict[str, str]) -> None:
        _pour(engine, log, message["body"])

    config, once = None, handle
    if is_idempotent:
        config, once = _idempotent(handle)

    def record_handler(record: Any) -> None:
        message = decode(record.body)
        log.begin(message.dedup_id)
        content = {"id": message.dedup_id, "print": message.fingerprint, "body": record.body}
        try:
            once(message=content)
        except IdempotencyValidationError:  # its Idempotency-Key was used for another request
            log.end(message.dedup_id, {-1: "key-reused"})

    def drain(processor: BatchProcessor) -> Callable[[dict[str, Any], Any], Any]:
        def handler(event: dict[str, Any], context: Any) -> Any:
            if not event:  # of Decanter's own schedule
                return {"batchItemFailures": []}
            if config is not None:
                config.register_lambda_context(context)
            return process_partial_response(
                event=event, record_handler=record_handler, processor=processor, context=context
            )

        return handler

    app.drain_ordered = drain(SqsFifoPartialProcessor(skip_group_on_error=True))
    app.drain_unordered = drain(BatchProcessor(event_type=EventType.SQS))


def _pour(engine: Any, log: Log, body: str) -> None:
    message = decode(body)
    outcomes: dict[int, str] = {}
    with Session(engine) as session, session.begin():
        for each in message.sets:
            for item, row in zip(each.items, json.loads(f"[{each.rows}]"), strict=True):
                try:
                    with session.begin_nested():
                        writing.write(session, message.resource, message.op, row)
                    outcomes[item] = ""
                except (writing.MissingRow, *writing.LASTING) as error:
                    outcomes[item] = writing.rejection(error, message.op)
    log.end(message.dedup_id, outcomes)


def _idempotent(handle: Handle) -> tuple[IdempotencyConfig, Handle]:
    """The function, which runs once for each dedup ID, and the settings of that."""
    clock = SimpleNamespace(datetime=_VirtualTime, timedelta=datetime.timedelta)
    for module in (base, persistence, datarecord, dynamodb):
        module.dt = clock  # type: ignore[attr-defined]
    config = IdempotencyConfig(
        event_key_jmespath="id",
        payload_validation_jmespath="print",
        raise_on_no_idempotency_key=True,
        expires_after_seconds=_EXPIRY_SECONDS,
    )
    layer = DynamoDBPersistenceLayer("idempotency", boto3_client=aws.client("dynamodb"))
    decorate = idempotent_function(
        data_keyword_argument="message", config=config, persistence_store=layer
    )
    return config, decorate(handle)


class _VirtualTime(datetime.datetime):
    """A datetime whose present is virtual."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_VirtualTime":
        return cls.fromtimestamp(time.time(), tz)
