"""The files of /docs: the pinned ones, packaged, and nothing else."""

import hashlib
import re

import pytest

from chalicelib.api.docs import page
from chalicelib.errors import Problem

# Of Swagger UI 5.24.2, as swagger-ui-py 25.7.1 packs it.
PINNED = {
    "swagger-ui-bundle-5.24.2.js": (
        "2c2e2bfe20fc7cb996862067de67c3d34157929792b77988abf3aabef4663028"
    ),
    "swagger-ui-5.24.2.css": "4f76417253f37d7fe5aab8d69beaf3017570e2ab611289c504968b2078a07236",
    "swagger-ui-5.24.2-LICENSE.txt": (
        "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_what_others_wrote_is_what_they_published(name):
    content = (page.FOLDER / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == PINNED[name]


def test_every_file_is_served_or_says_what_may_be_done_with_it():
    found = {path.name for path in page.FOLDER.iterdir()}
    assert found == {*page.ASSETS, "index.html", "swagger-ui-5.24.2-LICENSE.txt"}
    assert "Apache License" in (page.FOLDER / "swagger-ui-5.24.2-LICENSE.txt").read_text()


def test_the_version_in_the_names_is_that_of_the_bundle():
    bundle = page.asset("swagger-ui-bundle-5.24.2.js")
    assert 'PACKAGE_VERSION:"5.24.2"' in bundle.body


def test_the_page_loads_only_files_of_its_own_by_relative_addresses():
    sent = page.page()
    addresses = re.findall(r'(?:href|src)="([^"]*)"', sent.body)
    assert {each.removeprefix("docs/") for each in addresses} == {*page.ASSETS, "openapi.json"}
    for text in (sent.body, page.asset("page.css").body, page.asset("page.js").body):
        assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.M)


def test_the_page_forbids_the_browser_everything_from_elsewhere():
    headers = page.page().headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert set(" ".join(policy.values()).split()) <= {
        "'self'",
        "'none'",
        "'unsafe-inline'",
        "data:",
    }
    assert policy["script-src"] == "'self'"
    assert headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", page.ASSETS)
def test_assets_say_what_they_are_and_how_long_they_keep(name):
    headers = page.asset(name).headers
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert headers["Content-Type"].split(";")[0] == kinds[name.rsplit(".", 1)[1]]
    assert headers["X-Content-Type-Options"] == "nosniff"
    # Only what has its version in its name may be kept for ever.
    assert ("immutable" in headers["Cache-Control"]) is ("5.24.2" in name)
    assert "private" in headers["Cache-Control"]


@pytest.mark.parametrize(
    "name", ["", "index.html", "nothing", "../contract.json", "swagger-ui-5.24.2-LICENSE.txt"]
)
def test_nothing_else_is_there(name):
    with pytest.raises(Problem) as raised:
        page.asset(name)
    assert raised.value.type == "unknown-path"
