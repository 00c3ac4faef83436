"""`chalice local`: by itself it says in one line what to do; that of `make dev` checks tokens."""

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from chalicelib.authorizer.keys import RETRY_SECONDS
from decanter.local.issuer import AUDIENCE, URL, Issuer
from decanter.local.network import free_port
from tests.kit.project import PROJECT
from tests.kit.waiting import LONG


def test_chalice_local_with_nothing_started_says_what_to_do() -> None:
    port = free_port()
    names = {"PATH", "HOME", "LANG"} & {*os.environ}
    process = subprocess.Popen(
        [PROJECT / ".venv/bin/chalice", "local", "--no-autoreload", "--port", str(port)],
        cwd=PROJECT,
        env={name: os.environ[name] for name in names} | {"AWS_DEFAULT_REGION": "eu-central-1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    api = f"http://127.0.0.1:{port}"
    write = urllib.request.Request(
        f"{api}/stations", data=b"{}", headers={"Authorization": "Bearer x"}
    )
    alive = False
    try:
        deadline = time.monotonic() + LONG
        while not alive and time.monotonic() < deadline:
            try:
                alive = urllib.request.urlopen(f"{api}/health", timeout=LONG).status == 200
            except OSError:
                time.sleep(0.2)
        # Chalice ends the connection where an authorizer cannot tell.
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(write, timeout=LONG)
    finally:
        process.terminate()
        _, told = process.communicate(timeout=LONG)

    assert alive
    lines = [line for line in told.splitlines() if line.startswith("There is no queue")]
    assert len(lines) == 1
    assert "make dev" in lines[0]
    [reason] = [line for line in told.splitlines() if "DECANTER_JWT_ISSUER is not set" in line]
    assert "make dev" in reason


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Where an issuer's keys are, and what is answered there; nothing at first."""
    answers: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if answers else 500)
            self.end_headers()
            self.wfile.write(answers[0] if answers else b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_server_of_make_dev_refuses_as_api_gateway_does(
    tmp_path: Path, keys: tuple[str, list[bytes]]
) -> None:
    url, answers = keys
    issuer = Issuer(tmp_path)
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "decanter.local.chalice_local"),
            *("local", "--no-autoreload", "--port", str(port)),
        ],
        cwd=PROJECT,
        env={name: os.environ[name] for name in {"PATH", "HOME", "LANG"} & {*os.environ}}
        | {
            "AWS_DEFAULT_REGION": "eu-central-1",
            "DECANTER_JWT_ISSUER": URL,
            "DECANTER_JWT_AUDIENCE": AUDIENCE,
            "DECANTER_JWT_JWKS_URL": url,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pool = urllib3.PoolManager(retries=False, timeout=LONG)

    def ask(path: str, credentials: str | None, method: str = "GET") -> str:
        headers = {} if credentials is None else {"Authorization": credentials}
        answer = pool.request(method, f"http://127.0.0.1:{port}{path}", headers=headers)
        found = json.loads(answer.data)
        if answer.status < 400:
            return str(answer.status)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert found["status"] == answer.status
        assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
        return f"{answer.status} {found['type'].removeprefix('urn:decanter:problem:')}"

    good = f"Bearer {issuer.token()}"
    password = f"Basic {base64.b64encode(f'x:{issuer.token()}'.encode()).decode()}"
    try:
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            try:
                if ask("/health", None) == "200":
                    break
            except urllib3.exceptions.HTTPError:
                time.sleep(0.1)
        assert ask("/openapi.json", good) == "503 unavailable"
        answers.append(json.dumps(issuer.jwks).encode())
        time.sleep(RETRY_SECONDS + 0.1)
        assert ask("/openapi.json", good) == "200"
        assert ask("/openapi.json", password) == "200"
        assert ask("/stations/LSZH", password) == "403 forbidden"
        assert ask("/openapi.json", None) == "401 unauthorized"
        assert ask("/openapi.json", "Bearer x") == "401 unauthorized"
        assert ask("/stations/LSZH", f"Bearer {issuer.token('a:read')}") == "403 missing-scope"
        assert ask("/a" * 12, good) == ask("/a" * 12, None) == "404 unknown-path"
        health = f"http://127.0.0.1:{port}/health"
        # A semicolon does not end the path: all is well but that there is no queue.
        assert ask("/stations/a;b", good, "DELETE") == "503 not-configured"
        assert ask("/stations/a%253Bb/", good, "DELETE") == "422 invalid-key"
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as plain:
            plain.sendall(b"HEAD /health HTTP/1.0\r\n\r\n")
            told = b"".join(iter(lambda: plain.recv(4_096), b""))
        assert told.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nContent-Type: application/json\r\n" in told
        assert f"\r\nContent-Length: {len(pool.request('GET', health).data)}\r\n".encode() in told
        assert told.endswith(b"\r\n\r\n")
    finally:
        process.terminate()
        process.wait(timeout=LONG)
