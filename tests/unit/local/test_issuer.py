"""The issuer of the local cloud: a key of its own, and tokens that the authorizer takes."""

import threading
from pathlib import Path

import jwt
import pytest

from chalicelib.authorizer.keys import Keys
from chalicelib.authorizer.settings import JwtSettings
from chalicelib.authorizer.tokens import InvalidToken, Token, verify
from decanter.__main__ import main
from decanter.local.issuer import AUDIENCE, URL, Issuer

SETTINGS = JwtSettings.from_environment(
    {
        "DECANTER_JWT_ISSUER": URL,
        "DECANTER_JWT_AUDIENCE": AUDIENCE,
        "DECANTER_JWT_JWKS_URL": "http://127.0.0.1/jwks.json",
    }
)


def checked(issuer: Issuer, token: str) -> Token:
    return verify(token, SETTINGS, Keys(SETTINGS, lambda _url: issuer.jwks))


def test_its_tokens_are_good(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)

    found = checked(issuer, issuer.token("stations:read", "anna"))

    assert (found.issuer, found.subject, found.scopes) == (URL, "anna", ("stations:read",))


def test_a_token_allows_everything_unless_it_is_limited(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)

    found = checked(issuer, issuer.token())

    scopes = ("*:read", "*:write", "ops:read", "ops:write")
    assert (found.subject, found.scopes) == ("dev", scopes)


def test_claims_can_be_replaced(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)

    for claims in ({"aud": "other"}, {"iss": "https://other.test"}, {"exp": 1}):
        with pytest.raises(InvalidToken):
            checked(issuer, issuer.token(**claims))


def test_the_key_is_kept_and_nobody_elses(tmp_path: Path) -> None:
    home = tmp_path / "new"
    token = Issuer(home).token()

    assert checked(Issuer(home), token).subject == "dev"
    assert [path.name for path in home.iterdir()] == ["issuer.key"]
    assert (home / "issuer.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidToken):
        checked(Issuer(tmp_path / "other"), token)


def test_one_key_is_made_whoever_asks_first(tmp_path: Path) -> None:
    issuers = [Issuer(tmp_path) for _ in range(8)]
    threads = [threading.Thread(target=lambda each=each: each.jwk) for each in issuers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({issuer.jwk["kid"] for issuer in issuers}) == 1


def test_the_public_part_is_all_that_is_shown(tmp_path: Path) -> None:
    [key] = Issuer(tmp_path).jwks["keys"]

    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_one_command_prints_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--scope", "stations:write", "--subject", "anna", "--expires", "5"]

    assert main(["token", *options, "--data-dir", str(tmp_path)]) == 0

    token = capsys.readouterr().out.strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["scope"], claims["sub"]) == ("stations:write", "anna")
    assert claims["exp"] - claims["iat"] == 5
    assert checked(Issuer(tmp_path), token).subject == "anna"


@pytest.mark.parametrize("seconds", ["0", "-5"])
def test_a_token_that_is_never_good_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    assert main(["token", "--expires", seconds, "--data-dir", str(tmp_path)]) == 1

    assert "--expires" in capsys.readouterr().err
