"""A type of Postgres by its SQL, for those that SQLAlchemy has no class for."""

from typing import Any

from sqlalchemy.types import UserDefinedType


class Raw(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_: Any) -> str:
        return self.sql
