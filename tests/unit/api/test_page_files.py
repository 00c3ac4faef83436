"""The files of /docs and /console: the pinned ones, packaged, and nothing else."""

import hashlib
import re

import pytest

from chalicelib.api.console import page as console
from chalicelib.api.docs import page as docs
from chalicelib.errors import Problem

PAGES = {"docs": docs.PAGE, "console": console.PAGE}
ASSETS = [(path, name) for path, page in PAGES.items() for name in page.assets]

# Of Swagger UI 5.24.2, as swagger-ui-py 25.7.1 packs it, and of uPlot 1.6.32, as npm has it:
# dist/uPlot.iife.min.js, dist/uPlot.min.css and LICENSE.
PINNED = {
    "swagger-ui-bundle-5.24.2.js": (
        "2c2e2bfe20fc7cb996862067de67c3d34157929792b77988abf3aabef4663028"
    ),
    "swagger-ui-5.24.2.css": "4f76417253f37d7fe5aab8d69beaf3017570e2ab611289c504968b2078a07236",
    "swagger-ui-5.24.2-LICENSE.txt": (
        "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    ),
    "uplot-1.6.32.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uplot-1.6.32.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uplot-1.6.32-LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
LICENSES = {"docs": "swagger-ui-5.24.2-LICENSE.txt", "console": "uplot-1.6.32-LICENSE.txt"}


def test_what_others_wrote_is_what_they_published():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for page in PAGES.values()
        for path in page.folder.iterdir()
        if path.name.startswith(page.pinned)
    }
    assert found == PINNED


@pytest.mark.parametrize("path", PAGES)
def test_every_file_is_served_or_says_what_may_be_done_with_it(path):
    page = PAGES[path]
    found = {each.name for each in page.folder.iterdir()}
    assert found == {*page.assets, "index.html", LICENSES[path]}
    text = (page.folder / LICENSES[path]).read_text()
    assert "Apache License" in text or "MIT License" in text


def test_the_versions_in_the_names_are_those_of_the_files():
    assert 'PACKAGE_VERSION:"5.24.2"' in docs.PAGE.asset("swagger-ui-bundle-5.24.2.js").body
    assert "(v1.6.32)" in console.PAGE.asset("uplot-1.6.32.js").body


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_only_files_of_its_own_by_relative_addresses(path):
    page = PAGES[path]
    index = page.index().body
    own = {name for name in page.assets if not name.startswith(page.pinned)}
    texts = {name: page.asset(name).body for name in own}
    imported = {each for text in texts.values() for each in re.findall(r'from "\./([^"]*)"', text)}
    addresses = set(re.findall(r'(?:href|src)="([^"#]+)"', index))
    assert {each.removeprefix(f"{path}/") for each in addresses} | imported == {
        *page.assets,
        *({"openapi.json"} if path == "docs" else {"docs/icon.svg"}),
    }
    for name, text in {**texts, "index.html": index}.items():
        without_comments = re.sub(
            r"^\s*//.*$|\s// .*$|/\*.*?\*/|http://www.w3.org/2000/svg", "", text, flags=re.M
        )
        assert "//" not in without_comments, name


def test_the_console_makes_no_markup_of_text():
    for name in console.PAGE.assets:
        assert not re.search(
            r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(",
            console.PAGE.asset(name).body,
        ), name


@pytest.mark.parametrize("path", PAGES)
def test_a_page_forbids_the_browser_everything_from_elsewhere(path):
    headers = PAGES[path].index().headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    scripts = {"require-trusted-types-for": "'script'", "trusted-types": "'none'"}
    assert {name: policy.pop(name, None) for name in scripts} == (
        scripts if path == "console" else dict.fromkeys(scripts)
    )
    assert set(" ".join(policy.values()).split()) <= {
        "'self'",
        "'none'",
        "'unsafe-inline'",
        "data:",
    }
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == ("'self'" if path == "console" else "'self' 'unsafe-inline'")
    assert headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("path", "name"), ASSETS)
def test_assets_say_what_they_are_and_how_long_they_keep(path, name):
    page = PAGES[path]
    headers = page.asset(name).headers
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert headers["Content-Type"].split(";")[0] == kinds[name.rsplit(".", 1)[1]]
    assert headers["X-Content-Type-Options"] == "nosniff"
    # Only what has its version in its name may be kept for ever.
    has_version = re.search(r"\d\.\d+\.\d+", name) is not None
    assert ("immutable" in headers["Cache-Control"]) is has_version
    assert "private" in headers["Cache-Control"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("name", ["", "index.html", "nothing", "../contract.json", "LICENSE"])
def test_nothing_else_is_there(path, name):
    with pytest.raises(Problem) as raised:
        PAGES[path].asset(LICENSES[path] if name == "LICENSE" else name)
    assert raised.value.type == "unknown-path"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_files_are_routes(api, path):
    answer = api("GET", f"/{path}")
    assert (answer.status_code, answer.body.decode()) == (200, PAGES[path].index().body)
    assert "Content-Security-Policy" in answer.headers
    asset = api("GET", f"/{path}/page.js")
    assert (asset.status_code, asset.body.decode()) == (200, PAGES[path].asset("page.js").body)
    assert api("GET", f"/{path}/nothing").status_code == 404
    assert api("POST", f"/{path}").status_code == 405


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_the_console_is_readable_by_its_colours(scheme):
    """By WCAG 2.2 AA: text 4.5 to 1, borders of fields 3 to 1."""
    css = console.PAGE.asset("page.css").body
    colours = dict(
        re.findall(r"--([\w-]+): (#\w+)", re.findall(r":root \{(.*?)\}", css, re.S)[scheme])
    )
    pairs = [
        *((text, back, 4.5) for text in ("ink", "quiet", "accent") for back in ("back", "surface")),
        *((text, f"{kind}-back", 4.5) for kind in ("warn", "bad") for text in ("ink", "quiet")),
        ("warn", "surface", 4.5),
        ("on-accent", "accent", 4.5),
        ("field", "surface", 3.0),
    ]
    low = [each for each in pairs if _contrast(colours[each[0]], colours[each[1]]) < each[2]]
    assert not low


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
