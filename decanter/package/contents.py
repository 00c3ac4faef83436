"""What of the dependencies is packaged: the lists to read and to edit.

Paths are below ``site-packages``; ``*`` stands for any text, slashes too. A test sees that each
line fits a file, and that the functions run on what is left.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

SERVICES = {
    "sqs": "the API function queues writes",
    "lambda": "it asks the reader",
    "cloudwatch": "it reads how old the queues are, where a stage limits that",
    "sts": "the SDK itself, for the credentials of a role",
}
"""The services of AWS that functions can make clients of, and why.

The SDK describes four hundred in data files, which are two fifths of all that would be packaged. A
function that calls another service needs its name here.
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
"""What stays although ``LEFT_OUT`` names it."""

LEFT_OUT = {
    "botocore/data/*": "services that nothing calls; see SERVICES",
    "boto3/data/*": "resources of boto3, an older way that nothing uses: clients are used",
    "boto3/examples/*": "for its documentation",
    "*/testing/*": "helpers of others' tests",
    "*.pyi": "stubs for type checkers",
    "*.pxd": "sources of what is there compiled",
    "*.c": "likewise",
    "*.dist-info/RECORD": "a list for pip",
    "*.dist-info/sboms/*": "a list of what Rust code is made from",
    "sqlalchemy/dialects/mssql/*": "another database",
    "sqlalchemy/dialects/mysql/*": "another database",
    "sqlalchemy/dialects/oracle/*": "another database",
    "sqlalchemy/dialects/sqlite/*": "another database",
    "sqlalchemy/dialects/*/provision.py": "for its tests",
    "sqlalchemy/ext/asyncio/*": "nothing here is asynchronous",
    "alembic/templates/*": "for new revisions, which are not written in a function",
    "cffi/*": "builds bindings; cryptography's are built, and use _cffi_backend alone",
    "pycparser/*": "reads C for cffi",
    "dateutil/zoneinfo/*": "time zones once more; zoneinfo of Python has them",
    "urllib3/contrib/emscripten/*": "for Python in a browser",
}
"""What is left out, and why it can be."""

TOTAL_BYTES = 24 * 2**20
"""How large the zips may be together."""


def is_packaged(path: str) -> bool:
    """Whether a file of a dependency is packaged."""
    return _fits(path, KEPT) or not _fits(path, LEFT_OUT)


def _fits(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
