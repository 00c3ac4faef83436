"""A type of Postgres by its SQL, for those that SQLAlchemy has no class for."""

from sqlalchemy.types import UserDefinedType


class Raw(UserDefinedType):
    cache_ok = True

    def __init__(self, sql):
        self.sql = sql

    def get_col_spec(self, **_):
        return self.sql
