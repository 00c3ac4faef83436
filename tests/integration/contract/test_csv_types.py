"""What COPY writes as CSV is taken, poured, and then is what COPY writes again."""

import io
from collections.abc import Callable
from contextlib import closing

import psycopg2
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from tests.kit.raw import Raw
from tests.kit.world import World

MOOD = pg.ENUM("a", "it's", "b,c", name="mood")
VALUES: list[tuple[object, list[str]]] = [
    (Raw("point"), ["(1,2)", "(-0.5,1e+20)"]),
    (sa.ARRAY(Raw("point")), ['{"(1,2)","(3,4)"}', "{}"]),
    (Raw("circle"), ["<(0,0),1.5>"]),
    (Raw("polygon"), ["((0,0),(1,1),(1,0))"]),
    (sa.ARRAY(sa.Integer), ["{1,2,NULL,-3}", "{}", "{7}"]),
    (sa.ARRAY(sa.Integer, dimensions=2), ["{{1,2},{3,NULL}}"]),
    (sa.ARRAY(sa.BigInteger), ["{9223372036854775807}"]),
    (sa.ARRAY(sa.Numeric), ["{1.50,12345678901234567890.123456789}"]),
    (sa.ARRAY(sa.Double), ["{0.1,NaN,-Infinity}"]),
    (sa.ARRAY(sa.Boolean), ["{t,f,NULL}"]),
    (
        sa.ARRAY(sa.Text),
        [
            '{x,"",NULL,"NULL",null_,"a,b","say \\"so\\"","back\\\\slash","{curly}"," blank "}',
            '{"line\nbreak","tab\tin",1,true,é😀}',
            '{"\\u0041"}',
        ],
    ),
    (sa.ARRAY(MOOD), ['{a,it\'s,"b,c",NULL}']),
    (MOOD, ["it's", "b,c"]),
    (sa.ARRAY(sa.Uuid), ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    (sa.ARRAY(sa.Date), ["{2026-01-31,NULL}"]),
    (sa.ARRAY(sa.LargeBinary), ['{"\\\\x00ff","\\\\x"}']),
    (sa.LargeBinary, ["\\x00ff", "\\x"]),
    (sa.ARRAY(pg.JSONB), ['{"{\\"a\\": [1, \\"x,y\\"]}",NULL,1,"\\"t\\""}']),
    (pg.JSONB, ['{"a": [1.10, null]}', '"text"', "[1, 2]", "5"]),
    (sa.JSON, ['{"b" : 1, "a":  2}']),
    (pg.INT4RANGE, ["[1,6)", "empty", "(,5)"]),
    (sa.ARRAY(pg.INT4RANGE), ['{"[1,6)",empty}']),
    (pg.NUMMULTIRANGE, ["{[1,2),[5,9.5)}"]),
    (pg.TSRANGE, ['["2026-01-01 00:00:00",)']),
    (Raw("hours"), ['["2026-01-01 00:00:00",)']),
    (Raw("pair"), ["(1,x)", '(2,"a ""quoted"", one")', "(,)"]),
    (sa.ARRAY(Raw("pair")), ['{"(1,x)","(2,\\"a,b\\")",NULL}']),
    (Raw("vector(3)"), ["[1,2.5,-3]"]),
    (pg.DOMAIN("cents", sa.Numeric(5, 2)), ["1.25"]),
    (pg.DOMAIN("ints", sa.ARRAY(sa.Integer)), ["{1,2}"]),
    (Raw("texts_too"), ['{x,"y z"}']),
    (pg.INET, ["10.0.0.1", "2001:db8::/32"]),
    (sa.ARRAY(pg.INET), ["{10.0.0.1,::1}"]),
    (pg.CIDR, ["10.0.0.0/8"]),
    (pg.MACADDR, ["08:00:2b:01:02:03"]),
    (sa.Interval, ["1 day 02:00:00", "1 year 2 mons -3 days"]),
    (pg.TSVECTOR, ["'a':1A,2 'b c'"]),
    (pg.TSQUERY, ["'a' & !'b'"]),
    (pg.BIT(3), ["101"]),
    (pg.BIT(varying=True), ["10111"]),
    (pg.JSONPATH, ['$."a"']),
    (sa.Boolean, ["t", "f"]),
    (sa.DateTime(timezone=True), ["2026-01-31 12:00:00.5+00"]),
    (sa.DateTime, ["2026-01-31 12:00:00.123456"]),
    (sa.Time, ["12:00:00"]),
    (sa.Time(timezone=True), ["12:00:00+02"]),
    (pg.TSTZRANGE, ['["2026-01-01 00:00:00+00",)']),
    (sa.Text, ["NULL", "{1,2}", "[1]", "null", "\\N", ' "quoted", '])
]  # fmt: skip
COLUMNS = [f"c{number}" for number in range(len(VALUES))]


def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    columns = [sa.Column(name, type_) for name, (type_, _) in zip(COLUMNS, VALUES, strict=True)]
    sa.Table("all_types", metadata, sa.Column("id", sa.Integer, primary_key=True), *columns)
    for made in (
        "CREATE EXTENSION vector",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE TYPE hours AS RANGE (SUBTYPE = timestamp)",
        "CREATE DOMAIN texts_too AS text[]",
    ):
        sa.event.listen(metadata, "before_create", sa.DDL(made))
    return metadata


def copied(world: World) -> bytes:
    text = io.StringIO(newline="")
    with closing(psycopg2.connect(world.url)) as connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT * FROM all_types ORDER BY id) TO STDOUT CSV HEADER", text)
    return text.getvalue().encode()


def test_a_table_of_all_types_goes_through_csv_unchanged(
    make_world: Callable[[sa.MetaData], World],
) -> None:
    world = make_world(tables())
    most = max(len(texts) for _, texts in VALUES)
    for number in range(most + 1):  # the last one is null everywhere
        given = {
            name: texts[number]
            for name, (_, texts) in zip(COLUMNS, VALUES, strict=True)
            if number < len(texts)
        }
        names = "".join(f", {name}" for name in given)
        world.execute(
            f"INSERT INTO all_types (id{names}) VALUES (%s{', %s' * len(given)})",
            number,
            *given.values(),
        )
    before = copied(world)
    world.execute("DELETE FROM all_types")

    receipt = world.post("all_types", before, Content_Type="text/csv")
    world.drain()

    assert world.status(receipt)["rejections"] == []
    assert copied(world) == before
