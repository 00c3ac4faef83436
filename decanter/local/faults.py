"""What can go wrong with the local cloud."""


class PostgresError(Exception):
    """Postgres cannot be used: why, and what to do."""
