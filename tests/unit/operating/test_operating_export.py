"""All rejections that match, into a file."""

import csv
import io
from pathlib import Path

import pytest

from decanter.__main__ import main
from tests.kit.ops_server import PREFIX, Asked, OpsServer, Reply, problem

ROWS = 2_500


def lines(asked: Asked) -> Reply:
    """A page of lines, with the address of the next one in Link, as a path of the API."""
    is_csv = asked.headers["accept"] == "text/csv"
    start = int(asked.query.get("cursor", "0=").rstrip("="))
    end = min(ROWS, start + int(asked.query["limit"]))
    rows = [f'{number},"a\nb"' if is_csv else f'{{"id":{number}}}' for number in range(start, end)]
    body = "".join(f"{each}\n" for each in (["id,row"] if is_csv else []) + rows)
    link = f'<{PREFIX}/ops/rejections?resource=a&cursor={end}%3D>; rel="next"'
    return Reply(body, 200, {} if end == ROWS else {"Link": link})


def test_all_pages_are_in_the_file(server: OpsServer, tmp_path: Path) -> None:
    server.on("GET rejections", lines)

    assert main(["ops", "export", f"{tmp_path}/r.ndjson", "--resource", "a", "--state", "all"]) == 0

    text = (tmp_path / "r.ndjson").read_text()
    assert text.splitlines() == [f'{{"id":{number}}}' for number in range(ROWS)]
    assert [each.query.get("cursor") for each in server.asked] == [None, "1000=", "2000="]
    assert {(each.query["resource"], each.query["state"]) for each in server.asked} == {
        ("a", "all")
    }
    assert [*tmp_path.iterdir()] == [tmp_path / "r.ndjson"]


def test_csv_has_the_names_of_its_columns_once(server: OpsServer, tmp_path: Path) -> None:
    server.on("GET rejections", lines)

    assert main(["ops", "export", f"{tmp_path}/r.CSV"]) == 0

    rows = [*csv.reader(io.StringIO((tmp_path / "r.CSV").read_text()))]
    assert rows == [["id", "row"], *([str(number), "a\nb"] for number in range(ROWS))]
    assert {each.headers["accept"] for each in server.asked} == {"text/csv"}


def test_a_format_may_be_named_and_the_file_be_standard_output(
    server: OpsServer, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    server.on("GET rejections", lines)

    assert main(["ops", "export", "-", "--format", "csv"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"id,row\n0,")


def test_an_export_that_fails_leaves_the_old_file_and_no_other(
    server: OpsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.ndjson"
    file.write_text("old")
    refused = problem(400, "invalid-query", "?cursor: it is not from a page of this list")
    server.on("GET rejections", lines, refused)

    assert main(["ops", "export", str(file)]) == 1

    assert file.read_text() == "old"
    assert [*tmp_path.iterdir()] == [file]
    assert "?cursor" in capsys.readouterr().err


def test_a_page_that_is_not_answered_at_once_is_asked_for_again(
    server: OpsServer, tmp_path: Path
) -> None:
    server.on("GET rejections", lines, problem(503, "reader-busy", "wait"), lines)

    assert main(["ops", "export", f"{tmp_path}/r.ndjson"]) == 0
    assert len((tmp_path / "r.ndjson").read_text().splitlines()) == ROWS


def test_a_folder_that_is_not_there_is_reported(
    server: OpsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ops", "export", f"{tmp_path}/no/r.ndjson"]) == 1
    assert "no" in capsys.readouterr().err
    assert not server.asked


def test_nothing_that_matches_is_an_empty_file(server: OpsServer, tmp_path: Path) -> None:
    server.on("GET rejections", Reply(""))

    assert main(["ops", "export", f"{tmp_path}/r.ndjson"]) == 0
    assert (tmp_path / "r.ndjson").read_bytes() == b""
