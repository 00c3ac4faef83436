"""Tables and columns whose names need quoting everywhere."""

from functools import cache

from sqlalchemy import Column, Computed, Integer, MetaData, Table, Text


@cache
def odd() -> MetaData:
    metadata = MetaData()
    Table(
        "Weird Name",
        metadata,
        Column("select", Text, primary_key=True),
        Column("100%", Integer, primary_key=True),
        Column("a b", Text, server_default='it\'s 100% "fine"'),
        Column("ordinality", Integer),
        Column("sent", Integer),
        Column("target", Integer),
        Column("found", Integer),
        Column("done", Integer),
        Column("once", Integer, default=3, onupdate=lambda: 4),
        Column("each", Integer, default=lambda: 5),
        Column("rows", Integer),
        Column("%(rows)s", Text),
        Column('q"uote', Text, default="d"),
        Column("doubled", Integer, Computed('"100%" * 2')),
        Column("ü", Text),
        info={"resource": "weird"},
        schema="Odd schema%",
    )
    for name in ("sent", "done", "once", "target", "found"):
        Table(name, metadata, Column("id", Integer, primary_key=True), Column(name, Integer))
    return metadata
