"""`chalice local` by itself says in one line what to do."""

import os
import subprocess
import time
import urllib.error
import urllib.request

from decanter.cloud.local import PROJECT
from decanter.cloud.network import free_port


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
    answer = ""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/stations",
        data=b'{"icao": "X", "name": "", "country": "", "elevation_ft": 1, "latitude": 1,'
        b' "longitude": 1, "timezone": ""}',
        headers={"Content-Type": "application/json", "Authorization": "AWS4-HMAC-SHA256 x"},
    )
    try:
        deadline = time.monotonic() + 30
        while not answer and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(request, timeout=10)
            except urllib.error.HTTPError as error:
                with error:
                    answer = f"{error.code} {error.read().decode()}"
            except OSError:
                time.sleep(0.2)
    finally:
        process.terminate()
        _, told = process.communicate(timeout=10)

    assert answer.startswith("503")
    assert "make dev" in answer
    lines = [line for line in told.splitlines() if line.startswith("There is no queue")]
    assert len(lines) == 1
    assert "make dev" in lines[0]
