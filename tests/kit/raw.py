"""A Postgres type given as SQL, for types without a class in SQLAlchemy."""

from typing import Any

from sqlalchemy.types import UserDefinedType


class Raw(UserDefinedType[Any]):
    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_: Any) -> str:
        return self.sql
