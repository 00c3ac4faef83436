"""An operator puts right what was rejected, on the deployed stack and through its API alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.kit.deployment import Deployment
from tests.kit.waiting import until

STATION = {"name": "Test", "country": "CH", "elevation_ft": 1, "longitude": 3, "timezone": "UTC"}

OWN = '''

class Reading(Base):
    """A table with a key of two columns, one of them a time."""

    __tablename__ = "Meter Readings"
    __table_args__ = (CheckConstraint("kwh >= 0", name="used"), {"info": {"resource": "readings"}})

    meter: Mapped[str] = mapped_column(primary_key=True)
    read_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    kwh: Mapped[Decimal] = mapped_column(Numeric(30, 10))
'''


def put_right(
    deployed: Deployment, path: str, bad: dict[str, Any], change: dict[str, Any], key: str
) -> Any:
    """Post two bad rows; of these try and resend one edited, and discard the other. Returns the row
    that can be read then. key: the path of the first row."""
    token = deployed.token("ops:read ops:write", subject="olga")

    def ops(method: str, address: str, body: Any = None) -> Any:
        def call() -> Any:
            answer = deployed.call(method, f"/ops/{address}", body, token=token)
            assert answer.status in (200, 201, 503), answer.body
            return answer.body if answer.status != 503 else None

        return until(call, address)

    def rejected() -> tuple[str, Any]:
        receipt = deployed.call("POST", path, bad).body["receipt"]
        found = until(lambda: ops("GET", f"rejections?receipt={receipt}")["rejections"])
        return receipt, found[0]

    (_, first), (other, second) = rejected(), rejected()
    found = [first, second]
    edited = {**bad, **change}
    (tried,) = ops("POST", "try", {"writes": [{"id": found[0]["id"], "row": edited}]})["outcomes"]
    (as_it_was,) = ops("POST", "try", {"writes": [{"id": found[0]["id"]}]})["outcomes"]
    resend = {"kind": "resend", "ids": [found[0]["id"]], "rows": {found[0]["id"]: edited}}
    discard = {"kind": "discard", "filter": {"receipt": other}, "expect": 1, "note": "sent twice"}
    acts = [ops("POST", "acts", body) for body in (resend, discard)]
    done = [ops("POST", f"acts/{act['id']}/steps", {}) for act in acts]

    assert [each["type"] for each in found] == ["check", "check"]
    assert (tried["outcome"], tried["changed_since"]) == ("applied", False)
    assert (as_it_was["outcome"], as_it_was["type"]) == ("rejected", "check")
    assert [(each["state"], each["done"], each["failed"]) for each in done] == [("done", 1, 0)] * 2
    audit = ops("GET", f"acts?who={quote(acts[0]['who'], safe='')}")["acts"]
    assert [(each["id"], each["done"]) for each in audit] == [
        (done[1]["id"], 1),
        (done[0]["id"], 1),
    ]
    corrected = [ops("GET", f"rejections/{each['id']}")["correction"] for each in found]
    assert [each["kind"] for each in corrected] == ["resend", "discard"]
    return until(lambda: _read(deployed, key), "the row")


def _read(deployed: Deployment, path: str) -> Any:
    answer = deployed.call("GET", path)
    return answer.body if answer.status == 200 else None


def test_a_rejected_row_is_found_tried_edited_and_resent(deployed: Deployment) -> None:
    bad = {**STATION, "icao": "OPER", "latitude": 91}

    row = put_right(deployed, "/stations", bad, {"latitude": 47.123456}, "/stations/OPER")

    assert (row["latitude"], row["name"]) == ("47.123456", "Test")


def test_the_same_holds_for_a_table_of_ones_own(
    deploy: Callable[..., Deployment], copy_project: Callable[[], Path]
) -> None:
    project = copy_project()
    models = project / "chalicelib" / "models.py"
    models.write_text(models.read_text() + OWN)
    for command in (["contract"], ["migration", "readings"]):
        subprocess.run([sys.executable, "-m", "decanter", *command], cwd=project, check=True)
    deployed = deploy(project, "operated")
    bad = {"meter": "a/b", "read_at": "2026-01-31T12:00:00Z", "kwh": -1}

    row = put_right(
        deployed, "/readings", bad, {"kwh": 1.5}, "/readings/a%2Fb/2026-01-31T12%3A00%3A00Z"
    )

    assert row["kwh"] == "1.5000000000"
