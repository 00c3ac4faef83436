"""Whether a version that was deployed after this one has migrated the database.

Then unknown tables and columns of a message may be of that version, which was rolled back and may
return. Without Alembic, whose import takes longer than the pour of a batch.
"""

import re
from functools import cache
from pathlib import Path

from chalicelib.postgres.connecting.connection import Transaction

_VERSIONS = Path(__file__).parents[1] / "migrations" / "versions"
REVISION = re.compile(r"^revision(?:\s*:\s*str)?\s*=\s*[\"'](.+)[\"']", re.MULTILINE)
_AHEAD = """
    SELECT EXISTS (SELECT FROM decanter.alembic_version WHERE version_num <> ALL (%s::text[]))
"""


def is_ahead(transaction: Transaction) -> bool:
    """Whether the database has a revision that this version does not have."""
    known = _known()
    if not known:
        return False
    ((ahead,),) = transaction.execute(_AHEAD, (list(known),))
    return bool(ahead)


@cache
def _known() -> tuple[str, ...]:
    found = (REVISION.search(path.read_text()) for path in sorted(_VERSIONS.glob("*/*.py")))
    return tuple(match[1] for match in found if match)
