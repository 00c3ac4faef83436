"""Connections: the server is verified, and a token can stand for the password.

The Postgres that the tests use is built without TLS. A doorman in front of it speaks TLS as
Postgres does and hands on what is inside, so that libpq and the database are real on both ends.
"""

import datetime
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg2.extensions import parse_dsn

from chalicelib.errors import DatabaseUnavailable, NotConfigured
from chalicelib.migrate import handler
from chalicelib.postgres.connecting import access, connection
from chalicelib.postgres.connecting.access import AMAZON_ROOTS, BUNDLE, objection, parameters
from tests.kit.databases import execute, name_of
from tests.kit.waiting import LONG

HOST = "database.test"
NOW = datetime.datetime.now(datetime.UTC)
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def authority(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(name, name, key, key, is_authority=True), key


def certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_authority: bool = False,
    days: int = 30,
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=60))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def pem(of: x509.Certificate) -> bytes:
    return of.public_bytes(serialization.Encoding.PEM)


class Doorman:
    """Takes connections, speaks TLS with the certificate in `folder`, and hands on to Postgres."""

    def __init__(self, folder: Path, port: int, tls: bool = True) -> None:
        self.taken = 0
        self._tls = tls
        self._postgres = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.taken += 1
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with suppress(OSError), accepted:
            if accepted.recv(8) != SSL_REQUEST or not self._tls:
                accepted.sendall(b"N")
                return
            accepted.sendall(b"S")
            with (
                self._context.wrap_socket(accepted, server_side=True) as inside,
                socket.create_connection(("127.0.0.1", self._postgres)) as server,
            ):
                thread = threading.Thread(target=_hand_on, args=(server, inside), daemon=True)
                thread.start()
                _hand_on(inside, server)


def _hand_on(origin: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := origin.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority (ca.pem), another (other.pem), and the certificate of a server (server.*)."""
    folder = tmp_path_factory.mktemp("tls")
    ca, ca_key = authority("Test CA")
    other, _ = authority("Test CA")
    for days, name in ((30, "server"), (-1, "expired")):
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / f"{name}.pem").write_bytes(
            pem(certificate(HOST, "Test CA", key, ca_key, days=days))
        )
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    (folder / "ca.pem").write_bytes(pem(ca))
    (folder / "other.pem").write_bytes(pem(other))
    return folder


@pytest.fixture
def doorman(folder: Path, database_url: str) -> Iterator[Doorman]:
    found = Doorman(folder, int(parse_dsn(database_url)["port"]))
    yield found
    found.close()


@pytest.fixture
def url(database_url: str, doorman: Doorman) -> str:
    """Of the database behind the doorman, who is called `database.test`; it says no sslmode."""
    parts = parse_dsn(database_url)
    return (
        f"postgresql://{parts['user']}:{parts['password']}@{HOST}:{doorman.port}"
        f"/{parts['dbname']}?hostaddr=127.0.0.1"
    )


def encrypted(url: str) -> Any:
    """What a connection made like a function's says of itself."""
    try:
        made = connection.connection(url, "tls", time.monotonic() + LONG)
        return made.info.ssl_in_use
    finally:
        connection.forget("tls")


def test_the_right_authority_and_the_right_name_are_let_in(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encrypted(f"{url}&sslrootcert={folder}/ca.pem") is True
    monkeypatch.setattr(access, "BUNDLE", folder / "ca.pem")
    assert encrypted(url) is True
    assert handler.upgrade(url)["applied"] == []


def test_the_certificates_of_rds_are_the_default(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        encrypted(url)
    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        handler.upgrade(url)


def test_another_authority_of_the_same_name_is_refused(url: str, folder: Path) -> None:
    # It has the name of the right one, so that only its signature tells.
    with pytest.raises(DatabaseUnavailable, match="signature failure"):
        encrypted(f"{url}&sslrootcert={folder}/other.pem")


def test_another_host_than_the_certificates_is_refused(url: str, folder: Path) -> None:
    other = url.replace(HOST, "another.test")

    with pytest.raises(DatabaseUnavailable, match=r'does not match host name "another\.test"'):
        encrypted(f"{other}&sslrootcert={folder}/ca.pem")


def test_a_certificate_that_is_over_is_refused(
    database_url: str, url: str, folder: Path, tmp_path: Path, doorman: Doorman
) -> None:
    shutil.copy(folder / "expired.pem", tmp_path / "server.pem")
    shutil.copy(folder / "expired.key", tmp_path / "server.key")
    late = Doorman(tmp_path, int(parse_dsn(database_url)["port"]))
    try:
        with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
            encrypted(
                url.replace(str(doorman.port), str(late.port)) + f"&sslrootcert={folder}/ca.pem"
            )
    finally:
        late.close()


def test_a_server_that_says_it_has_no_tls_gets_no_password(
    database_url: str, url: str, folder: Path, doorman: Doorman
) -> None:
    plain = Doorman(folder, int(parse_dsn(database_url)["port"]), tls=False)
    try:
        with pytest.raises(DatabaseUnavailable, match="server does not support SSL"):
            encrypted(
                url.replace(str(doorman.port), str(plain.port)) + f"&sslrootcert={folder}/ca.pem"
            )
    finally:
        plain.close()


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_less_than_that_is_refused_before_anything_is_sent(
    url: str, doorman: Doorman, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is for a host that is not this machine.
    monkeypatch.setattr(access, "_is_loopback", lambda _: False)

    with pytest.raises(NotConfigured, match=f"asks for sslmode={mode}.*sslmode=verify-full"):
        encrypted(f"{url}&sslmode={mode}")
    with pytest.raises(NotConfigured, match=f"asks for sslmode={mode}"):
        handler.upgrade(f"{url}&sslmode={mode}")
    monkeypatch.setenv("DECANTER_DATABASE_URL", f"{url}&sslmode={mode}")
    with pytest.raises(NotConfigured, match=f"asks for sslmode={mode}"):
        handler.run({"budget": True})

    assert doorman.taken == 0


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("postgresql://u:hidden@db.example/d", True),
        ("postgresql://u:hidden@db.example/d?sslmode=verify-full", True),
        ("postgresql://u:hidden@db.example/d?sslmode=verify-full&sslrootcert=ca.pem", True),
        ("host=db.example dbname=d user=u", True),
        ("postgresql://u:hidden@db.example/d?sslmode=require", False),
        ("postgresql://u:hidden@10.0.0.7/d?sslmode=prefer", False),
        ("postgresql://u:hidden@localhost,db.example/d?sslmode=disable", False),
        ("postgresql://u:hidden@localhost/d?sslmode=disable&hostaddr=10.0.0.7", False),
        ("postgresql://u:hidden@localhost.example/d?sslmode=disable", False),
        ("postgresql://u@/d?sslmode=disable", False),
        ("postgresql://u@/d?sslmode=disable&service=x", False),
        ("postgresql://u:hidden@localhost/d?sslmode=disable", True),
        ("postgresql://u:hidden@127.0.0.1:5433/d?sslmode=disable", True),
        ("postgresql://u:hidden@[::1]/d?sslmode=prefer", True),
        ("postgresql://u@/d?host=/run/postgresql&sslmode=disable", True),
        ("postgresql://u:hidden@x.abc.eu-central-1.rds.amazonaws.com/d", True),
        ("postgresql://u:hidden@x.abc.us-gov-west-1.rds.amazonaws.com/d", False),
        ("postgresql://u:hidden@x.abc.us-gov-west-1.rds.amazonaws.com/d?sslrootcert=gov.pem", True),
        ("postgresql://u:hid/den@db.example/d", False),
        ("postgresql://db.example/d", False),
        ("postgresql://u:hidden@db.example", False),
    ],
)
def test_what_a_url_may_say_is_known_before_it_is_deployed(url: str, fits: bool) -> None:
    reason = objection(url)

    assert (reason is None) == fits
    assert reason is None or "hid" not in reason


def test_nothing_in_the_environment_takes_verification_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGSSLROOTCERT", "/nowhere")
    monkeypatch.setenv("PGGSSENCMODE", "require")

    with pytest.raises(DatabaseUnavailable, match="certificate verify failed"):
        encrypted(url)


def test_the_bundle_holds_roots_of_rds_that_are_good_for_long() -> None:
    found = x509.load_pem_x509_certificates(BUNDLE.read_bytes())

    assert len({each.fingerprint(hashes.SHA256()) for each in found}) == len(found) >= 90
    for each in found:
        (unit,) = each.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
        assert unit.value == "Amazon RDS"
        assert each.issuer == each.subject
        each.verify_directly_issued_by(each)
        assert each.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert each.not_valid_before_utc < NOW
        assert each.not_valid_after_utc > NOW + datetime.timedelta(days=5 * 365)


def test_dsql_is_verified_with_the_roots_of_amazon() -> None:
    """By the digests of https://www.amazontrust.com/repository/."""
    environment = {**CREDENTIALS, "DECANTER_ENGINE": "dsql"}
    assert parameters(DSQL, environment)["sslrootcert"] == str(AMAZON_ROOTS)
    assert parameters(RDS, CREDENTIALS)["sslrootcert"] == str(BUNDLE)
    assert parameters(f"{DSQL}?sslrootcert=own.pem", environment).get("sslrootcert") is None

    found = x509.load_pem_x509_certificates(AMAZON_ROOTS.read_bytes())

    assert [each.fingerprint(hashes.SHA256()).hex() for each in found] == [
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
    ]
    for each in found:
        each.verify_directly_issued_by(each)
        assert each.not_valid_after_utc > NOW + datetime.timedelta(days=5 * 365)


def test_libpq_can_read_the_bundle() -> None:
    context = ssl.create_default_context(cafile=str(BUNDLE))

    assert len(context.get_ca_certs()) >= 90


# Tokens.

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret/key+",
    "AWS_SESSION_TOKEN": "session//token==",
    "AWS_REGION": "eu-central-1",
    "DECANTER_DATABASE_IAM": "1",
}
RDS = "postgresql://decanter_drain@x.abc.eu-central-1.rds.amazonaws.com:5433/shop"
CLUSTER = "foo0bar1baz2quux3quuux4quu"
DSQL = f"postgresql://postgres_drain@{CLUSTER}.dsql.us-east-2.on.aws/postgres"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime.datetime], None]:
    """`clock(time)`: it is that time, for who signs."""

    def stand(at: datetime.datetime) -> None:
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: at)

    return stand


@pytest.mark.parametrize("session", ["session//token==", None])
def test_a_token_is_what_the_sdk_makes(
    clock: Callable[[datetime.datetime], None],
    monkeypatch: pytest.MonkeyPatch,
    session: str | None,
) -> None:
    import boto3

    clock(NOW)
    environment = {**CREDENTIALS}
    if session is None:
        environment.pop("AWS_SESSION_TOKEN")
    client = boto3.client(
        "rds",
        region_name="eu-central-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret/key+",
        aws_session_token=session,
    )
    expected = client.generate_db_auth_token(
        "x.abc.eu-central-1.rds.amazonaws.com", 5433, "decanter_drain"
    )

    assert parameters(RDS, environment)["password"] == expected


@pytest.mark.parametrize(
    ("user", "host", "region"),
    [
        ("postgres_drain", f"{CLUSTER}.dsql.us-east-2.on.aws", "us-east-2"),
        ("admin", f"{CLUSTER}.dsql.us-east-2.on.aws", "us-east-2"),
        ("postgres_reader", f"{CLUSTER}.dsql-fnh4.ap-northeast-1.on.aws", "ap-northeast-1"),
        ("postgres_sweep", "127.0.0.1", "eu-central-1"),
    ],
)
def test_a_token_of_dsql_is_what_the_sdk_makes(
    clock: Callable[[datetime.datetime], None], user: str, host: str, region: str
) -> None:
    import boto3

    clock(NOW)
    client = boto3.client(
        "dsql",
        region_name="sa-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret/key+",
        aws_session_token="session//token==",
    )
    sdk = client.generate_db_connect_auth_token
    if user == "admin":
        sdk = client.generate_db_connect_admin_auth_token

    environment = {k: v for k, v in CREDENTIALS.items() if k != "DECANTER_DATABASE_IAM"}
    url = f"postgresql://{user}@{host}:5432/postgres?sslmode=verify-full"
    given = parameters(url, {**environment, "DECANTER_ENGINE": "dsql"})

    assert given["password"] == sdk(host, region)


def test_each_connection_is_made_with_a_token_of_its_own(
    database_url: str,
    clock: Callable[[datetime.datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    name = f"{name_of(database_url)}_token"
    parts = parse_dsn(database_url)
    url = f"postgresql://{name}@127.0.0.1:{parts['port']}/{parts['dbname']}?sslmode=disable"
    execute(database_url, f"CREATE ROLE {name} LOGIN")
    for minutes in (0, 16):
        clock(NOW + datetime.timedelta(minutes=minutes))
        token = parameters(url)["password"]
        # What RDS would do with it: let in who has the token of this quarter of an hour.
        execute(database_url, f"ALTER ROLE {name} PASSWORD %s", (token,))
        made = connection.connection(url, "token", time.monotonic() + LONG)
        with closing(made.cursor()) as cursor:
            cursor.execute("SELECT current_user::text")
            assert cursor.fetchone() == (name,)
        connection.forget("token")


def test_a_url_with_a_password_is_used_as_it_is(database_url: str) -> None:
    assert "password" not in parameters(database_url, CREDENTIALS)
    assert "password" not in parameters(RDS, {})


@pytest.mark.parametrize(
    ("url", "missing"),
    [
        (RDS, "AWS_ACCESS_KEY_ID"),
        (RDS, "AWS_SECRET_ACCESS_KEY"),
        ("postgresql://h/d", None),
        ("postgresql://u@h,i/d", None),
        ("postgresql://u@/d", None),
    ],
)
def test_a_token_that_cannot_be_made_is_reported(url: str, missing: str | None) -> None:
    environment = {name: value for name, value in CREDENTIALS.items() if name != missing}

    for engine in ("postgres", "dsql"):
        with pytest.raises(NotConfigured, match=missing or "one host and a user"):
            parameters(url, {**environment, "DECANTER_ENGINE": engine})
