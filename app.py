"""Every route and trigger. Bodies import what they need: the API function loads no database code,
and no function pays for another's imports.
"""

import sys
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, IAMAuthorizer, Rate, Response, SQSEvent

from chalicelib.settings import local_hint, queue_name

app = Chalice(app_name="decanter")
app.log.setLevel("INFO")
sys.stderr.write(local_hint(sys.argv))
signed = IAMAuthorizer()
ANY_TYPE = ["*/*"]  # refused by us, with a problem that says what would be right
ROW_PATHS = ["/{resource}" + "".join(f"/{{key{i}}}" for i in range(1, n + 1)) for n in range(1, 9)]


@app.route("/health", methods=["GET"])
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.route("/openapi.json", methods=["GET"], authorizer=signed)
def openapi() -> Response:
    from chalicelib.intake import answers, contract

    return answers.answered(lambda: answers.Answer(200, contract.document()), _path())


@app.route("/writes/{receipt}", methods=["GET"], authorizer=signed)
def status(receipt: str) -> Response:
    from chalicelib.intake import answers, reading

    return answers.answered(lambda: reading.status(receipt, _caller()), _path())


@app.route("/{resource}", methods=["POST"], content_types=ANY_TYPE, authorizer=signed)
def create(resource: str) -> Response:
    from chalicelib.intake import answers, writes

    return answers.answered(lambda: writes.create(_request(writes), resource), _path())


def row(resource: str, **key: str) -> Response:
    from chalicelib.intake import answers, reading, writes

    segments = [key[name] for name in sorted(key)]
    method = app.current_request.method
    if method == "GET":
        return answers.answered(lambda: reading.row(resource, segments), _path())
    write = {"PUT": writes.replace, "PATCH": writes.merge, "DELETE": writes.delete}[method]
    return answers.answered(lambda: write(_request(writes), resource, segments), _path())


for path in ROW_PATHS:
    app.route(
        path,
        methods=["GET", "PUT", "PATCH", "DELETE"],
        content_types=ANY_TYPE,
        authorizer=signed,
    )(row)


@app.on_sqs_message(queue_name("ordered.fifo"), batch_size=10, maximum_concurrency=4)
def drain_ordered(event: SQSEvent) -> dict[str, Any]:
    from chalicelib.drain import handler

    return handler.drain(event.to_dict(), event.context)


@app.on_sqs_message(
    queue_name("unordered"),
    batch_size=10_000,
    maximum_batching_window_in_seconds=1,
    maximum_concurrency=2,
)
def drain_unordered(event: SQSEvent) -> dict[str, Any]:
    from chalicelib.drain import handler

    return handler.drain(event.to_dict(), event.context)


@app.lambda_function()
def reader(event: dict[str, Any], context: Any) -> dict[str, Any]:
    from chalicelib.reader import handler

    return handler.read(event, context)


@app.lambda_function()
def migrate(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    from chalicelib.database import migrate
    from chalicelib.settings import DatabaseSettings

    return migrate.upgrade(DatabaseSettings.from_environment().url)


@app.schedule(Rate(1, unit=Rate.HOURS))
def sweep(event: CloudWatchEvent) -> dict[str, int]:
    from chalicelib.database import sweep

    return sweep.sweep(event.context)


def _path() -> str:
    """As it was sent; Chalice's own `path` is the route's pattern."""
    request = app.current_request
    return str(request.path.format(**(request.uri_params or {})))


def _caller() -> str:
    """Who the credentials name, as API Gateway has checked them."""
    context = app.current_request.context
    named = context.get("authorizer") or {}
    return named.get("principalId") or (context.get("identity") or {}).get("userArn") or "anonymous"


def _request(writes: Any) -> Any:
    request = app.current_request
    return writes.Request(
        method=request.method,
        path=_path(),
        headers=request.headers,
        body=request.raw_body,
        caller=_caller(),
    )
