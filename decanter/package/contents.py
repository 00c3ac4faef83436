"""Which files of the dependencies are packaged: lists to review and edit.

Paths are relative to ``site-packages``; ``*`` matches any text, including slashes. Tests check that
every pattern matches a file, and that the functions run with the remaining files.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

SERVICES = {
    "sqs": "the API function sends writes to the queues",
    "dynamodb": "it writes rows to the front table and reads them there",
    "lambda": "it invokes the reader, and pauses the mappings of the buffers",
    "cloudwatch": "it reads the age of the queues",
    "logs": "it reads its own log of accepted requests",
    "sns": "the publish function sends events to a topic",
    "events": "or to a bus",
    "sts": "the SDK itself, for the credentials of a role",
}
"""The AWS services that functions can create clients of, and why.

The SDK has data files for four hundred services, which would be two fifths of the package. Add the
name of any other service that a function calls.
"""

KEPT = (
    "botocore/data/_retry.json",
    "botocore/data/endpoints.json",
    "botocore/data/partitions.json",
    "botocore/data/sdk-default-configuration.json",
    *(
        f"botocore/data/{service}/*/{part}*"
        for service in SERVICES
        for part in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2")
    ),
)
"""Patterns of files that stay although they match ``LEFT_OUT``."""

LEFT_OUT = {
    "botocore/data/*": "services that nothing calls; see SERVICES",
    "boto3/data/*": "boto3's older resource API, which nothing uses",
    "boto3/dynamodb/*": "likewise",
    "boto3/ec2/*": "likewise",
    "boto3/examples/*": "for its documentation",
    "*/testing/*": "test helpers",
    "*.pyi": "stubs for type checkers",
    "*.pxd": "sources of compiled modules",
    "*.c": "likewise",
    "*.dist-info/RECORD": "a list for pip",
    "*.dist-info/sboms/*": "software bills of materials",
    "sqlalchemy/dialects/mssql/*": "another database",
    "sqlalchemy/dialects/mysql/*": "another database",
    "sqlalchemy/dialects/oracle/*": "another database",
    "sqlalchemy/dialects/sqlite/*": "another database",
    "sqlalchemy/dialects/*/provision.py": "for its tests",
    "sqlalchemy/ext/asyncio/*": "nothing here is asynchronous",
    "alembic/templates/*": "for writing revisions, which functions do not do",
    "cffi/*": "builds bindings; those of cryptography are built and need _cffi_backend only",
    "pycparser/*": "parses C for cffi",
    "dateutil/rrule.*": "recurring dates, of which the SDK has none",
    "dateutil/zoneinfo/*": "time zones, which Python's zoneinfo has, too",
    "s3transfer/crt.*": "needs a library that is not packaged",
    "urllib3/contrib/emscripten/*": "for Python in a browser",
}
"""Patterns of files that are left out, and why they can be."""

TOTAL_BYTES = 25 * 2**20
"""The most that the zips may have in total."""


def is_packaged(path: str) -> bool:
    """Whether a file of a dependency is packaged."""
    return _matches(path, KEPT) or not _matches(path, LEFT_OUT)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
