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

    descriptions: of tables without a comment. Raises ModelError for an example that is not a value
        of its column.
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
        # Relative to this document, and so valid for every stage.
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
            "parameters": parameters.COMPONENTS,
            "headers": shared.HEADERS,
            "responses": problems.components(),
            "schemas": components,
        },
        "x-decanter": {
            "resources": {resource.name: index(resource, resources) for resource in ordered}
        },
    }


_DESCRIPTION = """\
Writes are answered at once with 202 and a receipt, and poured into Postgres exactly once, in \
order for each key. GET the `Location` of the answer to learn their outcome, or wait for it with \
`Prefer: wait=10`. Resources whose description says so answer with the outcome instead. `HEAD` is \
answered wherever `GET` is.

Errors are `application/problem+json` with stable `type`s. Send an `Idempotency-Key` with every \
write, and you can safely repeat it after any temporary error."""


def _security_schemes() -> Json:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": (
                "A token of the issuer that this stage trusts, if it is set up for tokens. Scopes:"
                f" `{{resource}}:{READ}`, {', '.join(f'`{each}`' for each in scopes())}, or"
                f" `{WRITE}` for all but `{READ}`; the resource may be `*`."
            ),
        },
        "sigv4": {
            "type": "apiKey",
            "name": "Authorization",
            "in": "header",
            "description": (
                "AWS Signature Version 4 for execute-api, if the stage is set up for IAM."
            ),
            "x-amazon-apigateway-authtype": "awsSigv4",
        },
    }
