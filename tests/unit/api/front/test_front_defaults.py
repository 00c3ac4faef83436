"""What a request makes in place of absent members is what Postgres would make."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from chalicelib.api.front.defaults import made
from chalicelib.contract.resources import Default

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("default", "value"),
    [
        (Default({"a": []}), {"a": []}),
        (Default(None), None),
        (Default(make="now"), "2026-01-02T03:04:05.678999+00:00"),
        (Default(make="now", digits=3), "2026-01-02T03:04:05.678+00:00"),
        (Default(make="now", digits=0), "2026-01-02T03:04:05+00:00"),
        (Default(make="utcnow"), "2026-01-02T03:04:05.678999"),
        (Default(make="utcnow", digits=0), "2026-01-02T03:04:05"),
        (Default(make="today"), "2026-01-02"),
    ],
)
def test_a_default_is_made_of_the_moment_or_is_constant(default, value):
    assert made(default, MOMENT) == value


@pytest.mark.parametrize(("make", "version"), [("uuid4", 4), ("uuid7", 7)])
def test_each_uuid_is_another(make, version):
    found = [UUID(made(Default(make=make), MOMENT)) for _ in range(1_000)]

    assert {each.version for each in found} == {version}
    assert len(set(found)) == 1_000
    assert len({each.int & 0xFFFF for each in found}) > 900
