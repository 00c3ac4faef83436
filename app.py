"""All routes and triggers. Bodies import what they need: the API function loads no database code,
and no function pays for another's imports.
"""

import sys
from collections.abc import Callable
from typing import Any

from chalice.app import (
    AuthRequest,
    AuthResponse,
    Chalice,
    CloudWatchEvent,
    CORSConfig,
    DynamoDBEvent,
    IAMAuthorizer,
    Rate,
    Response,
    SQSEvent,
)

from chalicelib import stage
from chalicelib.settings import AUDIT_MINUTES, local_hint, queue_name

app = Chalice(app_name="decanter")
app.log.setLevel("INFO")
sys.stderr.write(local_hint(sys.argv))
if origin := stage.cors_origin():
    app.api.cors = CORSConfig(
        allow_origin=origin,
        allow_headers=stage.ALLOWED_HEADERS,
        expose_headers=stage.EXPOSED_HEADERS,
        max_age=stage.CORS_SECONDS,
    )
stage.iam_preferences()  # refuses an invalid setting before anything is deployed
signed: Any = IAMAuthorizer()
if stage.authentication() == "jwt":

    @app.authorizer(ttl_seconds=300)
    def bearer(request: AuthRequest) -> AuthResponse:
        from chalicelib.authorizer import handler

        return handler.authorize(request)

    signed = bearer
ANY_TYPE = ["*/*"]  # others are refused later, with a problem that names the right ones
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]  # 405 where a path lacks one
ROW_PATHS = ["/{resource}" + "".join(f"/{{key{i}}}" for i in range(1, n + 1)) for n in range(1, 9)]
OPS_PATHS = ["/ops/{name}", "/ops/{name}/{id}", "/ops/{name}/{id}/{part}"]


@app.route("/health", methods=["GET", "HEAD"], content_types=ANY_TYPE)
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.route("/openapi.json", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def openapi() -> Response:
    def get(_: Any) -> Any:
        from chalicelib.api.http import answers
        from chalicelib.contract import resources

        return answers.Answer(200, resources.document())

    return _respond(GET=get)


@app.route("/docs", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def docs() -> Response:
    def get(_: Any) -> Any:
        from chalicelib.api.docs.page import PAGE

        return PAGE.index()

    return _respond(GET=get)


@app.route("/docs/{asset}", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def docs_asset(**_: str) -> Response:
    def get(_: Any, asset: str) -> Any:
        from chalicelib.api.docs.page import PAGE

        return PAGE.asset(asset)

    return _respond(GET=get)


@app.route("/console", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def console() -> Response:
    def get(_: Any) -> Any:
        from chalicelib.api.console.page import PAGE

        return PAGE.index()

    return _respond(GET=get)


@app.route("/console/{asset}", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def console_asset(**_: str) -> Response:
    def get(_: Any, asset: str) -> Any:
        from chalicelib.api.console.page import PAGE

        return PAGE.asset(asset)

    return _respond(GET=get)


@app.route("/writes/{receipt}", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def status(**_: str) -> Response:
    def get(request: Any, receipt: str) -> Any:
        from chalicelib.api.reads import calls

        return calls.status(request, receipt)

    return _respond(GET=get)


@app.route(
    "/writes/{receipt}/rejections", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed
)
def rejections(**_: str) -> Response:
    def get(request: Any, receipt: str) -> Any:
        from chalicelib.api.reads import calls

        return calls.rejections(request, receipt)

    return _respond(GET=get)


def ops(**_: str) -> Response:
    def answer(request: Any, *segments: str) -> Any:
        from chalicelib.api.ops import routes

        return routes.answer(request, segments)

    return _respond(GET=answer, POST=answer)


for path in OPS_PATHS:
    app.route(path, methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)(ops)


@app.route("/{resource}", methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)
def rows(**_: str) -> Response:
    def get(request: Any, resource: str) -> Any:
        from chalicelib.api.reads import calls

        return calls.rows(request, resource)

    def post(request: Any, resource: str) -> Any:
        from chalicelib.api.writes import calls

        return calls.create(request, resource)

    return _respond(GET=get, POST=post)


def row(**_: str) -> Response:
    def get(request: Any, resource: str, *key: str) -> Any:
        from chalicelib.api.reads import calls

        return calls.row(request, resource, key)

    def put(request: Any, resource: str, *key: str) -> Any:
        from chalicelib.api.writes import calls

        return calls.replace(request, resource, key)

    def patch(request: Any, resource: str, *key: str) -> Any:
        from chalicelib.api.writes import calls

        return calls.merge(request, resource, key)

    def delete(request: Any, resource: str, *key: str) -> Any:
        from chalicelib.api.writes import calls

        return calls.delete(request, resource, key)

    return _respond(GET=get, PUT=put, PATCH=patch, DELETE=delete)


for path in ROW_PATHS:
    app.route(path, methods=ALL_METHODS, content_types=ANY_TYPE, authorizer=signed)(row)


@app.on_sqs_message(
    queue_name("ordered.fifo"), batch_size=10, maximum_concurrency=stage.cap("ordered", 4)
)
def drain_ordered(event: SQSEvent) -> dict[str, Any]:
    from chalicelib.buffer.sqs import take
    from chalicelib.drain import handler

    return handler.drain(event.to_dict(), event.context, take)


@app.on_sqs_message(
    queue_name("unordered"),
    batch_size=10_000,
    maximum_batching_window_in_seconds=1,
    maximum_concurrency=stage.cap("unordered", 2),
)
def drain_unordered(event: SQSEvent) -> dict[str, Any]:
    from chalicelib.buffer.sqs import take
    from chalicelib.drain import handler

    return handler.drain(event.to_dict(), event.context, take)


if stage.has_front():

    @app.on_dynamodb_record(
        stage.front_stream(),
        batch_size=1_000,
        starting_position="TRIM_HORIZON",
        maximum_batching_window_in_seconds=1,
    )
    def drain_stream(event: DynamoDBEvent) -> dict[str, Any]:
        from chalicelib.buffer.dynamodb import take
        from chalicelib.drain import handler

        return handler.drain(event.to_dict(), event.context, take)

    @app.schedule(Rate(1, unit=Rate.MINUTES))
    def settle(event: CloudWatchEvent) -> dict[str, int]:
        from chalicelib.settle import handler

        return handler.settle(event.context)


@app.lambda_function()
def reader(event: dict[str, Any], context: Any) -> dict[str, Any]:
    from chalicelib.reader import handler

    return handler.read(event, context)


@app.lambda_function()
def migrate(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001
    from chalicelib.migrate import handler

    return handler.run(event)


@app.lambda_function()
def operate(event: dict[str, Any], context: Any) -> dict[str, Any]:
    from chalicelib.operate import handler

    return handler.operate(event, context)


@app.schedule(Rate(AUDIT_MINUTES, unit=Rate.MINUTES))
def audit(event: CloudWatchEvent) -> dict[str, int]:
    from chalicelib.audit import handler

    return handler.run(event.context)


if stage.events():

    @app.schedule(Rate(1, unit=Rate.MINUTES))
    def publish(event: CloudWatchEvent) -> dict[str, int]:
        from chalicelib.publish import handler

        return handler.publish(event.context)


@app.schedule(Rate(1, unit=Rate.HOURS))
def sweep(event: CloudWatchEvent) -> dict[str, int]:
    from chalicelib.sweep import handler

    return handler.sweep(event.context)


def _respond(**handlers: Callable[..., Any]) -> Response:
    """Answer the request with the handler of its method, which gets the segments of the path."""
    from chalicelib.api.http import answers, path

    request: Any = app.current_request
    event = request.to_original_event()

    def answer() -> Any:
        handler = answers.choose(handlers, request.method)
        return handler(_to_request(request, event), *path.segments(event))

    return answers.respond(answer, path.sent(event))


def _to_request(request: Any, event: dict[str, Any]) -> Any:
    from chalicelib.api.http import path
    from chalicelib.api.http.caller import caller
    from chalicelib.api.http.request import Request, seconds_to_answer

    headers: dict[str, list[str]] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        headers.setdefault(name.lower(), []).extend(values)  # two spellings, one header
    return Request(
        method=request.method,
        path=path.below(event),
        headers={name: ", ".join(values) for name, values in headers.items()} or request.headers,
        body=request.raw_body,
        caller=caller(request.context),
        query=event.get("multiValueQueryStringParameters") or {},
        seconds=seconds_to_answer(app.lambda_context),
    )
