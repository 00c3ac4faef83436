"""Statements of revisions that place tables on the nodes of a cluster.

Other engines leave them out, so that one folder of revisions serves all.
"""

import re
from typing import Any

from alembic.migration import MigrationContext

PLACING = re.compile(
    r"""\s*SELECT\s+(?:pg_catalog\.)?
    (?P<what>create_distributed_table|create_reference_table|undistribute_table
        |alter_distributed_table)
    \s*\(\s*'(?P<table>(?:[^']|'')+)'
    (?:\s*,\s*(?:distribution_column\s*(?::=|=>)\s*)?'(?P<column>(?:[^']|'')+)')?""",
    re.IGNORECASE | re.VERBOSE,
)
"""Such a statement: what it does, and table and column as literals of SQL."""


def is_placing(sql: str) -> bool:
    """Whether a statement only has an effect on an engine that distributes tables."""
    return PLACING.match(sql) is not None


def leave_out(context: MigrationContext) -> None:
    """Have revisions leave these statements out, with a connection as in a dry run."""
    impl: Any = context.impl
    execute = impl.execute

    def execute_others(sql: Any, *arguments: Any, **named: Any) -> None:
        if not is_placing(str(sql)):
            execute(sql, *arguments, **named)

    impl.execute = execute_others
