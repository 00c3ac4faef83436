"""Resources → OpenAPI 3.1 document."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table

from chalicelib.ops import READ, WRITE, scopes
from chalicelib.postgres.resources import ResourceTable
from decanter.contract import examples, operations, parameters, problems, service, shared
from decanter.contract.index import index
from decanter.contract.schemas import description, schemas

Json = dict[str, Any]


def document(resources: Mapping[str, ResourceTable], descriptions: Mapping[Table, str]) -> Json:
    """The whole contract, with numbers as int and Decimal; the same for the same resources.

    descriptions: of tables that have no comment. Raises ModelError for an example that does not
        fit its column.
    """
    ordered = [resources[name] for name in sorted(resources)]
    paths: Json = {}
    components: Json = dict(shared.SCHEMAS)
    for resource in ordered:
        examples.check(resource)
        paths |= operations.paths(resource)
        components |= schemas(resource, descriptions)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Decanter", "version": "1.0.0", "description": _DESCRIPTION},
        # Relative to this document, so it is right under the path of every stage.
        "servers": [{"url": "."}],
        "security": operations.security(),
        "tags": [
            *(
                {"name": resource.name, "description": description(resource, descriptions)}
                for resource in ordered
            ),
            *service.TAGS,
        ],
        "paths": {**paths, **service.paths()},
        "components": {
            "securitySchemes": _security_schemes(),
            "parameters": parameters.components(),
            "headers": shared.HEADERS,
            "responses": problems.components(),
            "schemas": components,
        },
        "x-decanter": {"resources": {resource.name: index(resource) for resource in ordered}},
    }


_DESCRIPTION = """\
Writes are answered at once with 202 and a receipt, and poured into Postgres exactly once and, for \
one key, in order. GET the `Location` of the answer to see what became of them, or let the request \
wait for it with `Prefer: wait=10`. `HEAD` is answered wherever `GET` is.

Errors are `application/problem+json`; their `type` does not change. Send an `Idempotency-Key` \
with every write, and it can be repeated safely after any error that may pass."""


def _security_schemes() -> Json:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": (
                "A token of the issuer that this stage trusts, where it is set up for tokens."
                f" Scopes: `{{resource}}:{READ}`, {', '.join(f'`{each}`' for each in scopes())}, or"
                f" `{WRITE}` for all but `{READ}`; the resource may be `*`."
            ),
        },
        "sigv4": {
            "type": "apiKey",
            "name": "Authorization",
            "in": "header",
            "description": (
                "AWS Signature Version 4 for the service execute-api, where the stage is set up for"
                " IAM."
            ),
            "x-amazon-apigateway-authtype": "awsSigv4",
        },
    }
